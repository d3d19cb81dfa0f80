//! What the observer tells beside what ps(1) and lsns(8) list at the same time.

use std::time::{Duration, Instant};

use porthole_protocol::id::HostPid;

use super::view::{Kept, PATIENCE, View};
use super::{output, settled, spawn, start};

#[test]
fn it_agrees_with_ps() {
    needs_root!();
    let mut view = start();
    settled(&mut view);
    all_agree(&mut view, "ps", 6, |view| {
        let text = output("ps", &["-eo", "pid=,ppid=,euid=,egid=,nlwp=,tty=,comm="]);
        let judge = |line: &str| (key(line, 1), agrees(view, line));
        text.lines().map(judge).collect()
    });
}

#[test]
fn it_agrees_with_lsns() {
    needs_root!();
    let _boxes: Vec<Kept> = (0..3)
        .map(|_| {
            spawn(
                "unshare",
                &["-muipnCT", "--fork", "--kill-child", "sleep", "1000"],
            )
        })
        .collect();
    let mut view = start();
    settled(&mut view);
    all_agree(&mut view, "lsns", 20, |view| {
        let text = output("lsns", &["-nro", "NS,TYPE,NPROCS,PID"]);
        text.lines()
            .map(|line| (line, line.split_whitespace().collect::<Vec<_>>()))
            // One that only a file keeps has no process.
            .filter(|(_, fields)| fields.len() == 4 && fields[2] != "0")
            .map(|(line, fields)| (key(line, 2), same_namespace(view, &fields)))
            .collect()
    });
}

/// Another program's list again and again, until each of its lines has agreed with what the
/// observer told, or is no longer in the list: other processes come and go on this machine, so
/// that no one moment need be right for all of them.
fn all_agree(
    view: &mut View,
    program: &str,
    at_least: usize,
    list: impl Fn(&View) -> Vec<(String, bool)>,
) {
    let begun = Instant::now();
    let first = list(view);
    assert!(
        first.len() >= at_least,
        "{program} lists hardly anything: {first:?}"
    );
    let mut open: Vec<String> = first.into_iter().map(|(line, _)| line).collect();
    while !open.is_empty() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{program} and the observer differ on {open:?}; it was told:\n{:#?}",
            open.iter()
                .filter_map(|line| view.process(HostPid(line.parse().ok()?)))
                .collect::<Vec<_>>()
        );
        view.take(Duration::from_millis(60));
        let now = list(view);
        open.retain(|line| now.iter().any(|(other, agrees)| other == line && !agrees));
    }
}

/// The first so many fields of a line.
fn key(line: &str, fields: usize) -> String {
    let fields: Vec<&str> = line.split_whitespace().take(fields).collect();
    fields.join(" ")
}

fn agrees(view: &View, line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let pid = HostPid(fields[0].parse().expect("a PID"));
    let Some(process) = view.process(pid) else {
        return false;
    };
    let found = [
        process.parent.map_or(0, |parent| parent.0).to_string(),
        process.uid.to_string(),
        process.gid.to_string(),
        process.threads.to_string(),
        // ps knows only the terminals of this mount namespace; in a container's it sees none.
        match &process.tty {
            Some(tty) if fields[5] != "?" => tty.clone(),
            _ => "?".to_owned(),
        },
    ];
    // A worker of the kernel is named by what it does at the moment, without an event.
    let name = fields[6]
        .split_inclusive("kworker/")
        .next()
        .unwrap_or_default();
    found
        .iter()
        .zip(&fields[1..6])
        .all(|(found, field)| found == field)
        && process.command.starts_with(name)
}

fn same_namespace(view: &View, fields: &[&str]) -> bool {
    view.namespaces.values().any(|namespace| {
        // The numbers of the host's change with every process on this machine.
        let counted = namespace.initial
            || (namespace.processes.to_string() == fields[2]
                && namespace
                    .leader
                    .is_some_and(|leader| leader.to_string() == fields[3]));
        namespace.inode.to_string() == fields[0] && namespace.kind.name() == fields[1] && counted
    })
}
