//! Orders of events that a real keeper meets seldom.

use porthole_protocol::container::{
    Container, ContainerState, IdRange, Image, NamespaceChoice, Timestamp,
};
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, NamespaceInode, SessionId};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Policy, Reply, Request};
use porthole_protocol::monitor::{FromMonitor, Started, ToMonitor};
use porthole_protocol::namespace::{Isolation, NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::session::{Exit, ExitKind, Session, SessionSpec, Size, Target};

use super::record::{Life, State, StoredSession};
use super::{Effect, Found, FoundSession, Ledger, Machine, Now, Ticket};
use crate::policy::{Ceilings, Rules};

/// A ledger with a clock, to which things happen.
struct World {
    ledger: Ledger,
    ms: u64,
    tickets: u64,
}

fn ledger(policy: Policy) -> Ledger {
    let image = Image {
        name: "busybox".parse().expect("name"),
        description: String::new(),
        command: vec!["sh".parse().expect("word")],
        unavailable: None,
    };
    let absent = Image {
        name: "host".parse().expect("name"),
        unavailable: Some("because".to_owned()),
        ..image.clone()
    };
    Ledger::new(
        vec![image, absent],
        Rules {
            policy,
            ceilings: Ceilings {
                memory: 8 << 30,
                cpus: 4.0,
                pids: 4_096,
            },
        },
        Machine {
            boot: "boot".to_owned(),
            cgroup: "/porthole-1".to_owned(),
            host: PerNamespace::build(|kind| Some(NamespaceInode(kind as u64))),
        },
    )
}

impl World {
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        Self {
            ledger: ledger(policy),
            ms: 1_000_000,
            tickets: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            wall: Timestamp(self.ms),
            ms: self.ms,
        }
    }

    fn ask(&mut self, request: Request) -> (Ticket, Vec<Effect>) {
        self.tickets += 1;
        let ticket = Ticket {
            connection: 1,
            id: self.tickets,
        };
        let mut random = [0; 34];
        random[..8].copy_from_slice(&self.tickets.to_le_bytes());
        random[32..].copy_from_slice(&[self.tickets as u8; 2]);
        let now = self.now();
        (ticket, self.ledger.request(ticket, request, now, random))
    }

    fn create(&mut self, spec: &str) -> Container {
        let (ticket, effects) = self.try_create(spec);
        let [Effect::Make(config)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        let mut config = config.clone();
        if config.ids.2 == 0 {
            config.ids = IdRange(0, 1_000_000 + 65_536 * self.tickets as u32, 65_536);
            self.ledger.allocated(&config);
        }
        let effects = self.ledger.made(&config.id);
        match reply(&effects, ticket) {
            Some(Reply::Container(container)) => *container,
            other => panic!("{other:?}"),
        }
    }

    fn try_create(&mut self, spec: &str) -> (Ticket, Vec<Effect>) {
        self.ask(Request::Create {
            spec: serde_json::from_str(spec).expect("spec"),
            owner: "admin".parse().expect("owner"),
        })
    }

    fn refusal(&mut self, request: Request) -> Failure {
        let (ticket, effects) = self.ask(request);
        match effects.as_slice() {
            [Effect::Reply(to, Reply::Failed(failure))] if *to == ticket => failure.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, target: &Target, message: FromMonitor) -> Vec<Effect> {
        let now = self.now();
        self.ledger.said(target, message, now)
    }

    fn gone(&mut self, target: &Target, exit: Option<Exit>) -> Vec<Effect> {
        let now = self.now();
        self.ledger.monitor_gone(target, exit, None, now)
    }

    fn later(&mut self, ms: u64) -> Vec<Effect> {
        self.ms += ms;
        let now = self.now();
        self.ledger.tick(now)
    }

    fn start(&mut self, id: &ContainerId) -> (Ticket, Vec<Effect>) {
        self.ask(Request::Start {
            container: id.clone(),
        })
    }

    fn run(&mut self, id: &ContainerId, pid: i32) {
        let (ticket, effects) = self.start(id);
        assert!(effects.contains(&Effect::Launch(id.clone(), ticket)));
        let effects = self.say(&init(id), started(pid));
        assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    }

    fn look(&self, id: &ContainerId) -> Container {
        self.ledger
            .everything()
            .into_iter()
            .find_map(|event| match event {
                Event::Container(container) if container.id == *id => Some(*container),
                _ => None,
            })
            .expect("it is there")
    }

    fn open(&mut self, container: &ContainerId, number: u8) -> (Ticket, Vec<Effect>) {
        self.ask(Request::OpenSession {
            session: session_id(number),
            spec: Box::new(session_spec(container)),
            owner: "admin".parse().expect("owner"),
        })
    }

    fn opened(&mut self, container: &ContainerId, number: u8) {
        let (_, effects) = self.open(container, number);
        assert!(
            matches!(effects.as_slice(), [Effect::Join(_)]),
            "{effects:?}"
        );
        let message = session_started(container, number, 500);
        self.say(&Target::Session(session_id(number)), message);
    }
}

fn init(id: &ContainerId) -> Target {
    Target::Init(id.clone())
}

fn session_id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn session_spec(container: &ContainerId) -> SessionSpec {
    SessionSpec {
        container: container.clone(),
        command: Vec::new(),
        tty: true,
        size: Size::DEFAULT,
        user: None,
        workdir: None,
        env: [].into(),
        join: None,
        foreign: None,
    }
}

fn started(pid: i32) -> FromMonitor {
    let pid_u64 = u64::from(pid.cast_unsigned());
    FromMonitor::Started(Started {
        host_pid: HostPid(pid),
        container_pid: ContainerPid(1),
        start_ticks: 7,
        tty_name: None,
        namespaces: PerNamespace::build(|kind| Some(NamespaceInode(pid_u64 * 100 + kind as u64))),
        session: None,
    })
}

fn session(container: &ContainerId, number: u8, at: u64) -> Session {
    Session {
        id: session_id(number),
        container: container.clone(),
        owner: "admin".parse().expect("owner"),
        command: vec!["sh".to_owned()],
        tty: true,
        size: Size::DEFAULT,
        exit: None,
        host_pid: Some(HostPid(500)),
        container_pid: Some(ContainerPid(2)),
        tty_name: Some("/dev/pts/0".to_owned()),
        started_at: Timestamp(at),
        tried: Vec::new(),
        joined: None,
        fidelity: Vec::new(),
    }
}

fn session_started(container: &ContainerId, number: u8, at: u64) -> FromMonitor {
    FromMonitor::Started(Started {
        host_pid: HostPid(500),
        container_pid: ContainerPid(2),
        start_ticks: 8,
        tty_name: None,
        namespaces: NamespaceSet::default(),
        session: Some(Box::new(session(container, number, at))),
    })
}

fn exit(code: i32) -> Exit {
    Exit {
        code,
        kind: ExitKind::Exited,
        reason: String::new(),
        at: Timestamp(0),
    }
}

fn reply(effects: &[Effect], ticket: Ticket) -> Option<Reply> {
    effects.iter().find_map(|effect| match effect {
        Effect::Reply(to, reply) if *to == ticket => Some(reply.clone()),
        _ => None,
    })
}

fn failed(effects: &[Effect], ticket: Ticket) -> Failure {
    match reply(effects, ticket) {
        Some(Reply::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

const PLAIN: &str = r#"{"image":"busybox"}"#;

#[test]
fn defaults_are_filled_in_and_names_made_up() {
    let mut world = World::new();
    let container = world.create(PLAIN);
    let spec = &container.spec;
    assert_eq!(spec.name.as_ref(), Some(&container.name));
    assert_eq!(
        spec.hostname.as_ref().map(ToString::to_string),
        Some(container.name.to_string())
    );
    assert_eq!(spec.limits.memory, Some(512 * 1024 * 1024));
    assert_eq!(spec.limits.pids, Some(256));
    assert_eq!(spec.command[0].as_str(), "sh");
    assert_eq!(spec.namespace(NamespaceType::Pid), NamespaceChoice::Own);
    assert_eq!(spec.namespace(NamespaceType::Time), NamespaceChoice::Host);
    let named = world.create(r#"{"image":"busybox","name":"with_underscore"}"#);
    assert_eq!(
        named.spec.hostname.map(|name| name.to_string()),
        Some(named.id.short().to_owned()),
        "a name that no host can have"
    );
}

#[test]
fn a_name_is_taken_while_its_container_is_made_and_free_when_that_failed() {
    let mut world = World::new();
    let spec = r#"{"image":"busybox","name":"one"}"#;
    let (first, effects) = world.try_create(spec);
    let [Effect::Make(config)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let (second, effects) = world.try_create(spec);
    assert_eq!(failed(&effects, second).code, FailureCode::NameInUse);
    // Nobody is told of it, and nobody can refer to it.
    assert_eq!(world.ledger.everything().len(), 3, "two images and the end");
    let failure = world.refusal(Request::Start {
        container: config.id.clone(),
    });
    assert_eq!(failure.code, FailureCode::ContainerNotFound);
    let full = Failure::new(FailureCode::Storage, "full");
    let effects = world.ledger.not_made(&config.id, full.clone());
    assert_eq!(effects, [Effect::Reply(first, Reply::Failed(full))]);
    world.create(spec);
}

#[test]
fn the_host_is_reached_by_no_detour() {
    let mut world = World::new();
    for (spec, field) in [
        (
            r#"{"image":"busybox","namespaces":{"net":"host"}}"#,
            "namespaces.net",
        ),
        (
            r#"{"image":"busybox","namespaces":{"user":"host"}}"#,
            "namespaces.user",
        ),
    ] {
        let (ticket, effects) = world.try_create(spec);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden);
        assert_eq!(failure.field.as_deref(), Some(field));
        assert!(failure.message.contains("policy.toml"), "{failure}");
    }
    let (ticket, effects) = world.try_create(r#"{"image":"busybox","namespaces":{"time":"host"}}"#);
    assert_eq!(
        reply(&effects, ticket),
        None,
        "the host's clocks are no secret"
    );
    // Through a container that was made while the policy allowed it.
    let mut world = World::with(Policy {
        host_namespaces: true,
        ..Policy::default()
    });
    let open = world.create(r#"{"image":"busybox","name":"open","namespaces":{"net":"host"}}"#);
    world.run(&open.id, 100);
    world.ledger.policy = Policy::default();
    let (ticket, effects) =
        world.try_create(r#"{"image":"busybox","namespaces":{"net":"container:open"}}"#);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Forbidden);
    let mut spec = session_spec(&open.id);
    spec.join = Some(vec![NamespaceType::Net]);
    let failure = world.refusal(Request::OpenSession {
        session: session_id(1),
        spec: Box::new(spec.clone()),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(failure.code, FailureCode::Forbidden);
    world.ledger.policy.host_namespaces = true;
    let (_, effects) = world.ask(Request::OpenSession {
        session: session_id(1),
        spec: Box::new(spec),
        owner: "admin".parse().expect("owner"),
    });
    assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
}

#[test]
fn a_stricter_policy_is_in_force_for_what_is_there() {
    let open = || Policy {
        host_namespaces: true,
        ..Policy::default()
    };
    let mut world = World::with(open());
    let plain = world.create(PLAIN);
    let first = world.create(r#"{"image":"busybox","name":"a","namespaces":{"ipc":"host"}}"#);
    let second =
        world.create(r#"{"image":"busybox","name":"b","namespaces":{"ipc":"container:a"}}"#);
    let third = world.create(r#"{"image":"busybox","namespaces":{"ipc":"container:b"}}"#);
    let all = [&plain.id, &first.id, &second.id, &third.id];
    for (id, pid) in all.into_iter().zip(100..) {
        world.run(id, pid);
    }
    for (number, (id, allowed)) in all.into_iter().zip([true, false, false, false]).enumerate() {
        let number = u8::try_from(number).expect("a few");
        world.ledger.policy = Policy::default();
        let (ticket, effects) = world.open(id, number);
        if allowed {
            assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
            continue;
        }
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
        assert_eq!(failure.field.as_deref(), Some("namespaces.ipc"));
        world.ledger.policy = open();
        let (_, effects) = world.open(id, number);
        assert!(matches!(effects.as_slice(), [Effect::Join(_)]), "control");
    }
    // Where one on the way is gone, the kernel's number says whose it is.
    world.ledger.policy = Policy::default();
    world.ledger.containers.remove(&first.id);
    let (_, effects) = world.open(&third.id, 11);
    assert!(
        matches!(effects.as_slice(), [Effect::Join(_)]),
        "none of the host's: {effects:?}"
    );
    world.ledger.host.ipc = world
        .ledger
        .run(&second.id)
        .expect("it runs")
        .namespaces
        .ipc;
    let (ticket, effects) = world.open(&third.id, 12);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Forbidden);
    // A start, by the same rule.
    let mut world = World::with(open());
    let net = world.create(r#"{"image":"busybox","name":"a","namespaces":{"net":"host"}}"#);
    let through = world.create(r#"{"image":"busybox","namespaces":{"net":"container:a"}}"#);
    assert_eq!(
        through.spec.namespace(NamespaceType::Net),
        NamespaceChoice::Host,
        "it is told as what it is"
    );
    for id in [&net.id, &through.id] {
        world.ledger.policy = Policy::default();
        let (ticket, effects) = world.start(id);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Forbidden);
        assert!(failure.message.contains("policy.toml"), "{failure}");
        world.ledger.policy = open();
        world.run(id, 100);
    }
}

#[test]
fn processes_are_shared_with_users_only() {
    let mut world = World::new();
    world.create(r#"{"image":"busybox","name":"a"}"#);
    world.create(r#"{"image":"busybox","name":"b"}"#);
    for refused in [
        r#"{"image":"busybox","namespaces":{"pid":"container:a"}}"#,
        r#"{"image":"busybox","namespaces":{"pid":"container:a","user":"container:b"}}"#,
    ] {
        let (ticket, effects) = world.try_create(refused);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Invalid);
        assert_eq!(failure.field.as_deref(), Some("namespaces.pid"));
        assert!(failure.message.contains("user"), "{failure}");
    }
    for allowed in [
        r#"{"image":"busybox","namespaces":{"pid":"container:a","user":"container:a"}}"#,
        r#"{"image":"busybox","namespaces":{"net":"container:a"}}"#,
    ] {
        world.create(allowed);
    }
}

#[test]
fn no_container_is_given_more_than_root_allows() {
    let mut world = World::new();
    for (limits, field, ceiling) in [
        (r#"{"memory":8589934593}"#, "limits.memory", "8192 MiB"),
        (r#"{"cpus":4.5}"#, "limits.cpus", "4 cores"),
        (r#"{"pids":4097}"#, "limits.pids", "4096 processes"),
    ] {
        let spec = format!(r#"{{"image":"busybox","limits":{limits}}}"#);
        let (ticket, effects) = world.try_create(&spec);
        let failure = failed(&effects, ticket);
        assert_eq!(failure.code, FailureCode::Invalid);
        assert_eq!(failure.field.as_deref(), Some(field));
        assert!(failure.message.contains(ceiling), "{failure}");
    }
    world.create(r#"{"image":"busybox","limits":{"memory":8589934592,"cpus":4.0,"pids":4096}}"#);
    // Where the ceiling is lower than what a container has by default, that is less.
    world.ledger.ceilings = Ceilings {
        memory: 64 << 20,
        cpus: 0.5,
        pids: 32,
    };
    let limits = world.create(PLAIN).spec.limits;
    assert_eq!(
        (limits.memory, limits.cpus, limits.pids),
        (Some(64 << 20), Some(0.5), Some(32))
    );
}

#[test]
fn images_that_are_not_there_are_refused() {
    let mut world = World::new();
    let (ticket, effects) = world.try_create(r#"{"image":"nothing"}"#);
    let failure = failed(&effects, ticket);
    assert_eq!(failure.code, FailureCode::ImageNotFound);
    assert!(failure.message.contains("busybox"), "{failure}");
    let (ticket, effects) = world.try_create(r#"{"image":"host"}"#);
    let failure = failed(&effects, ticket);
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (FailureCode::Unsupported, "because")
    );
}

#[test]
fn stopping_gets_harder_and_gives_up_in_the_end() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let (ticket, effects) = world.ask(Request::Stop {
        container: id.clone(),
        timeout_ms: 5_000,
    });
    let target = init(&id);
    assert_eq!(
        effects,
        [Effect::Send(
            target.clone(),
            ToMonitor::Signal { signal: 15 }
        )]
    );
    assert_eq!(world.later(4_999), []);
    assert_eq!(
        world.later(1),
        [Effect::Send(target.clone(), ToMonitor::End)]
    );
    assert_eq!(world.later(1_999), []);
    assert_eq!(world.later(1), [Effect::Kill(target.clone())]);
    let effects = world.later(10_000);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Internal);
    assert_eq!(world.ledger.next_deadline(), None);
    // When it ends after all, that is noticed, and nobody is answered twice.
    let effects = world.say(&target, FromMonitor::Exited(exit(137)));
    assert_eq!(reply(&effects, ticket), None);
    assert_eq!(world.look(&id).state, ContainerState::Exited);
}

#[test]
fn who_stops_again_may_shorten_the_wait_but_not_lengthen_it() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let stop = |timeout_ms| Request::Stop {
        container: id.clone(),
        timeout_ms,
    };
    let (first, _) = world.ask(stop(5_000));
    let (second, _) = world.ask(stop(u64::MAX));
    assert_eq!(world.ledger.next_deadline(), Some(world.ms + 5_000));
    let (third, effects) = world.ask(stop(0));
    assert_eq!(effects, [Effect::Send(init(&id), ToMonitor::End)]);
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(0)));
    for ticket in [first, second, third] {
        assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    }
}

#[test]
fn a_start_that_takes_too_long_is_given_up() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let (ticket, _) = world.start(&id);
    let failure = world.refusal(Request::Start {
        container: id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let effects = world.later(30_000);
    assert_eq!(
        effects,
        [Effect::KillMonitor(init(&id)), Effect::Kill(init(&id))]
    );
    let effects = world.gone(&init(&id), None);
    assert_eq!(failed(&effects, ticket).code, FailureCode::Internal);
    let container = world.look(&id);
    assert_eq!(container.state, ContainerState::Created);
    assert!(container.error.is_some());
    world.run(&id, 101);
    assert_eq!(world.look(&id).error, None);
}

#[test]
fn a_container_that_is_being_started_can_be_removed_by_force() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    let (starter, _) = world.start(&id);
    let failure = world.refusal(Request::Remove {
        container: id.clone(),
        force: false,
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let (remover, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: true,
    });
    assert_eq!(effects, []);
    let effects = world.say(&init(&id), started(100));
    assert!(matches!(
        reply(&effects, starter),
        Some(Reply::Container(_))
    ));
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::End)));
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(137)));
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::Release)));
    assert!(!effects.contains(&Effect::Unmake(id.clone())), "not yet");
    assert_eq!(world.gone(&init(&id), None), [Effect::Unmake(id.clone())]);
    // In the meantime it can neither be started nor hides that it goes.
    let failure = world.refusal(Request::Start {
        container: id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    let effects = world.ledger.removed(&id, Ok(()));
    assert_eq!(
        effects,
        [
            Effect::Tell(Event::ContainerGone(id.clone())),
            Effect::Reply(remover, Reply::Done)
        ]
    );
}

#[test]
fn a_start_waits_for_the_last_runs_monitor() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    let (ticket, effects) = world.start(&id);
    assert_eq!(effects, [], "its output is being put away");
    let effects = world.gone(&init(&id), Some(exit(0)));
    assert!(effects.contains(&Effect::Launch(id.clone(), ticket)));
    // Removal goes before a start that waits.
    world.say(&init(&id), started(101));
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    let (start, _) = world.start(&id);
    let (_, effects) = world.ask(Request::Remove {
        container: id.clone(),
        force: false,
    });
    assert_eq!(effects, []);
    let effects = world.gone(&init(&id), None);
    assert!(effects.contains(&Effect::Unmake(id.clone())));
    assert_eq!(failed(&effects, start).code, FailureCode::WrongState);
}

#[test]
fn a_session_that_opens_while_its_container_ends_is_ended() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.opened(&id, 1);
    let (_, effects) = world.open(&id, 2);
    assert!(matches!(effects.as_slice(), [Effect::Join(_)]));
    let end = |number| Effect::Send(Target::Session(session_id(number)), ToMonitor::End);
    let effects = world.say(&init(&id), FromMonitor::Exited(exit(0)));
    assert!(effects.contains(&end(1)));
    assert!(!effects.contains(&end(2)), "nobody could hear it yet");
    let target = Target::Session(session_id(2));
    let effects = world.say(&target, session_started(&id, 2, 1));
    assert!(effects.contains(&end(2)));
}

#[test]
fn identifiers_of_sessions_are_new() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    world.opened(&id, 1);
    for taken in [
        session_id(1),
        id.as_str()[..32].parse().expect("half of the container's"),
    ] {
        let failure = world.refusal(Request::OpenSession {
            session: taken,
            spec: Box::new(session_spec(&id)),
            owner: "admin".parse().expect("owner"),
        });
        assert_eq!(failure.code, FailureCode::Invalid);
    }
    let mut spec = session_spec(&id);
    spec.size = Size { cols: 0, rows: 70 };
    let failure = world.refusal(Request::OpenSession {
        session: session_id(2),
        spec: Box::new(spec),
        owner: "admin".parse().expect("owner"),
    });
    assert_eq!(failure.field.as_deref(), Some("cols"));
}

#[test]
fn of_ended_sessions_the_last_are_kept() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    for number in 0..=super::ENDED_SESSIONS {
        let number = u8::try_from(number).expect("few");
        let target = Target::Session(session_id(number));
        world.open(&id, number);
        world.say(&target, session_started(&id, number, u64::from(number)));
        world.say(&target, FromMonitor::Exited(exit(0)));
        let effects = world.gone(&target, None);
        let forgotten = effects.contains(&Effect::Forget(session_id(0)));
        assert_eq!(forgotten, usize::from(number) == super::ENDED_SESSIONS);
    }
    // Removing the container forgets the others.
    world.say(&init(&id), FromMonitor::Exited(exit(0)));
    world.gone(&init(&id), None);
    world.ask(Request::Remove {
        container: id.clone(),
        force: false,
    });
    let effects = world.ledger.removed(&id, Ok(()));
    let forgotten = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Forget(_)))
        .count();
    assert_eq!(forgotten, super::ENDED_SESSIONS);
}

#[test]
fn who_shares_a_namespace_is_told_when_that_changes() {
    let mut world = World::new();
    let one = world.create(r#"{"image":"busybox","name":"one"}"#);
    let other = world.create(
        r#"{"image":"busybox","namespaces":{"net":"container:one","user":"container:one"}}"#,
    );
    assert_eq!(other.uid_map, one.uid_map);
    assert_eq!(other.namespaces.net.isolation, Isolation::Shared);
    let failure = world.refusal(Request::Start {
        container: other.id.clone(),
    });
    assert_eq!(failure.code, FailureCode::WrongState);
    world.run(&one.id, 100);
    world.start(&other.id);
    let FromMonitor::Started(mut second) = started(101) else {
        unreachable!()
    };
    let FromMonitor::Started(first) = started(100) else {
        unreachable!()
    };
    second.namespaces.net = first.namespaces.net;
    let effects = world.say(&init(&other.id), FromMonitor::Started(second));
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell(Event::Container(container)) => Some(container),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2);
    let first = told.iter().find(|c| c.id == one.id).expect("the first");
    assert_eq!(first.namespaces.net.isolation, Isolation::Shared);
    assert_eq!(
        first.namespaces.net.shared_with,
        std::slice::from_ref(&other.id)
    );
    assert_eq!(first.namespaces.uts.isolation, Isolation::Own);
    let effects = world.say(&init(&other.id), FromMonitor::Exited(exit(0)));
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Tell(Event::Container(c))
            if c.id == one.id && c.namespaces.net.isolation == Isolation::Own
    )));
}

fn found(world: &mut World, life: Life) -> Found {
    let id = world.create(PLAIN).id;
    let (config, _) = world.ledger.stored(&id).expect("stored");
    Found {
        config: config.clone(),
        state: Some(State {
            life,
            ..State::default()
        }),
        monitor: false,
        exit: None,
        failure: None,
    }
}

fn running(boot: &str) -> Life {
    Life::Running(super::Run {
        boot: boot.to_owned(),
        host_pid: HostPid(100),
        start_ticks: 7,
        namespaces: NamespaceSet::default(),
    })
}

fn recovered(found: Found) -> (Container, Vec<Effect>) {
    let mut world = World::new();
    let id = found.config.id.clone();
    let now = world.now();
    let effects = world.ledger.recover(found, now);
    (world.look(&id), effects)
}

#[test]
fn a_container_is_recovered_as_what_it_has_become() {
    let mut world = World::new();
    // Its monitor lives: nothing is changed until that has spoken.
    let mut adopted = found(&mut world, running("boot"));
    adopted.monitor = true;
    let (container, effects) = recovered(adopted);
    assert_eq!(container.state, ContainerState::Running);
    assert_eq!(effects, []);
    // Its monitor has written how it ended, and was lost after that.
    let mut ended = found(&mut world, running("boot"));
    ended.exit = Some(exit(3));
    let (container, effects) = recovered(ended);
    assert_eq!(container.exit.map(|exit| exit.code), Some(3));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // Its monitor was lost.
    let (container, effects) = {
        let lost = found(&mut world, running("boot"));
        recovered(lost)
    };
    assert_eq!(container.exit.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // The machine was restarted: the numbers mean nothing, so nobody is killed by them.
    let mut rebooted = found(&mut world, running("earlier"));
    rebooted.monitor = true;
    let (container, effects) = recovered(rebooted);
    assert_eq!(container.exit.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // It was being started.
    for boot in ["boot", "earlier"] {
        let boot = boot.to_owned();
        let (container, _) = {
            let starting = found(&mut world, Life::Starting { boot });
            recovered(starting)
        };
        assert_eq!(container.state, ContainerState::Created);
        assert!(container.error.is_some());
    }
    let mut broken = found(
        &mut world,
        Life::Starting {
            boot: "boot".to_owned(),
        },
    );
    broken.failure = Some(Failure::new(
        FailureCode::CommandNotFound,
        "no such program",
    ));
    let (container, _) = recovered(broken);
    assert_eq!(container.error.as_deref(), Some("no such program"));
    // A record that a power cut has destroyed.
    let mut unknown = found(&mut world, Life::Exited);
    unknown.state = None;
    let (container, _) = recovered(unknown);
    assert_eq!(container.state, ContainerState::Created);
}

#[test]
fn a_monitor_that_worked_on_without_a_keeper_tells_what_happened() {
    let mut old = World::new();
    let mut starting = found(
        &mut old,
        Life::Starting {
            boot: "boot".to_owned(),
        },
    );
    starting.monitor = true;
    let id = starting.config.id.clone();
    let mut world = World::new();
    let now = world.now();
    world.ledger.recover(starting, now);
    let FromMonitor::Started(started) = started(100) else {
        unreachable!()
    };
    let effects = world.say(
        &init(&id),
        FromMonitor::Hello {
            version: 1,
            target: init(&id),
            started: Some(started),
            exit: Some(exit(4)),
        },
    );
    assert!(effects.contains(&Effect::Send(init(&id), ToMonitor::Release)));
    let container = world.look(&id);
    assert_eq!(container.state, ContainerState::Exited);
    assert_eq!(container.exit.map(|exit| exit.code), Some(4));
    assert!(container.started_at.is_some());
    // A session of which no record speaks, since its keeper was killed while it was opened.
    world.gone(&init(&id), None);
    world.run(&id, 101);
    world.ledger.recover_session(
        FoundSession {
            id: session_id(1),
            stored: None,
            monitor: true,
            exit: None,
        },
        now,
    );
    world.ledger.recover_opening(&session_id(1), &id, now);
    let target = Target::Session(session_id(1));
    let effects = world.say(&target, session_started(&id, 1, 5));
    assert!(effects.contains(&Effect::SaveSession(session_id(1))));
    assert_eq!(world.ledger.container_of(&session_id(1)), Some(&id));
}

#[test]
fn a_session_is_recovered_as_what_it_has_become() {
    let mut world = World::new();
    let id = world.create(PLAIN).id;
    world.run(&id, 100);
    let stored = |number: u8, boot: &str| StoredSession {
        boot: boot.to_owned(),
        session: session(&id, number, 1),
    };
    let mut recover = |number: u8, boot: &str, monitor: bool, exit: Option<Exit>| {
        let now = world.now();
        let effects = world.ledger.recover_session(
            FoundSession {
                id: session_id(number),
                stored: Some(stored(number, boot)),
                monitor,
                exit,
            },
            now,
        );
        let stored = world.ledger.stored_session(&session_id(number));
        (stored.and_then(|s| s.session.exit.clone()), effects)
    };
    assert_eq!(recover(1, "boot", true, None), (None, vec![]));
    assert_eq!(recover(2, "boot", false, Some(exit(5))).0, Some(exit(5)));
    let (lost, effects) = recover(3, "boot", false, None);
    assert_eq!(lost.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(effects.contains(&Effect::Kill(Target::Session(session_id(3)))));
    let (lost, effects) = recover(4, "earlier", false, None);
    assert_eq!(lost.map(|exit| exit.kind), Some(ExitKind::Lost));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Kill(_))));
    // Of a container that is gone nothing is kept, nor of one that never was.
    let mut other = World::new();
    let now = other.now();
    for (stored, number) in [(Some(stored(5, "boot")), 5), (None, 6)] {
        let effects = other.ledger.recover_session(
            FoundSession {
                id: session_id(number),
                stored,
                monitor: false,
                exit: None,
            },
            now,
        );
        assert_eq!(effects, [Effect::Forget(session_id(number))]);
    }
}

#[test]
fn a_monitor_is_believed_where_the_record_could_not_be_written() {
    for (life, ended, expected) in [
        (Life::Created, false, ContainerState::Running),
        (Life::Exited, false, ContainerState::Running),
        (Life::Created, true, ContainerState::Exited),
        (Life::Exited, true, ContainerState::Exited),
    ] {
        let mut old = World::new();
        let mut unwritten = found(&mut old, life);
        unwritten.monitor = true;
        let id = unwritten.config.id.clone();
        let mut world = World::new();
        let now = world.now();
        world.ledger.recover(unwritten, now);
        let FromMonitor::Started(started) = started(100) else {
            unreachable!()
        };
        world.say(
            &init(&id),
            FromMonitor::Hello {
                version: 1,
                target: init(&id),
                started: Some(started),
                exit: ended.then(|| exit(4)),
            },
        );
        assert_eq!(world.look(&id).state, expected);
    }
}
