//! Noticing that somebody else has changed the filter's rules.
//!
//! The kernel tells every change of nftables, transaction by transaction. Ours replace the table
//! as a whole, so that one which touches it without making it anew is somebody else's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};

use super::connections::SUFFIX;

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u8 = 10;

/// `enum nf_tables_msg_types`: a table was made; a transaction is at its end.
const NEW_TABLE: u8 = 0;
const NEW_GENERATION: u8 = 15;

/// The attribute that names a message's table, whatever it is about: `NFTA_TABLE_NAME`,
/// `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`.
const TABLE: u16 = 1;

/// `struct nlmsghdr`, and `struct nfgenmsg` after it.
const HEADER: usize = 16;
const GENERAL: usize = 4;

/// Datagrams taken at once, so that whoever changes rules without end does not keep the reader.
const AT_ONCE: usize = 64;

/// What the kernel says of nftables in this process's network namespace.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    transaction: Transaction,
}

impl Watch {
    /// Listens to changes of this table.
    pub fn open(table: String) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.add_membership(GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self {
            socket,
            transaction: Transaction::of(table),
        })
    }

    /// Reads what was said; whether somebody else has changed the table.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for _ in 0..AT_ONCE {
            let mut bytes = Vec::with_capacity(64 * 1024);
            match self.socket.recv_from(&mut bytes, 0) {
                Ok((_, from)) if from.port_number() == 0 => {
                    changed |= self.transaction.hear(&bytes);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // More was said than there was room for: anything may have been.
                Err(_) => {
                    self.transaction.forget();
                    return true;
                }
            }
        }
        changed
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What has been heard of the transaction that is being told.
#[derive(Debug)]
pub(super) struct Transaction {
    table: String,
    touched: bool,
    made: bool,
}

impl Transaction {
    pub(super) const fn of(table: String) -> Self {
        Self {
            table,
            touched: false,
            made: false,
        }
    }

    /// What the name of a message's table has after ours, where it is ours or the one of the
    /// connections, which is changed with it and not made anew.
    fn about<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        let rest = table(message)?.strip_prefix(self.table.as_bytes())?;
        (rest.is_empty() || rest == SUFFIX.as_bytes()).then_some(rest)
    }

    fn forget(&mut self) {
        self.touched = false;
        self.made = false;
    }

    /// Takes a datagram; whether a transaction came to its end in it that was somebody else's and
    /// about the table.
    pub(super) fn hear(&mut self, datagram: &[u8]) -> bool {
        let mut changed = false;
        let mut rest = datagram;
        while let Some((length, subsystem, kind)) = header(rest) {
            let message = &rest[HEADER..length];
            if subsystem == SUBSYSTEM {
                if kind == NEW_GENERATION {
                    changed |= self.touched && !self.made;
                    self.forget();
                } else if let Some(rest) = self.about(message) {
                    self.touched = true;
                    self.made |= kind == NEW_TABLE && rest.is_empty();
                }
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        changed
    }
}

/// A message's length, its subsystem and its kind.
fn header(bytes: &[u8]) -> Option<(usize, u8, u8)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let [subsystem, kind] = kind.to_be_bytes();
    (length >= HEADER + GENERAL && length <= bytes.len()).then_some((length, subsystem, kind))
}

/// The table that a message is about.
fn table(message: &[u8]) -> Option<&[u8]> {
    let mut rest = message.get(GENERAL..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        if kind == TABLE {
            return value.strip_suffix(&[0]);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// A message as the kernel sends it.
#[cfg(any(test, fuzzing))]
#[expect(clippy::expect_used, reason = "names of tables are short")]
pub(super) fn message(kind: u8, table: &str) -> Vec<u8> {
    let mut attribute = Vec::new();
    let length = u16::try_from(4 + table.len() + 1).expect("short");
    attribute.extend(length.to_ne_bytes());
    attribute.extend(TABLE.to_ne_bytes());
    attribute.extend(table.as_bytes());
    attribute.push(0);
    let length = u32::try_from(HEADER + GENERAL + attribute.len()).expect("short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(u16::from_be_bytes([SUBSYSTEM, kind]).to_ne_bytes());
    bytes.resize(HEADER + GENERAL, 0);
    bytes.extend(attribute);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(messages: &[(u8, &str)]) -> bool {
        let mut all = Vec::new();
        for (kind, table) in messages {
            all.extend(message(*kind, table));
        }
        Transaction::of("ours".to_owned()).hear(&all)
    }

    #[test]
    fn a_change_that_does_not_make_the_table_anew_is_somebody_elses() {
        const DELETE_TABLE: u8 = 2;
        const DELETE_RULE: u8 = 8;
        let end = (NEW_GENERATION, "");
        assert!(hear(&[(DELETE_RULE, "ours"), end]), "a rule");
        assert!(hear(&[(DELETE_TABLE, "ours"), end]), "all of it");
        assert!(hear(&[(NEW_TABLE, "other"), (DELETE_TABLE, "ours"), end]));
        assert!(
            !hear(&[(DELETE_TABLE, "ours"), (NEW_TABLE, "ours"), end]),
            "ours"
        );
        assert!(!hear(&[(DELETE_TABLE, "other"), end]), "another table");
        assert!(!hear(&[(DELETE_RULE, "ours")]), "not at its end yet");
        let connections = (DELETE_RULE, "ours_connections");
        assert!(hear(&[connections, end]), "the table beside it");
        assert!(!hear(&[
            (DELETE_TABLE, "ours"),
            (NEW_TABLE, "ours"),
            connections,
            end
        ]));
        assert!(!hear(&[(DELETE_RULE, "ours_other"), end]));
        assert!(hear(&[
            (NEW_TABLE, "ours"),
            end,
            (DELETE_RULE, "ours"),
            end
        ]));
    }

    #[test]
    fn what_is_no_message_is_nothing() {
        let whole = message(2, "ours");
        for cut in 0..whole.len() {
            assert!(!Transaction::of("ours".to_owned()).hear(&whole[..cut]));
        }
        let mut endless = whole;
        endless[20..22].copy_from_slice(&0u16.to_ne_bytes());
        assert!(!Transaction::of("ours".to_owned()).hear(&endless));
    }
}
