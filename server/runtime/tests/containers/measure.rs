//! How long things take: `cargo test -p porthole-runtime --test containers -- --measure`.

use std::time::{Duration, Instant};

use std::os::fd::AsFd;

use porthole_runtime::Launched;
use porthole_sys::process::{Clone, SingleThreaded, Words, clone, execute_path, exit, fork};
use rustix::process::WaitOptions;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::bench::{Bench, wait};

const RUNS: usize = 40;

/// Between runs: a loop without pauses flatters.
const PAUSE: Duration = Duration::from_millis(60);

/// Prints the middle, the least and the most of what is measured.
pub(crate) fn run(bench: &mut Bench) {
    for image in ["busybox", "host"] {
        let json = format!(r#"{{"image":"{image}","init":false,"command":["sleep","1000"]}}"#);
        let made = bench.create(&json);
        let mut births = Vec::new();
        for _ in 0..RUNS {
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            let init = bench.start(&made);
            births.push(begun.elapsed());
            bench.kill(&made, &init);
        }
        report(&format!("groups and start, {image}"), births);
        print_steps(bench);
        let init = bench.start(&made);
        let mut raw = Vec::new();
        for _ in 0..RUNS {
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            raw_join(&init);
            raw.push(begun.elapsed());
        }
        report(&format!("raw join to end of true, {image}"), raw);
        for tty in [false, true] {
            let spec = format!(r#"{{"tty":{tty},"command":["true"]}}"#);
            let (mut joins, mut ends) = (Vec::new(), Vec::new());
            for _ in 0..RUNS {
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                let session = bench.join(&made, &init, &spec);
                joins.push(begun.elapsed());
                wait(&session.pidfd);
                ends.push(begun.elapsed());
            }
            report(&format!("join, {image}, tty {tty}"), joins);
            report(&format!("join to end of true, {image}, tty {tty}"), ends);
            print_steps(bench);
        }
        bench.end(&made, init);
    }
}

/// What joining takes at the least: fork, setns, fork, exec, and waiting for both.
fn raw_join(init: &Launched) {
    let alone = SingleThreaded::verify().expect("one thread");
    let words = Words {
        arguments: vec![c"true".to_owned()],
        environment: Vec::new(),
    };
    let joiner = clone(alone, &Clone::default(), |forked| {
        let all = ThreadNameSpaceType::from_bits_retain(0x7e02_0000);
        let entered = move_into_thread_name_spaces(init.pidfd.as_fd(), all);
        let started = fork(forked.single_threaded(), |_| {
            execute_path(c"/bin/true", &words);
            exit(127)
        });
        exit(i32::from(entered.is_err() || started.is_err()))
    })
    .expect("a joiner");
    assert_eq!(wait(&joiner.pidfd), 0);
    let (_, status) = rustix::process::wait(WaitOptions::empty())
        .expect("wait")
        .expect("a child");
    assert_eq!(status.exit_status(), Some(0));
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what}: {:?} (least {:?}, most {:?})",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}

/// The slowest calls of the last run.
fn print_steps(bench: &Bench) {
    let steps = &bench.trace.as_ref().expect("a trace").steps;
    let total = steps.last().map_or(0, |step| step.at_us);
    let mut slow: Vec<(u64, &str)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let next = steps[at + 1..].iter().find(|next| next.actor == step.actor);
        let took = next.map_or(total, |next| next.at_us) - step.at_us;
        slow.push((took, &step.call));
    }
    slow.sort();
    for (took, call) in slow.iter().rev().take(8) {
        println!(
            "    {took:6} us until after {}",
            call.chars().take(100).collect::<String>()
        );
    }
}
