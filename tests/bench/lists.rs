//! What a list of containers costs, as JSON and as a page.

use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use serde_json::json;

use crate::Bench;
use crate::http::Connection;
use crate::report::{Samples, ms};

/// How many containers there are.
const CONTAINERS: usize = 100;
/// What a list of them may take, in milliseconds.
const MOST: f64 = 10.0;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let mut api = Connection::open(bench.porthole.admin())?;
    let mut made = Vec::new();
    for _ in 0..CONTAINERS {
        let spec = json!({"image": "busybox", "start": false});
        made.push(text(
            &api.send("POST", "/api/v1/containers", Some(&spec))?["id"],
        ));
    }
    for (what, path) in [
        ("containers as JSON", "/api/v1/containers?limit=1000"),
        ("containers as a page", "/containers"),
    ] {
        let mut found = Vec::new();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(10));
            let begun = Instant::now();
            let body = api.send_raw("GET", path, None)?;
            found.push(begun.elapsed());
            anyhow::ensure!(body.len() > CONTAINERS * 64, "{path} lists them all");
        }
        let found = Samples::of(found).median();
        let what = format!("{CONTAINERS} {what}");
        bench
            .report
            .number(&what, ms(found), &format!("≤ {MOST} ms"), found <= MOST);
    }
    for id in made {
        api.remove(&id)?;
    }
    Ok(())
}
