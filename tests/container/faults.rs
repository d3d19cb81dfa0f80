//! Faults: whatever of Porthole is killed at whatever moment, and whatever the machine runs out of,
//! a container is wholly there or wholly gone, and nothing is left.

mod halt;
mod kills;
mod remains;
mod scarcity;

use std::io::Write as _;

use kills::{Operation, kill_at_every_stage};

/// Prints what `cargo test` would keep to itself.
fn show(text: &str) {
    let _ = write!(std::io::stderr(), "{text}");
}

fn run(operations: &[Operation]) {
    let (table, left) = kill_at_every_stage(operations);
    show(&table);
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn nothing_is_left_whoever_is_killed_while_one_is_made_or_removed() {
    run(&[Operation::Create, Operation::Remove]);
}

#[test]
fn nothing_is_left_whoever_is_killed_while_one_starts() {
    run(&[Operation::Start]);
}

#[test]
fn nothing_is_left_whoever_is_killed_while_one_is_joined_or_stopped() {
    run(&[Operation::Join, Operation::Stop]);
}

#[test]
fn nothing_is_left_whoever_is_killed_while_an_image_comes() {
    run(&[Operation::Import]);
}

#[test]
fn nothing_is_left_whatever_runs_out() {
    let (table, left) = scarcity::run_out_of_everything();
    show(&table);
    assert!(left.is_empty(), "{left:#?}");
}
