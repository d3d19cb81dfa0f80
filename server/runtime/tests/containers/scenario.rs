//! The scenarios.

use crate::bench::{Bench, kill, master, read_all, read_until, wait, write};

type Scenario = (&'static str, fn(&mut Bench));

pub(crate) const ALL: &[Scenario] = &[
    ("busybox_lives_and_ends", busybox_lives_and_ends),
    (
        "a_session_has_the_containers_first_terminal",
        a_session_has_the_containers_first_terminal,
    ),
];

const SLEEP: &str = r#"{"image":"busybox","init":false,"command":["sleep","1000"]}"#;

fn busybox_lives_and_ends(bench: &mut Bench) {
    let made = bench.create(r#"{"image":"busybox","init":false,"command":["sh","-c","echo $$ $(hostname); ps; exit 7"]}"#);
    let init = bench.start(&made);
    let text = read_all(&init.console);
    println!("{text}");
    for step in &bench.trace.as_ref().expect("trace").steps {
        println!(
            "{:6} {:?} {:?} {} = {}",
            step.at_us, step.actor, step.pid, step.call, step.result
        );
    }
    assert!(text.starts_with("1 test\n"), "{text}");
    assert_eq!(wait(&init.pidfd), 7);
    bench.remove(&made);
}

fn a_session_has_the_containers_first_terminal(bench: &mut Bench) {
    let made = bench.create(SLEEP);
    let init = bench.start(&made);
    let session = bench.join(&made, &init, r#"{"tty":true}"#);
    for step in &bench.trace.as_ref().expect("trace").steps {
        println!(
            "{:6} {:?} {:?} {} = {}",
            step.at_us, step.actor, step.pid, step.call, step.result
        );
    }
    assert_eq!(session.tty_name.as_deref(), Some("/dev/pts/0"));
    write(&session.console, "tty; id; echo end''ed\n");
    let mut text = String::new();
    read_until(master(&session.console), &mut text, |text| {
        text.contains("ended")
    });
    println!("{text}");
    assert!(text.contains("/dev/pts/0"));
    kill(&session.pidfd, 9);
    assert_eq!(wait(&session.pidfd), 137);
    bench.end(&made, init);
}
