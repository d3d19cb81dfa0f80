//! Scenarios with real containers. Root is needed; without it they are skipped, loudly.
//!
//! libtest runs tests in threads, and a process with threads can make no container. So this is a
//! test binary of its own kind: each scenario runs in a process forked for it, which plays the
//! monitor, with a root directory and control groups of its own.
#![allow(missing_docs, reason = "a test binary has no public documentation")]

mod bench;
mod measure;
mod scenario;

use std::ffi::OsString;
use std::os::fd::AsFd;

use porthole_sys::process::{Child, Clone, SingleThreaded, clone, exit};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// How many scenarios run at the same time.
const SIDE_BY_SIDE: usize = 2;

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|word| word == "init") {
        porthole_runtime::init_main(args[2..].to_vec());
    }
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: every scenario with containers: they need root");
        return;
    }
    let filter: Option<String> = args
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .find(|word| !word.starts_with('-'));
    let chosen: Vec<scenario::Scenario> = scenario::all()
        .into_iter()
        .filter(|(name, _)| {
            filter
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
        })
        .collect();
    if args.iter().any(|word| word == "--list") {
        for (name, _) in &chosen {
            println!("{name}: test");
        }
        return;
    }
    if args.iter().any(|word| word == "--measure") {
        bench::with("measure", measure::run);
        return;
    }
    let alone = SingleThreaded::verify().expect("one thread");
    let mut failed = Vec::new();
    let mut running: Vec<(&str, Child)> = Vec::new();
    let mut next = chosen.iter();
    loop {
        while running.len() < SIDE_BY_SIDE
            && let Some((name, run)) = next.next()
        {
            let child = clone(alone, &Clone::default(), |_| {
                bench::with(name, run);
                exit(0)
            })
            .expect("a scenario's process");
            running.push((name, child));
        }
        if running.is_empty() {
            break;
        }
        let (name, child) = running.remove(0);
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
            .expect("waitid")
            .expect("an ended child");
        if status.exit_status() == Some(0) {
            println!("test {name} ... ok");
        } else {
            println!("test {name} ... FAILED");
            failed.push(name);
        }
    }
    println!(
        "\n{} scenarios, {} failed {failed:?}",
        chosen.len(),
        failed.len()
    );
    if !failed.is_empty() {
        std::process::exit(1);
    }
}
