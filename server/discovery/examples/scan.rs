//! How long the observer's first look at this host takes: `scan [times]`, milliseconds each.
use std::time::Instant;

fn main() {
    let times = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let settings = porthole_discovery::Settings::new(Some("/porthole".to_owned()));
    for _ in 0..times {
        let begun = Instant::now();
        match porthole_discovery::scan_once(&settings) {
            Ok(scan) => {
                let took = begun.elapsed().as_secs_f64() * 1e3;
                println!("{} {took:.3}", scan.processes());
            }
            Err(failure) => {
                eprintln!("scan: {failure}");
                std::process::exit(1);
            }
        }
    }
}
