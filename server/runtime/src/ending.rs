//! How a process ended, as its parent is told, and how a container's command did where our init
//! stands in between.
//!
//! Init can only exit, and its exit code does not tell a command that signal 11 ended from one that
//! chose 139. So it says which signal it was before it exits, on a socket whose other end the
//! monitor holds. A socket and no pipe, because a pipe can be opened again through `/proc/1/fd` by
//! every program of the same user. Whoever gets at init's end all the same (by ptrace or
//! pidfd_getfd, with which it could make init exit as it likes) can only say signal n of an exit
//! code that is 128 + n; what that looks like every program can have by kill(2).

use std::io;
use std::os::fd::OwnedFd;

use porthole_sys::packet::Packet;
use porthole_sys::signals;

/// What the kernel says of a process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Status {
    /// Out of what wait(2) answers; `None` where the process has not ended.
    pub fn of(code: Option<i32>, signal: Option<i32>) -> Option<Self> {
        code.map(Self::Code).or(signal.map(Self::Signal))
    }

    /// The same as one number, as a shell has it.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// The monitor's end of the socket on which our init says what ended the command.
#[derive(Debug)]
pub struct LastWord(Packet);

/// Makes the socket: the monitor's end, and init's. Neither waits.
pub(crate) fn last_word() -> io::Result<(OwnedFd, Packet)> {
    let (hears, says) = Packet::pair(true)?;
    Ok((hears.into(), says))
}

/// Says that this signal ended the command. Nobody may hear it any more.
pub(crate) fn say(says: &Packet, signal: i32) {
    if let Ok(signal) = u8::try_from(signal) {
        let _ = says.send(&[signal], &[]);
    }
}

impl LastWord {
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Packet::from_fd(fd).map(Self)
    }

    /// How the command ended, where its init ended with `status`.
    pub fn of_command(&self, status: Status) -> Status {
        match self.0.receive(1) {
            Ok(Some((said, _))) => {
                let signal = said.first().map_or(0, |byte| i32::from(*byte));
                let ended = Status::Signal(signal);
                let fits =
                    (1..=signals::LAST).contains(&signal) && status == Status::Code(ended.code());
                if fits { ended } else { status }
            }
            Ok(None) | Err(_) => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: &[&[u8]], status: Status) -> Status {
        let (hears, says) = last_word().expect("a socket");
        for message in said {
            says.send(message, &[]).expect("said");
        }
        LastWord::from_fd(hears)
            .expect("a socket")
            .of_command(status)
    }

    #[test]
    fn a_last_word_counts_only_with_the_code_that_it_explains() {
        assert_eq!(told(&[&[11]], Status::Code(139)), Status::Signal(11));
        assert_eq!(told(&[], Status::Code(139)), Status::Code(139));
        assert_eq!(told(&[&[9]], Status::Code(139)), Status::Code(139));
        assert_eq!(told(&[&[11]], Status::Code(0)), Status::Code(0));
        assert_eq!(told(&[&[0]], Status::Code(128)), Status::Code(128));
        assert_eq!(told(&[&[65]], Status::Code(193)), Status::Code(193));
        assert_eq!(told(&[&[11, 11]], Status::Code(139)), Status::Code(139));
        assert_eq!(told(&[&[11]], Status::Signal(9)), Status::Signal(9));
    }

    #[test]
    fn whoever_floods_it_keeps_nobody_waiting() {
        let (_hears, says) = last_word().expect("a socket");
        while says.send(&[11], &[]).is_ok() {}
        say(&says, 11);
    }
}
