//! One connection of a server: what it may send when, and what is still to be sent to it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::keeper::{
    Envelope, Failure, FailureCode, FromKeeper, Hello, MESSAGE_LIMIT, Reply, Request, VERSION,
};
use porthole_sys::packet::{Message, Packet, PacketError};

use crate::ledger::Thing;

/// Bytes that wait for a server that does not read. One that lets more pile up is cut off, and
/// learns everything anew when it comes back.
const OUTBOX_LIMIT: usize = 8 * 1024 * 1024;

/// Descriptors that wait with them: they are the keeper's own until they are sent.
const OUTBOX_DESCRIPTORS: usize = 256;

/// What a message of the server is.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// To be acted upon, with as many descriptors as it calls for.
    Request(u64, Request, Vec<OwnedFd>),
    /// Answered already.
    Answer(u64, Reply),
    /// Answered, and nothing more will be heard from it.
    LastAnswer(u64, Reply),
    /// Nothing that could be answered.
    Senseless(&'static str),
}

/// The rules of the conversation, without the socket.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    greeted: bool,
}

impl Conversation {
    /// Understands one message that came with these descriptors.
    pub(crate) fn understand(
        &mut self,
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
        hello: impl FnOnce() -> Hello,
    ) -> Incoming {
        let envelope = match serde_json::from_slice::<Envelope>(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                return match number_of(bytes) {
                    Some(id) => Incoming::Answer(id, refused(error.to_string())),
                    None => Incoming::Senseless("a message without a number"),
                };
            }
        };
        let id = envelope.id;
        if descriptors.len() != expected(&envelope.request) {
            return Incoming::Answer(
                id,
                refused(format!(
                    "the request came with {} descriptors, {} were expected",
                    descriptors.len(),
                    expected(&envelope.request)
                )),
            );
        }
        match envelope.request {
            Request::Hello { version } if version != VERSION => Incoming::LastAnswer(
                id,
                refused(format!(
                    "keeper and server do not fit together: the keeper speaks version {VERSION}, the server {version}; restart both"
                )),
            ),
            Request::Hello { .. } if self.greeted => {
                Incoming::Answer(id, refused("Hello was said before".to_owned()))
            }
            Request::Hello { .. } => {
                self.greeted = true;
                Incoming::Answer(id, Reply::Hello(hello()))
            }
            _ if !self.greeted => {
                Incoming::LastAnswer(id, refused("the first message is Hello".to_owned()))
            }
            request => Incoming::Request(id, request, descriptors),
        }
    }
}

/// What becomes of a message that came with more descriptors than this process could take.
pub(crate) fn without_descriptors(bytes: &[u8]) -> Incoming {
    match number_of(bytes) {
        Some(id) => Incoming::Answer(
            id,
            Reply::Failed(Failure::new(
                FailureCode::Exhausted,
                "the descriptors that came with the request cannot be taken: too many, or the keeper has too many files open",
            )),
        ),
        None => Incoming::Senseless("a message without a number"),
    }
}

/// How many descriptors come with a request.
const fn expected(request: &Request) -> usize {
    match request {
        Request::Start { .. } | Request::Restart { .. } | Request::OpenSession { .. } => 2,
        Request::ImportImage { .. } => 1,
        _ => 0,
    }
}

fn refused(message: String) -> Reply {
    Reply::Failed(Failure::new(FailureCode::BadRequest, message))
}

/// The number of a message that is otherwise no request.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.get("id")?.as_u64()
}

/// A connection with its outbox.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) packet: Packet,
    pub(crate) conversation: Conversation,
    /// Whether it is told of every change.
    pub(crate) watches: bool,
    /// What there was when it began to watch and it has not been told of yet.
    pub(crate) untold: VecDeque<Thing>,
    outbox: VecDeque<Message>,
    outbox_bytes: usize,
    outbox_descriptors: usize,
}

/// Why a connection has to be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("it does not read")]
    DoesNotRead,
    #[error("a message for it is longer than the protocol allows")]
    TooLong,
    #[error("sending failed: {0}")]
    Send(std::io::Error),
}

impl Connection {
    pub(crate) fn new(packet: Packet) -> Self {
        Self {
            packet,
            conversation: Conversation::default(),
            watches: false,
            untold: VecDeque::new(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            outbox_descriptors: 0,
        }
    }

    /// Whether something waits for it to read.
    pub(crate) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next message; `None` when it has hung up.
    pub(crate) fn receive(&self) -> Result<Option<Message>, PacketError> {
        self.packet.receive(MESSAGE_LIMIT)
    }

    /// Sends a message, now or when there is room. Answers whether room is waited for.
    pub(crate) fn send(
        &mut self,
        message: &FromKeeper,
        descriptors: Vec<OwnedFd>,
    ) -> Result<bool, Closed> {
        let bytes = serde_json::to_vec(message).map_err(|error| Closed::Send(error.into()))?;
        if bytes.len() > MESSAGE_LIMIT {
            return Err(Closed::TooLong);
        }
        if self.outbox_bytes + bytes.len() > OUTBOX_LIMIT
            || self.outbox_descriptors + descriptors.len() > OUTBOX_DESCRIPTORS
        {
            return Err(Closed::DoesNotRead);
        }
        self.outbox_bytes += bytes.len();
        self.outbox_descriptors += descriptors.len();
        self.outbox.push_back((bytes, descriptors));
        self.flush()
    }

    /// Sends what there is room for. Answers whether something is left.
    pub(crate) fn flush(&mut self) -> Result<bool, Closed> {
        while let Some((bytes, descriptors)) = self.outbox.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match self.packet.send(bytes, &borrowed) {
                Ok(()) => {
                    self.outbox_bytes -= bytes.len();
                    self.outbox_descriptors -= descriptors.len();
                    self.outbox.pop_front();
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(Closed::Send(error)),
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_protocol::keeper::Policy;

    fn hello() -> Hello {
        Hello {
            version: VERSION,
            pid: 1,
            policy: Policy::default(),
            lacking: Vec::new(),
        }
    }

    fn say(conversation: &mut Conversation, text: &str, descriptors: usize) -> Incoming {
        let descriptors = (0..descriptors)
            .map(|_| std::fs::File::open("/dev/null").expect("open").into())
            .collect();
        conversation.understand(text.as_bytes(), descriptors, hello)
    }

    fn is_refusal(reply: &Reply) -> bool {
        matches!(reply, Reply::Failed(f) if f.code == FailureCode::BadRequest)
    }

    #[test]
    fn hello_comes_first_and_once() {
        let mut conversation = Conversation::default();
        assert!(matches!(
            say(&mut conversation, r#"{"id":1,"request":"watch"}"#, 0),
            Incoming::LastAnswer(1, reply) if is_refusal(&reply)
        ));
        let mut conversation = Conversation::default();
        let text = &format!(r#"{{"id":2,"request":{{"hello":{{"version":{VERSION}}}}}}}"#);
        assert!(matches!(
            say(&mut conversation, text, 0),
            Incoming::Answer(2, Reply::Hello(_))
        ));
        assert!(matches!(
            say(&mut conversation, text, 0),
            Incoming::Answer(2, reply) if is_refusal(&reply)
        ));
        assert!(matches!(
            say(&mut conversation, r#"{"id":3,"request":"watch"}"#, 0),
            Incoming::Request(3, Request::Watch, _)
        ));
        let mut conversation = Conversation::default();
        assert!(matches!(
            say(&mut conversation, r#"{"id":4,"request":{"hello":{"version":9}}}"#, 0),
            Incoming::LastAnswer(4, reply) if is_refusal(&reply)
        ));
    }

    #[test]
    fn a_request_has_its_number_of_descriptors() {
        let mut conversation = Conversation { greeted: true };
        let id = "0".repeat(64);
        let start = format!(r#"{{"id":5,"request":{{"start":{{"container":"{id}"}}}}}}"#);
        for wrong in [0, 1, 3] {
            assert!(matches!(
                say(&mut conversation, &start, wrong),
                Incoming::Answer(5, reply) if is_refusal(&reply)
            ));
        }
        assert!(matches!(
            say(&mut conversation, &start, 2),
            Incoming::Request(5, Request::Start { .. }, descriptors) if descriptors.len() == 2
        ));
        assert!(matches!(
            say(&mut conversation, r#"{"id":6,"request":"watch"}"#, 1),
            Incoming::Answer(6, reply) if is_refusal(&reply)
        ));
    }

    #[test]
    fn what_is_no_request_is_answered_where_it_has_a_number() {
        let mut conversation = Conversation { greeted: true };
        for text in [
            r#"{"id":7,"request":"dance"}"#,
            r#"{"id":7,"request":{"create":{"spec":{"image":"x","privileged":true},"owner":"a"}}}"#,
            r#"{"id":7,"request":{"create":{"spec":{"image":"../x"},"owner":"a"}}}"#,
            r#"{"id":7,"request":{"kill":{"container":"../x","signal":9}}}"#,
            r#"{"id":7}"#,
            r#"{"id":7,"request":"watch","more":1}"#,
        ] {
            assert!(
                matches!(
                    say(&mut conversation, text, 0),
                    Incoming::Answer(7, reply) if is_refusal(&reply)
                ),
                "{text}"
            );
        }
        for text in ["", "{}", "[]", r#"{"id":-1,"request":"watch"}"#, "\u{0}"] {
            assert!(
                matches!(say(&mut conversation, text, 0), Incoming::Senseless(_)),
                "{text}"
            );
        }
    }

    #[test]
    fn who_does_not_read_is_cut_off() {
        let (ours, _theirs) = Packet::pair(true).expect("pair");
        let mut connection = Connection::new(ours);
        let message = FromKeeper::Reply {
            id: 1,
            reply: Box::new(refused("x".repeat(60_000))),
        };
        let mut waits = false;
        let closed = (0..1000).find_map(|_| match connection.send(&message, Vec::new()) {
            Ok(waiting) => {
                waits |= waiting;
                None
            }
            Err(closed) => Some(closed),
        });
        assert!(waits);
        assert!(matches!(closed, Some(Closed::DoesNotRead)));
        assert!(matches!(
            connection.send(
                &FromKeeper::Reply {
                    id: 1,
                    reply: Box::new(refused("x".repeat(MESSAGE_LIMIT)))
                },
                Vec::new()
            ),
            Err(Closed::TooLong)
        ));
    }

    #[test]
    fn who_does_not_take_its_descriptors_is_cut_off() {
        let (ours, theirs) = Packet::pair(true).expect("pair");
        let mut connection = Connection::new(ours);
        let message = FromKeeper::Reply {
            id: 1,
            reply: Box::new(Reply::Done),
        };
        let device = std::fs::File::open("/dev/null").expect("open");
        let mut send = || connection.send(&message, vec![device.try_clone().expect("dup").into()]);
        let sent = (0..20_000).take_while(|_| send().is_ok()).count();
        assert!(matches!(send(), Err(Closed::DoesNotRead)));
        // What it has taken counts no more.
        for _ in 0..sent - OUTBOX_DESCRIPTORS {
            assert!(matches!(theirs.receive(MESSAGE_LIMIT), Ok(Some(_))));
        }
        assert!(connection.flush().is_ok());
        assert!(connection.outbox_descriptors < OUTBOX_DESCRIPTORS);
    }
}
