//! What is read inside namespaces, beside what other programs say of the same at the same moment.
//! Root is needed; without it everything is skipped, loudly.
//!
//! libtest runs tests in threads, and a process with threads can enter hardly any namespace. So this
//! is a test binary of its own kind, with one thread: the part of the keeper is played by
//! [`bench::look`].
#![allow(missing_docs, reason = "a test binary has no public documentation")]

mod bench;
mod network;
mod processes;
mod trouble;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A scenario's name and what it does.
type Scenario = (&'static str, fn());

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: every scenario of inspections: they need root");
        return;
    }
    let filter = args.iter().find(|word| !word.starts_with('-'));
    let all: Vec<Scenario> = [values::ALL, network::ALL, processes::ALL, trouble::ALL]
        .concat()
        .into_iter()
        .filter(|(name, _)| filter.is_none_or(|part| name.contains(part.as_str())))
        .collect();
    if args.iter().any(|word| word == "--list") {
        for (name, _) in &all {
            println!("{name}: test");
        }
        return;
    }
    let mut failed = Vec::new();
    for (name, run) in &all {
        // A scenario's guards clean up when it panics.
        if catch_unwind(AssertUnwindSafe(run)).is_ok() {
            println!("test {name} ... ok");
        } else {
            println!("test {name} ... FAILED");
            failed.push(*name);
        }
    }
    println!(
        "\n{} scenarios, {} failed {failed:?}",
        all.len(),
        failed.len()
    );
    if !failed.is_empty() {
        std::process::exit(1);
    }
}
