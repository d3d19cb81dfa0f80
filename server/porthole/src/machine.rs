//! What the machine calls its users: `/etc/passwd` and nothing else.
//!
//! Never through the C library, whose name services load whatever the machine configures and may
//! wait for a directory server. Users that only such a service knows have a number and no name.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest file that is read.
const FILE_LIMIT: u64 = 1024 * 1024;
/// The longest name: `LOGIN_NAME_MAX` of Linux.
const NAME_LIMIT: usize = 256;

/// Users by their numbers.
#[derive(Debug, Default)]
pub struct Users(HashMap<u32, String>);

impl Users {
    /// The file's name of this user.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(String::as_str)
    }

    /// Of passwd(5), strictly: seven fields, a name that can be shown, a number in digits. The first
    /// line of a number counts, as getpwuid(3) has it; what is no such line is left out.
    fn parse(passwd: &str) -> Self {
        let mut users = HashMap::new();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _password, uid, _gid, _gecos, _home, _shell] = fields[..] else {
                continue;
            };
            let is_name = !name.is_empty()
                && name.len() <= NAME_LIMIT
                && name.bytes().all(|byte| byte.is_ascii_graphic());
            let is_number = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit());
            if is_name
                && is_number
                && let Ok(uid) = uid.parse()
            {
                users.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Self(users)
    }
}

/// Which file it was: another one has another of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// The machine's users as the file is now; read again only where it has changed.
pub fn users() -> Arc<Users> {
    static KNOWN: Mutex<Option<(Stamp, Arc<Users>)>> = Mutex::new(None);
    let stamp = std::fs::metadata("/etc/passwd").ok().map(|status| Stamp {
        inode: status.ino(),
        size: status.size(),
        seconds: status.mtime(),
        nanoseconds: status.mtime_nsec(),
    });
    let Some(stamp) = stamp else {
        return Arc::default();
    };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, users)) = &*known
        && *of == stamp
    {
        return users.clone();
    }
    let users = Arc::new(Users::parse(&read().unwrap_or_default()));
    *known = Some((stamp, users.clone()));
    users
}

fn read() -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let file = File::open("/etc/passwd")?;
    file.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_are_users_count_and_the_first_of_a_number() {
        let users = Users::parse(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n\
             # comment\nshort:x:5\n:x:6:6::/:\nsign:x:+7:7::/:\nlong:x:4294967296:1::/:\n\
             a b:x:8:8::/:\nb\u{1b}[31m:x:9:9::/:\nmore:x:10:1::/:/bin/sh:and\n+nis:x::::::\n",
        );
        assert_eq!(users.name(0), Some("root"));
        assert_eq!(users.name(1000), Some("ada"));
        assert_eq!(users.0.len(), 2, "{users:?}");
        assert_eq!(Users::parse("").name(0), None);
    }

    #[test]
    fn the_machines_superuser_has_a_name() {
        assert_eq!(users().name(0), Some("root"));
        assert!(Arc::ptr_eq(&users(), &users()), "the file is read once");
    }
}
