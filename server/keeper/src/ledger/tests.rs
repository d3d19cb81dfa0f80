//! Orders of events that a real keeper meets seldom.

mod creating;
mod foreign;
mod images;
mod network;
mod pausing;
mod recovery;
mod restarts;
mod retention;
mod running;
mod sessions;
mod sharing;

use porthole_protocol::container::{
    Change, Container, ContainerState, IdRange, Image, Limits, NamespaceChoice, RestartPolicy,
    Timestamp,
};
use porthole_protocol::id::{ContainerId, ContainerPid, HostPid, NamespaceInode, SessionId};
use porthole_protocol::keeper::{Event, Failure, FailureCode, Policy, Reply, Request};
use porthole_protocol::monitor::{FromMonitor, Started, ToMonitor};
use porthole_protocol::namespace::{Isolation, NamespaceSet, NamespaceType, PerNamespace};
use porthole_protocol::session::{Exit, ExitKind, Session, SessionSpec, Size, Target};

use super::record::{Life, State, StoredSession};
use super::{Effect, Found, FoundSession, Ledger, Machine, Now, Starter, Ticket};
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
        stored: None,
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
            network: Default::default(),
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
        assert!(effects.contains(&Effect::Launch(id.clone(), Starter::Asked(ticket))));
        let effects = self.say(&init(id), started(pid));
        assert!(matches!(reply(&effects, ticket), Some(Reply::Container(_))));
    }

    fn everything(&self) -> Vec<Event> {
        let things = self.ledger.things();
        things
            .iter()
            .filter_map(|thing| self.ledger.event_of(thing))
            .collect()
    }

    fn look(&self, id: &ContainerId) -> Container {
        self.everything()
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
        oom_killed: false,
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
