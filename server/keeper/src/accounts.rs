//! The accounts that the server and the engines broker run as, from the host's `/etc/passwd`.
//!
//! By a parser of our own: nothing else is loaded or asked in a process that is root.

use std::io;

/// The server's name, and its group's.
pub(crate) const SERVER: &str = "porthole";

/// The engines broker's.
pub(crate) const ENGINES: &str = "porthole-engines";

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The server's account; `None` where there is none.
pub(crate) fn server() -> io::Result<Option<Account>> {
    Ok(find(&std::fs::read_to_string("/etc/passwd")?, SERVER))
}

/// The engines broker's account; `None` where there is none.
pub(crate) fn engines() -> io::Result<Option<Account>> {
    Ok(find(&std::fs::read_to_string("/etc/passwd")?, ENGINES))
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let _password = fields.next()?;
        let account = Account {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        };
        // The server as root would be no server.
        (account.uid != 0 && account.gid != 0).then_some(account)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nporthole2:x:9:9::/:/bin/sh\n\
                      porthole:x:997:996::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(
            find(passwd, "porthole"),
            Some(Account { uid: 997, gid: 996 })
        );
        assert_eq!(find(passwd, "port"), None);
        assert_eq!(find("porthole:x:0:0::/:/bin/sh\n", "porthole"), None);
        assert_eq!(find("porthole:x:x:1::/:/bin/sh\n", "porthole"), None);
    }
}
