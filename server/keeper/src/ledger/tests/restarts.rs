//! Restart policies, and what is removed when it ends.

use super::*;

const ALWAYS: &str = r#"{"image":"busybox","restart":"always"}"#;
const FAILING: &str = r#"{"image":"busybox","restart":"on-failure:2"}"#;

impl World {
    /// It ends so, and its monitor with it.
    fn end(&mut self, id: &ContainerId, code: i32) {
        self.say(&init(id), FromMonitor::Exited(exit(code)));
        self.gone(&init(id), Some(exit(code)));
    }

    /// How long until something is due.
    fn wait(&self) -> Option<u64> {
        self.ledger.next_deadline().map(|at| at - self.ms)
    }

    fn stop(&mut self, id: &ContainerId) -> (Ticket, Vec<Effect>) {
        self.ask(Request::Stop {
            container: id.clone(),
            timeout_ms: 10_000,
        })
    }
}

fn again(id: &ContainerId) -> Effect {
    Effect::Launch(id.clone(), Starter::Policy)
}

#[test]
fn a_container_that_ends_at_once_is_started_ever_later() {
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    world.run(&id, 100);
    for (count, wait) in [(1, 100), (2, 200), (3, 400)] {
        world.end(&id, 0);
        let container = world.look(&id);
        assert_eq!(container.state, ContainerState::Exited);
        assert_eq!(container.restarts, count);
        assert_eq!(container.restart_at, Some(Timestamp(world.ms + wait)));
        assert_eq!(world.later(wait - 1), []);
        assert!(world.later(1).contains(&again(&id)));
        world.say(&init(&id), started(100));
        assert_eq!(world.look(&id).restart_at, None);
    }
    // Ten seconds of running are well.
    world.later(10_000);
    world.end(&id, 0);
    assert_eq!(world.wait(), Some(100));
    // Whoever starts it by hand begins anew.
    world.run(&id, 101);
    assert_eq!(world.look(&id).restarts, 0);
}

#[test]
fn it_waits_for_the_last_runs_monitor() {
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    world.run(&id, 100);
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    assert_eq!(world.later(100), [], "its output is being put away");
    let effects = world.gone(&init(&id), Some(exit(0)));
    assert!(effects.contains(&again(&id)), "{effects:?}");
}

#[test]
fn only_failures_count_and_only_so_often() {
    let mut world = World::new();
    let id = world.create(FAILING).id;
    world.run(&id, 100);
    for wait in [100, 200] {
        world.end(&id, 1);
        assert!(world.later(wait).contains(&again(&id)));
        world.say(&init(&id), started(100));
    }
    world.end(&id, 1);
    assert_eq!(world.wait(), None, "twice is what was asked for");
    world.run(&id, 100);
    world.end(&id, 0);
    assert_eq!(world.wait(), None, "it did not fail");
}

#[test]
fn who_stops_it_ends_that_at_any_moment() {
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    // While it runs.
    world.run(&id, 100);
    world.stop(&id);
    world.end(&id, 143);
    assert_eq!(world.wait(), None);
    // While it waits.
    world.run(&id, 100);
    world.end(&id, 1);
    assert_eq!(world.wait(), Some(100));
    let (ticket, effects) = world.stop(&id);
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    assert_eq!((world.wait(), world.look(&id).restart_at), (None, None));
    // While it is being started.
    world.run(&id, 100);
    world.end(&id, 1);
    world.later(100);
    let (ticket, effects) = world.stop(&id);
    assert_eq!(reply(&effects, ticket), None);
    let effects = world.say(&init(&id), started(100));
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::End)));
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(137)));
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    world.gone(&init(&id), None);
    assert_eq!(world.wait(), None);
    // By SIGKILL; another signal says nothing about what is to come.
    for (signal, wait) in [(9, None), (1, Some(100))] {
        world.run(&id, 100);
        world.ask(Request::Kill {
            container: id.clone(),
            signal,
        });
        world.end(&id, 128 + i32::from(signal));
        assert_eq!(world.wait(), wait, "signal {signal}");
    }
}

#[test]
fn a_start_that_fails_is_tried_again_and_says_why() {
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    world.run(&id, 100);
    world.end(&id, 0);
    world.later(100);
    let failure = Failure::new(FailureCode::Exhausted, "no memory");
    world.say(&init(&id), FromMonitor::Failed(failure));
    world.gone(&init(&id), None);
    assert_eq!(world.look(&id).error.as_deref(), Some("no memory"));
    assert!(world.later(200).contains(&again(&id)));
    // One that somebody has asked for is theirs to try again.
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    world.start(&id);
    let failure = Failure::new(FailureCode::Exhausted, "no memory");
    world.say(&init(&id), FromMonitor::Failed(failure));
    world.gone(&init(&id), None);
    assert_eq!(world.wait(), None);
}

#[test]
fn a_restart_is_one_request_that_stops_and_starts() {
    let mut world = World::new();
    let id = world.create(r#"{"image":"busybox","auto_remove":true,"stop_signal":"SIGQUIT"}"#);
    let id = id.id;
    world.run(&id, 100);
    let (ticket, effects) = world.ask(Request::Restart {
        container: id.clone(),
        timeout_ms: 5_000,
    });
    let quit = ToMonitor::Signal { signal: 3 };
    assert_eq!(effects, [Effect::Send(init(&id), quit)]);
    assert_eq!(
        world.later(5_000),
        [Effect::Send(init(&id), ToMonitor::End)]
    );
    world.say(&init(&id), FromMonitor::Exited(exit(137)));
    let effects = world.gone(&init(&id), None);
    assert!(effects.contains(&Effect::Launch(id.clone(), Starter::Asked(ticket))));
    assert!(
        !effects.contains(&Effect::Unmake(id.clone())),
        "{effects:?}"
    );
    let effects = world.say(&init(&id), started(101));
    assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    // Ended otherwise, it goes.
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    assert_eq!(world.gone(&init(&id), None), [Effect::Unmake(id)]);
}

#[test]
fn what_is_removed_when_it_ends_has_no_restart_policy() {
    let mut world = World::new();
    let (ticket, effects) =
        world.try_create(r#"{"image":"busybox","auto_remove":true,"restart":"always"}"#);
    assert_eq!(failed(&effects, ticket).field.as_deref(), Some("restart"));
    // Nor later.
    let id = world.create(r#"{"image":"busybox","auto_remove":true}"#).id;
    let failure = world.refusal(Request::Change {
        container: id,
        change: Change {
            restart: Some(RestartPolicy::Always),
            ..Change::default()
        },
    });
    assert_eq!(failure.field.as_deref(), Some("restart"));
}

/// A container of this spec that another keeper left so.
fn left(spec: &str, state: State) -> (World, ContainerId, Vec<Effect>) {
    let mut old = World::new();
    let id = old.create(spec).id;
    let (config, _) = old.ledger.stored(&id).expect("stored");
    let found = Found {
        config: config.clone(),
        state: Some(state),
        monitor: false,
        exit: None,
        failure: None,
        frozen: false,
    };
    let mut world = World::new();
    let now = world.now();
    let effects = world.ledger.recover(found, now);
    (world, id, effects)
}

fn ended(boot: &str) -> State {
    State {
        life: Life::Exited,
        boot: boot.to_owned(),
        started_at: Some(Timestamp(1)),
        exit: Some(exit(1)),
        ..State::default()
    }
}

#[test]
fn another_keeper_goes_on_with_the_wait() {
    let waiting = |at: u64| State {
        restarts: 5,
        backoff_ms: 1_600,
        restart_at: Some(Timestamp(at)),
        ..ended("boot")
    };
    let (mut world, id, _) = left(ALWAYS, waiting(1_000_700));
    assert_eq!(world.wait(), Some(700));
    assert!(world.later(700).contains(&again(&id)));
    assert_eq!(world.look(&id).restarts, 5);
    // It was due while no keeper was there.
    assert_eq!(left(ALWAYS, waiting(0)).0.wait(), Some(0));
    // The clock was set back by an hour: no wait is longer than it was meant to be.
    let (world, ..) = left(ALWAYS, waiting(1_000_000 + 3_600_000));
    assert_eq!(world.wait(), Some(1_600));
}

#[test]
fn a_clock_that_was_set_meanwhile_changes_no_wait() {
    const HOUR: u64 = 3_600_000;
    let waiting = |wall: u64, ms: Option<u64>, boot| State {
        restarts: 5,
        backoff_ms: 1_600,
        restart_at: Some(Timestamp(wall)),
        restart_ms: ms,
        ..ended(boot)
    };
    for set in [1_000_700 - HOUR / 4, 1_000_700, 1_000_700 + HOUR] {
        let (mut world, id, _) = left(ALWAYS, waiting(set, Some(1_000_700), "boot"));
        assert_eq!(world.wait(), Some(700), "due at {set}");
        // What is told is what the clock will show.
        assert_eq!(world.look(&id).restart_at, Some(Timestamp(1_000_700)));
        assert_eq!(world.later(699), []);
        assert!(world.later(1).contains(&again(&id)));
    }
    // A record without it, and one of another boot, in which this clock had another beginning.
    let (world, ..) = left(ALWAYS, waiting(1_000_900, None, "boot"));
    assert_eq!(world.wait(), Some(900));
    let (world, ..) = left(ALWAYS, waiting(1_000_900, Some(1_001_500), "earlier"));
    assert_eq!(world.wait(), Some(100));
}

#[test]
fn a_wait_is_written_down_by_both_clocks() {
    let mut world = World::new();
    let id = world.create(ALWAYS).id;
    world.run(&id, 100);
    world.end(&id, 1);
    let (_, state) = world.ledger.stored(&id).expect("stored");
    assert_eq!(state.restart_ms, Some(world.ms + 100));
    assert_eq!(state.restart_at, Some(Timestamp(world.ms + 100)));
}

#[test]
fn the_machines_restart_starts_what_is_always_to_run() {
    let ran = |boot: &str| State {
        life: Life::Running(crate::ledger::Run {
            boot: boot.to_owned(),
            host_pid: HostPid(100),
            start_ticks: 7,
            namespaces: NamespaceSet::default(),
            paused: false,
        }),
        exit: None,
        ..ended(boot)
    };
    let stopped = |boot: &str| State {
        stopped: true,
        ..ended(boot)
    };
    let spec = |policy: &str| format!(r#"{{"image":"busybox","restart":"{policy}"}}"#);
    for (policy, runs, was_stopped) in [
        ("no", false, false),
        ("on-failure", false, false),
        ("unless-stopped", true, false),
        ("always", true, true),
    ] {
        let (world, id, _) = left(&spec(policy), ran("earlier"));
        let container = world.look(&id);
        assert_eq!(container.state, ContainerState::Exited);
        let reason = container.exit.expect("ended").reason;
        assert_eq!(reason, "the machine was restarted");
        assert_eq!(world.wait(), runs.then_some(100), "{policy}, which ran");
        let (world, ..) = left(&spec(policy), stopped("earlier"));
        assert_eq!(world.wait().is_some(), was_stopped, "{policy}, stopped");
        // Another keeper on the same machine starts nothing that was stopped.
        let (world, ..) = left(&spec(policy), stopped("boot"));
        assert_eq!(world.wait(), None, "{policy}, stopped in this boot");
    }
    // One that never ran is not started.
    let never = State {
        boot: "earlier".to_owned(),
        ..State::default()
    };
    assert_eq!(left(ALWAYS, never).0.wait(), None);
    // One that goes with its end, goes.
    let (_, id, effects) = left(r#"{"image":"busybox","auto_remove":true}"#, ran("earlier"));
    assert!(effects.contains(&Effect::Unmake(id)), "{effects:?}");
}
