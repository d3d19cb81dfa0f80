//! Whom a process runs as: a strict parser of a container's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the container's and so hostile. They are opened below its root without following
//! a link or waiting, must be regular and small, and digits in a request are a number and never a
//! name. libc's account functions are not used: they would load what the files name.

use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::container::{NameOrId, UserSpec};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

/// The longest file that is read.
const FILE_LIMIT: usize = 1024 * 1024;

/// The most supplementary groups that a user gets.
const GROUPS_LIMIT: usize = 256;

/// A user with everything that a process of theirs needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, sorted, each once.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
    /// The login shell, where the account has one.
    pub(crate) shell: Option<String>,
}

/// Why there is no account. Every one is about the request's field `user`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("the container's {file} is {what}; only a regular file of at most 1 MiB is read")]
    Hostile {
        file: &'static str,
        what: &'static str,
    },
    #[error("the container's {file} cannot be read: {}", std::io::Error::from_raw_os_error(*.errno))]
    Unreadable { file: &'static str, errno: i32 },
    #[error("there is no user {0:?} in the container's /etc/passwd")]
    NoUser(String),
    #[error("there is no group {0:?} in the container's /etc/group")]
    NoGroup(String),
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let errno = match &error {
            AccountError::Unreadable { errno, .. } => Some(*errno),
            _ => None,
        };
        let mut failure = Failure::new(FailureCode::Invalid, error.to_string())
            .field("user")
            .stage(Stage::Request);
        failure.errno = errno;
        failure
    }
}

/// Looks a user up in the accounts below `root`; the superuser where none is asked for. Numbers
/// need no file: a container that has broken its own can still be entered.
pub(crate) fn look_up(root: impl AsFd, user: Option<&UserSpec>) -> Result<Account, AccountError> {
    let named = |part: Option<&NameOrId>| matches!(part, Some(NameOrId::Name(_)));
    let needs_passwd = named(user.map(|user| &user.user));
    let needs_group = needs_passwd || named(user.and_then(|user| user.group.as_ref()));
    let or_empty = |text: Result<String, AccountError>, needed: bool| match text {
        Err(_) if !needed => Ok(String::new()),
        text => text,
    };
    let passwd = or_empty(read(&root, "etc/passwd", "/etc/passwd"), needs_passwd)?;
    let group = or_empty(read(&root, "etc/group", "/etc/group"), needs_group)?;
    resolve(&passwd, &group, user)
}

fn read(root: impl AsFd, path: &str, file: &'static str) -> Result<String, AccountError> {
    let hostile = |what| AccountError::Hostile { file, what };
    let unreadable = |errno: Errno| AccountError::Unreadable {
        file,
        errno: errno.raw_os_error(),
    };
    let opened = openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
    );
    let fd: OwnedFd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(String::new()),
        Err(Errno::LOOP) => return Err(hostile("reached through a symbolic link")),
        Err(errno) => return Err(unreadable(errno)),
    };
    let status = fstat(&fd).map_err(unreadable)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(hostile("no regular file"));
    }
    let mut bytes = Vec::with_capacity(4096);
    loop {
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) if bytes.len() > FILE_LIMIT => return Err(hostile("too long")),
            Ok(_) => bytes.reserve(4096),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno)),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

/// A number as these files have it: digits only, within the container's block of ids.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id < 65_536)
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let user = User {
            name: fields.next().filter(|name| !name.is_empty())?,
            uid: fields.nth(1).and_then(number)?,
            gid: fields.next().and_then(number)?,
            home: fields.nth(1)?,
            shell: fields.next()?,
        };
        fields.next().is_none().then_some(user)
    })
}

/// Name, number and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1).and_then(number)?;
        let members = fields.next()?;
        fields.next().is_none().then_some((name, gid, members))
    })
}

/// The account that a request means in these files.
pub(super) fn resolve(
    passwd: &str,
    group: &str,
    user: Option<&UserSpec>,
) -> Result<Account, AccountError> {
    let root = UserSpec {
        user: NameOrId::Id(0),
        group: None,
    };
    let wanted = user.unwrap_or(&root);
    let found = match &wanted.user {
        NameOrId::Name(name) => Some(
            users(passwd)
                .find(|user| user.name == name)
                .ok_or_else(|| AccountError::NoUser(name.clone()))?,
        ),
        NameOrId::Id(id) => users(passwd).find(|user| user.uid == *id),
    };
    let uid = match (&wanted.user, &found) {
        (NameOrId::Id(id), _) => *id,
        (NameOrId::Name(_), Some(user)) => user.uid,
        (NameOrId::Name(name), None) => return Err(AccountError::NoUser(name.clone())),
    };
    let gid = match &wanted.group {
        Some(NameOrId::Id(id)) => *id,
        Some(NameOrId::Name(name)) => groups(group)
            .find(|(found, _, _)| found == name)
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| AccountError::NoGroup(name.clone()))?,
        None => found.as_ref().map_or(0, |user| user.gid),
    };
    // As docker does: a group that was asked for replaces the user's own groups.
    let mut supplementary: Vec<u32> = match (&found, &wanted.group) {
        (Some(user), None) => groups(group)
            .filter(|(_, _, members)| members.split(',').any(|member| member == user.name))
            .map(|(_, gid, _)| gid)
            .take(GROUPS_LIMIT)
            .collect(),
        _ => Vec::new(),
    };
    supplementary.sort_unstable();
    supplementary.dedup();
    let absolute =
        |path: &str| (path.starts_with('/') && !path.contains('\0')).then(|| path.to_owned());
    let (home, shell) = match &found {
        Some(user) => (absolute(user.home), absolute(user.shell)),
        None => (None, None),
    };
    Ok(Account {
        uid,
        gid,
        groups: supplementary,
        home: home.unwrap_or_else(|| "/".to_owned()),
        shell,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        0:x:4000:4000:a trap:/:/bin/sh\n\
        broken line\n\
        alice:x:1000:1000:,,,:/home/alice:/bin/sh\n\
        large:x:70000:70000::/:/bin/sh\n\
        sign:x:+5:5::/:/bin/sh\n\
        bare:x:9:9:::\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:alice,bob\nstaff:x:50:bob,alice\nalice:x:1000:\n";

    fn of(user: &str) -> Result<Account, AccountError> {
        resolve(PASSWD, GROUP, Some(&user.parse().expect("a user")))
    }

    #[test]
    fn a_user_has_their_own_groups_home_and_shell() {
        assert_eq!(
            of("alice"),
            Ok(Account {
                uid: 1000,
                gid: 1000,
                groups: vec![4, 50],
                home: "/home/alice".to_owned(),
                shell: Some("/bin/sh".to_owned()),
            })
        );
        assert_eq!(of("1000"), of("alice"), "by number the same");
        assert_eq!(resolve(PASSWD, GROUP, None), of("root"));
    }

    #[test]
    fn digits_are_a_number_even_where_an_account_is_called_so() {
        assert_eq!(of("0").map(|account| account.uid), Ok(0));
    }

    #[test]
    fn a_group_that_is_asked_for_is_the_only_one() {
        let account = of("alice:adm").expect("an account");
        assert_eq!((account.gid, account.groups), (4, vec![]));
        assert_eq!(of("alice:7").map(|account| account.gid), Ok(7));
        assert_eq!(
            of("alice:none"),
            Err(AccountError::NoGroup("none".to_owned()))
        );
    }

    #[test]
    fn what_is_not_strictly_an_account_is_none() {
        for name in ["large", "sign", "broken", "nobody"] {
            assert_eq!(of(name), Err(AccountError::NoUser(name.to_owned())));
        }
        let bare = of("bare").expect("an account");
        assert_eq!((bare.home.as_str(), bare.shell), ("/", None));
        let unknown = of("4242").expect("a number needs no account");
        assert_eq!(
            (unknown.uid, unknown.gid, unknown.home.as_str()),
            (4242, 0, "/")
        );
    }
}
