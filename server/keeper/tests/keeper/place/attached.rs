//! Who reads what a target writes, by its monitor's socket.

use std::fs::File;
use std::os::fd::OwnedFd;

use porthole_journal::{Relay, Sources};
use porthole_protocol::monitor::{FromReader, ToReader};
use porthole_protocol::session::Exit;
use porthole_sys::packet::Packet;

/// The reader of a target.
pub(crate) struct Attached {
    pub(crate) packet: Packet,
    pub(crate) tty: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Attached {
    pub(crate) fn new(packet: Packet) -> Self {
        packet.set_nonblocking(false).expect("blocking");
        let (bytes, descriptors) = packet.receive(65536).expect("receive").expect("message");
        match serde_json::from_slice(&bytes).expect("json") {
            ToReader::Reader { tty } => {
                assert_eq!(descriptors.len(), if tty { 5 } else { 7 });
                Self {
                    packet,
                    tty,
                    descriptors,
                }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn input(&self) -> &OwnedFd {
        &self.descriptors[0]
    }

    pub(crate) fn write(&self, text: &str) {
        assert_eq!(
            rustix::io::write(self.input(), text.as_bytes()),
            Ok(text.len())
        );
    }

    /// Closes this side's input and has the monitor close its own.
    pub(crate) fn end_input(&mut self) {
        drop(self.descriptors.remove(0));
        self.descriptors
            .insert(0, File::open("/dev/null").expect("open").into());
        let message = serde_json::to_vec(&FromReader::EndOfInput).expect("json");
        self.packet.send(&message, &[]).expect("send");
    }

    /// Waits until the monitor says how it ended; `None` where it was cut off.
    pub(crate) fn exited(&self) -> Option<Exit> {
        let (bytes, _) = self.packet.receive(65536).expect("receive")?;
        match serde_json::from_slice(&bytes).expect("json") {
            ToReader::Exited(exit) => Some(exit),
            other @ ToReader::Reader { .. } => panic!("{other:?}"),
        }
    }

    pub(crate) fn relay(&self) -> Relay {
        let copy = |index: usize| self.descriptors[index].try_clone().expect("dup");
        let (sources, rest) = if self.tty {
            (Sources::Tty(copy(0)), 1)
        } else {
            (
                Sources::Pipes {
                    stdout: copy(1),
                    stderr: copy(2),
                },
                3,
            )
        };
        Relay::take_over(
            sources,
            (copy(rest), copy(rest + 1)),
            copy(rest + 2),
            copy(rest + 3),
            1,
        )
        .expect("relay")
    }
}
