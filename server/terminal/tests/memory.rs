//! What a session costs in memory. Alone in its binary: it measures the whole process.

mod session;

use session::{Session, eventually, joined, numbers, write_all};

#[tokio::test]
async fn a_viewer_that_never_reads_costs_no_memory() {
    let (session, slave) = Session::tty().await;
    let watchers = [session.watcher("ada").await, session.watcher("bob").await];
    let text = numbers(0, 4_000_000);
    let end = text.len() as u64;
    let before = resident();
    let writer = write_all(slave, text);
    eventually("the end", || session.hub.info().seq.0 == end).await;
    joined(writer).await;
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 8 * 1024 * 1024,
        "{grown} bytes for {end} bytes of output"
    );
    drop(watchers);
}

/// Bytes of memory in use.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = statm.split(' ').nth(1).expect("a second field");
    pages.parse::<usize>().expect("a number") * 4096
}
