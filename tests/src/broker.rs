//! A client of the engines broker, as the server is one: `porthole_protocol::engines` over
//! `RUN/engines.sock`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use porthole_protocol::engines::{
    Ask, ContainerRef, EndpointId, EngineContainer, EngineState, Failure, FromBroker, Hello,
    LogPart, LogRecord, LogsAnswer, Open, VERSION, Verb,
};
use porthole_protocol::id::ContainerId;

use crate::{PATIENCE, wait_for};

/// A connection that keeps messages apart, whatever a read gets of them.
#[derive(Debug)]
pub struct Line {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects, as soon as somebody listens.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let stream = wait_for("the engines broker", PATIENCE, || {
            UnixStream::connect(socket).ok()
        });
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Sends these bytes as they are.
    ///
    /// # Errors
    /// Where the other end has hung up.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Where the other end has hung up.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).expect("a length");
        self.send_raw(&[&length.to_le_bytes(), message].concat())
    }

    /// The next message within this time; `Ok(None)` where there is none, an error where the other
    /// end has hung up.
    ///
    /// # Errors
    /// `UnexpectedEof` at its end.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let until = Instant::now() + patience;
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*head) as usize;
                if rest.len() >= length {
                    let message = rest[..length].to_vec();
                    self.buffer.drain(..4 + length);
                    return Ok(Some(message));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A connection that follows, and what it has been told.
#[derive(Debug)]
pub struct Broker {
    /// The connection.
    pub line: Line,
    /// Who the broker is.
    pub hello: Hello,
    /// Its engines.
    pub engines: BTreeMap<EndpointId, EngineState>,
    /// Their containers.
    pub containers: BTreeMap<ContainerRef, EngineContainer>,
    replies: BTreeMap<u64, Option<Failure>>,
    synced: bool,
    last: u64,
}

impl Broker {
    /// Connects and takes everything that is known.
    #[track_caller]
    pub fn follow(socket: &Path) -> Self {
        let mut line = Line::connect(socket);
        let open = serde_json::to_vec(&Open::Follow { version: VERSION }).expect("JSON");
        line.send(&open).expect("sent");
        let first = line.receive(PATIENCE).expect("a connection");
        let first = serde_json::from_slice(&first.expect("a message")).expect("JSON");
        let FromBroker::Hello(hello) = first else {
            panic!("it does not greet: {first:?}");
        };
        let mut broker = Self {
            line,
            hello,
            engines: BTreeMap::new(),
            containers: BTreeMap::new(),
            replies: BTreeMap::new(),
            synced: false,
            last: 0,
        };
        broker.wait("everything", |broker| broker.synced.then_some(()));
        broker
    }

    /// Takes messages until this is so.
    ///
    /// # Panics
    /// Where it is not within [`PATIENCE`], or the broker hangs up.
    #[track_caller]
    pub fn wait<T>(&mut self, what: &str, ask: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_within(what, PATIENCE, ask)
    }

    /// As [`Broker::wait`], within another time.
    #[track_caller]
    pub fn wait_within<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let until = Instant::now() + patience;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            let left = until.saturating_duration_since(Instant::now());
            let message = self.line.receive(left).expect("the broker is there");
            let Some(message) = message else {
                panic!("{what}: not within {patience:?}; known: {self:#?}");
            };
            self.take(&message);
        }
    }

    fn take(&mut self, message: &[u8]) {
        match serde_json::from_slice(message).expect("a message of the protocol") {
            FromBroker::Hello(hello) => self.hello = hello,
            FromBroker::Engine(engine) => {
                self.engines.insert(engine.endpoint, *engine);
            }
            FromBroker::Container(container) => {
                let key = ContainerRef {
                    endpoint: container.endpoint,
                    id: container.id.clone(),
                };
                self.containers.insert(key, *container);
            }
            FromBroker::ContainerGone(key) => {
                self.containers.remove(&key);
            }
            FromBroker::Synced => self.synced = true,
            FromBroker::Reply { id, failure } => {
                self.replies.insert(id, failure);
            }
        }
    }

    /// The container with this identifier, as it was last told.
    pub fn container(&self, id: &str) -> Option<&EngineContainer> {
        let mut containers = self.containers.values();
        containers.find(|container| container.id.as_str() == id)
    }

    /// Waits until an engine answers and all its containers are known: its version.
    #[track_caller]
    pub fn answers(&mut self, endpoint: u8) -> String {
        self.wait("the engine answers", |broker| {
            let engine = broker.engines.get(&EndpointId(endpoint))?;
            engine.version.clone().filter(|_| engine.trouble.is_none())
        })
    }

    /// Waits for trouble with an engine: the sentence.
    #[track_caller]
    pub fn trouble(&mut self, endpoint: u8) -> String {
        self.wait("trouble", |broker| {
            broker.engines.get(&EndpointId(endpoint))?.trouble.clone()
        })
    }

    /// Does something to a container of an engine.
    ///
    /// # Errors
    /// What the broker answers.
    #[track_caller]
    pub fn act(&mut self, endpoint: u8, id: &str, verb: Verb) -> Result<(), Failure> {
        self.last += 1;
        let ask = Ask {
            id: self.last,
            container: reference(endpoint, id),
            verb,
        };
        let message = serde_json::to_vec(&ask).expect("JSON");
        self.line.send(&message).expect("sent");
        let failure = self.wait("a reply", |broker| broker.replies.get(&ask.id).cloned());
        failure.map_or(Ok(()), Err)
    }
}

/// A container of an engine.
pub fn reference(endpoint: u8, id: &str) -> ContainerRef {
    ContainerRef {
        endpoint: EndpointId(endpoint),
        id: id.parse::<ContainerId>().expect("an id"),
    }
}

/// A container's log, as far as it comes.
#[derive(Debug)]
pub struct Log(Line);

impl Log {
    /// Asks for it.
    ///
    /// # Errors
    /// What the broker answers.
    #[track_caller]
    pub fn open(socket: &Path, container: ContainerRef, part: LogPart) -> Result<Self, Failure> {
        let mut line = Line::connect(socket);
        let open = serde_json::to_vec(&Open::Logs { container, part }).expect("JSON");
        line.send(&open).expect("sent");
        let answer = line.receive(PATIENCE).expect("a connection");
        let answer: LogsAnswer = serde_json::from_slice(&answer.expect("a message")).expect("JSON");
        answer.failure.map_or(Ok(Self(line)), Err)
    }

    /// The next record.
    #[track_caller]
    pub fn record(&mut self) -> LogRecord {
        let message = self.0.receive(PATIENCE).expect("a connection");
        LogRecord::decode(&message.expect("a record")).expect("a record")
    }

    /// Everything up to the end, and why it ended where that was no plain end.
    #[track_caller]
    pub fn rest(mut self) -> (Vec<LogRecord>, Option<String>) {
        let mut all = Vec::new();
        loop {
            match self.record() {
                LogRecord::End { trouble } => return (all, trouble),
                record => all.push(record),
            }
        }
    }
}
