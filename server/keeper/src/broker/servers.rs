//! Servers: who may ask, and how what they say becomes requests.

use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::keeper::{Hello, VERSION};
use porthole_sys::packet::PacketError;
use rustix::event::epoll::EventFlags;

use super::connection::{self, Connection, Incoming};
use super::{Broker, MESSAGES_AT_ONCE, Source};
use crate::ledger::Ticket;
use crate::log::log;
use crate::poll::{READ, READ_WRITE};

/// Servers that may be connected at once; there is one, and another while it is replaced.
const CONNECTIONS: usize = 32;

impl Broker {
    pub(super) fn accept(&mut self) {
        while let Ok(packet) = self.listener.accept(true) {
            let allowed = packet
                .credentials()
                .is_ok_and(|who| who.uid == 0 || Some(who.uid) == self.server_uid);
            if !allowed || self.connections.len() >= CONNECTIONS {
                continue;
            }
            let number = self.number(Source::Connection(self.next_number + 1));
            if self.poll.add(&packet, number, READ).is_ok() {
                self.connections.insert(number, Connection::new(packet));
            } else {
                self.sources.remove(&number);
            }
        }
    }

    pub(super) fn serve(&mut self, id: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(id);
        }
        for _ in 0..MESSAGES_AT_ONCE {
            let Some(connection) = self.connections.get(&id) else {
                return;
            };
            match connection.receive() {
                Ok(Some((bytes, descriptors))) => self.understand(id, &bytes, descriptors),
                Err(error) if error.is_would_block() => return,
                Ok(None) => return self.hang_up(id),
                Err(PacketError::Descriptors { bytes }) => {
                    self.act(id, connection::without_descriptors(&bytes));
                }
                Err(error) => {
                    log!("keeper", "a server was cut off: {error}");
                    return self.hang_up(id);
                }
            }
        }
    }

    fn understand(&mut self, id: u64, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let hello = Hello {
            version: VERSION,
            pid: std::process::id().cast_signed(),
            policy: self.policy,
            lacking: self.lacking.clone(),
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let incoming = connection
            .conversation
            .understand(bytes, descriptors, || hello);
        self.act(id, incoming);
    }

    pub(super) fn act(&mut self, id: u64, incoming: Incoming) {
        let ticket = |number| Ticket {
            connection: id,
            id: number,
        };
        match incoming {
            Incoming::Request(number, request, descriptors) => {
                self.request(ticket(number), request, descriptors);
            }
            Incoming::Answer(number, reply) => self.reply(ticket(number), reply, Vec::new()),
            Incoming::LastAnswer(number, reply) => {
                self.reply(ticket(number), reply, Vec::new());
                self.hang_up(id);
            }
            Incoming::Senseless(why) => {
                log!("keeper", "a server was cut off: {why}");
                self.hang_up(id);
            }
        }
    }

    pub(super) fn flush(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.flush() {
            Ok(true) => {}
            Ok(false) => {
                let _ = self.poll.change(&connection.packet, id, READ);
                self.tell_the_rest(id);
            }
            Err(closed) => {
                log!("keeper", "a server was cut off: {closed}");
                self.hang_up(id);
            }
        }
    }

    pub(super) fn hang_up(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.poll.remove(&connection.packet);
        }
        self.sources.remove(&id);
        self.descriptors.retain(|ticket, _| ticket.connection != id);
        if let Some(observer) = self.observers.remove(&id) {
            let _ = porthole_sys::signals::send(&observer.pidfd, 9);
        }
    }

    /// Waits until there is room for what a connection is still to be sent.
    pub(super) fn await_room(&mut self, id: u64) {
        if let Some(connection) = self.connections.get(&id) {
            let _ = self.poll.change(connection.packet.as_fd(), id, READ_WRITE);
        }
    }
}
