//! A server's side of the keeper's protocol.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use porthole_protocol::container::{Container, ContainerSpec};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{
    Envelope, Event, Failure, FromKeeper, MESSAGE_LIMIT, Reply, Request, VERSION,
};
use porthole_protocol::session::{Session, SessionSpec, Target};
use porthole_sys::packet::Packet;

use super::{Attached, Journal, session_id, wait_until};

/// Connects to the keeper that listens here, or is about to.
pub(crate) fn connect(socket: &Path) -> Client {
    let mut greeted = None;
    wait_until("the keeper answers", || {
        let Ok(packet) = Packet::connect(socket) else {
            return false;
        };
        let mut client = Client {
            packet,
            next: 0,
            events: VecDeque::new(),
            answers: HashMap::new(),
        };
        let hello = Envelope {
            id: 0,
            request: Request::Hello { version: VERSION },
        };
        let hello = serde_json::to_vec(&hello).expect("json");
        // One that is killed just now, or has not started yet, is asked again.
        let answered = client.packet.send(&hello, &[]).is_ok()
            && matches!(client.packet.receive(MESSAGE_LIMIT), Ok(Some(_)));
        client.next = 1;
        greeted = answered.then_some(client);
        greeted.is_some()
    });
    greeted.expect("greeted")
}

/// A server.
pub(crate) struct Client {
    packet: Packet,
    next: u64,
    events: VecDeque<Event>,
    answers: HashMap<u64, (Reply, Vec<OwnedFd>)>,
}

impl Client {
    pub(crate) fn send(&mut self, request: Request, descriptors: &[&File]) -> u64 {
        self.next += 1;
        let envelope = Envelope {
            id: self.next,
            request,
        };
        let bytes = serde_json::to_vec(&envelope).expect("json");
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        self.packet.send(&bytes, &descriptors).expect("send");
        self.next
    }

    pub(crate) fn receive(&mut self) -> (FromKeeper, Vec<OwnedFd>) {
        let (bytes, descriptors) = self
            .packet
            .receive(MESSAGE_LIMIT)
            .expect("receive")
            .expect("a message");
        (serde_json::from_slice(&bytes).expect("json"), descriptors)
    }

    pub(crate) fn answer(&mut self, number: u64) -> (Reply, Vec<OwnedFd>) {
        loop {
            match self.receive() {
                (FromKeeper::Reply { id, reply }, descriptors) if id == number => {
                    return (*reply, descriptors);
                }
                (FromKeeper::Event(event), _) => self.events.push_back(*event),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    /// The same where others may be answered before, which are then looked up.
    pub(crate) fn answer_among(&mut self, number: u64) -> (Reply, Vec<OwnedFd>) {
        loop {
            if let Some(answer) = self.answers.remove(&number) {
                return answer;
            }
            match self.receive() {
                (FromKeeper::Reply { id, reply }, descriptors) => {
                    self.answers.insert(id, (*reply, descriptors));
                }
                (FromKeeper::Event(event), _) => self.events.push_back(*event),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let number = self.send(request, &[]);
        self.answer(number).0
    }

    pub(crate) fn failure(&mut self, request: Request) -> Failure {
        match self.ask(request) {
            Reply::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn container(&mut self, request: Request) -> Container {
        match self.ask(request) {
            Reply::Container(container) => *container,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn create(&mut self, spec: &str) -> Container {
        let spec: ContainerSpec = serde_json::from_str(spec).expect("spec");
        self.container(Request::Create {
            spec: Box::new(spec),
            owner: "admin".parse().expect("owner"),
        })
    }

    pub(crate) fn try_start(
        &mut self,
        id: &ContainerId,
        journal: &Journal,
    ) -> Result<Container, Failure> {
        let request = Request::Start {
            container: id.clone(),
        };
        let number = self.send(request, &journal.descriptors());
        match self.answer(number).0 {
            Reply::Container(container) => Ok(*container),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn start(&mut self, id: &ContainerId, journal: &Journal) -> Container {
        self.try_start(id, journal).expect("started")
    }

    /// The container as it is now.
    pub(crate) fn look(&mut self, id: &ContainerId) -> Container {
        self.containers()
            .into_iter()
            .find(|container| container.id == *id)
            .expect("it is there")
    }

    pub(crate) fn open(
        &mut self,
        spec: SessionSpec,
        id: u8,
        journal: &Journal,
    ) -> Result<Session, Failure> {
        let request = Request::OpenSession {
            session: session_id(id),
            spec: Box::new(spec),
            owner: "admin".parse().expect("owner"),
        };
        let number = self.send(request, &journal.descriptors());
        match self.answer(number).0 {
            Reply::Session(session) => Ok(*session),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn attach(&mut self, target: Target) -> Attached {
        let number = self.send(Request::Attach { target }, &[]);
        let (reply, mut descriptors) = self.answer(number);
        assert_eq!(reply, Reply::Attached);
        assert_eq!(descriptors.len(), 1);
        Attached::new(Packet::from_fd(descriptors.remove(0)).expect("a packet socket"))
    }

    /// Everything there is, as somebody sees it who begins to watch.
    pub(crate) fn everything(&mut self) -> Vec<Event> {
        assert_eq!(self.ask(Request::Watch), Reply::Done);
        // Told before, and perhaps not true any more.
        self.events.clear();
        let mut all = Vec::new();
        while all.last() != Some(&Event::Synced) {
            match self.receive().0 {
                FromKeeper::Event(event) => all.push(*event),
                FromKeeper::Reply { .. } => {}
            }
        }
        all
    }

    pub(crate) fn containers(&mut self) -> Vec<Container> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Container(container) => Some(*container),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn sessions(&mut self) -> Vec<Session> {
        self.everything()
            .into_iter()
            .filter_map(|event| match event {
                Event::Session(session) => Some(*session),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn remove(&mut self, id: &ContainerId) {
        let reply = self.ask(Request::Remove {
            container: id.clone(),
            force: true,
        });
        assert_eq!(reply, Reply::Done);
    }
}
