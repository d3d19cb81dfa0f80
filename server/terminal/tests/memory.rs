//! What a session costs in memory. Alone in its binary: it measures the whole process.

mod session;

use session::{Session, eventually, joined, numbers, write_all};

#[tokio::test]
async fn sessions_cost_little_memory() {
    a_viewer_that_never_reads().await;
    idle_sessions().await;
}

async fn idle_sessions() {
    const SESSIONS: usize = 60;
    // Whatever is made once is there by now.
    let mut all = Vec::with_capacity(SESSIONS);
    let before = resident();
    for _ in 0..SESSIONS {
        let (session, mut slave) = Session::tty().await;
        std::io::Write::write_all(&mut slave, b"$ ").expect("writing");
        let mut client = session.writer("ada").await;
        client
            .until("a prompt", |client| client.received == 2)
            .await;
        all.push((session, slave, client));
    }
    let each = resident().saturating_sub(before) / SESSIONS;
    // The test's own end of each is in it too.
    assert!(each < 64 * 1024, "{each} bytes a session");
    println!("{each} bytes a session with its viewer");
}

async fn a_viewer_that_never_reads() {
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
