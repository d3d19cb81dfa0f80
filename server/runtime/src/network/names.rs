//! How containers find names: the same owner's containers by a file that all of them see as
//! `/etc/hosts`, the rest of the world by the machine's name servers.
//!
//! A file needs no process that could be killed, or asked too much. It is written in place, since
//! what is mounted is the file and not its name.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::pool::Pool;
use super::registry::Attachment;

/// Where `resolv.conf` may be, the best first: systemd's stub answers nobody but the machine.
const SOURCES: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];

/// The C library reads no more.
const NAME_SERVERS: usize = 3;

/// The file that one owner's containers see.
pub(super) fn hosts_file(directory: &Path, owner: &str) -> PathBuf {
    directory.join(format!("hosts-{owner}"))
}

/// Writes every owner's, and deletes those of owners who have none any more.
pub(super) fn write_hosts(
    directory: &Path,
    pool: &Pool,
    attached: &[Attachment],
) -> io::Result<()> {
    let owners: BTreeSet<&str> = attached.iter().map(|one| one.owner.as_str()).collect();
    for owner in &owners {
        let theirs = attached.iter().filter(|one| one.owner.as_str() == *owner);
        overwrite(&hosts_file(directory, owner), &hosts(pool, theirs))?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("hosts-"));
        if owner.is_some_and(|owner| !owners.contains(owner)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn hosts<'a>(pool: &Pool, attached: impl Iterator<Item = &'a Attachment>) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
        .to_owned();
    for one in attached {
        let mut names = one.name.to_string();
        if one.hostname != names {
            let _ = write!(names, " {}", one.hostname);
        }
        for address in pool.addresses(one.number) {
            let _ = writeln!(text, "{address}\t{names}");
        }
    }
    text
}

/// The same file with other words in it.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)?;
    // Longer than before or shorter: whoever reads it meanwhile finds whole lines of either, or
    // one torn line.
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)?;
    // The keeper's umask is not for what everybody in a container reads.
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_bits_truncate(0o644))?;
    Ok(())
}

/// What a container sees as `/etc/resolv.conf`, written at each start.
pub(super) fn write_resolver(path: &Path, asked: &[IpAddr]) -> io::Result<()> {
    overwrite(path, &resolver(asked, &machines()))
}

/// The machine's `resolv.conf`, or an empty one.
fn machines() -> String {
    let useful = |text: &String| name_servers(text).iter().any(|a| !a.is_loopback());
    let mut texts = SOURCES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    let first = texts.next().unwrap_or_default();
    if useful(&first) {
        return first;
    }
    texts.find(useful).unwrap_or(first)
}

pub(super) fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .collect()
}

/// Those of the machine's name servers that containers can ask: a loopback address is everybody's
/// own.
pub(super) fn reachable() -> Vec<IpAddr> {
    let mut found = name_servers(&machines());
    found.retain(|address| !address.is_loopback());
    found.truncate(NAME_SERVERS);
    found
}

pub(super) fn resolver(asked: &[IpAddr], machines: &str) -> String {
    let mut servers: Vec<IpAddr> = asked.to_vec();
    if servers.is_empty() {
        servers = name_servers(machines);
        servers.retain(|address| !address.is_loopback());
    }
    servers.truncate(NAME_SERVERS);
    let mut text = String::new();
    if servers.is_empty() {
        text.push_str(
            "# The machine's name servers answer nobody but the machine itself. Give the container\n\
             # others when it is made: \"dns\": [\"192.0.2.53\"].\n",
        );
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for line in machines.lines() {
        if ["search ", "domain ", "options "]
            .iter()
            .any(|word| line.starts_with(word))
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::pool::parse_range;
    use super::*;

    #[test]
    fn name_servers_of_the_machine_alone_are_left_out() {
        let machines = "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch example.org\n# nameserver 192.0.2.9\n";
        assert_eq!(
            resolver(&[], machines),
            "nameserver 192.0.2.1\nsearch example.org\n"
        );
        let asked = ["192.0.2.7".parse().expect("an address")];
        assert!(resolver(&asked, machines).starts_with("nameserver 192.0.2.7\nsearch"));
        assert!(resolver(&[], "nameserver ::1\n").contains("\"dns\""));
    }

    #[test]
    fn a_file_is_written_in_place() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        let pool = Pool::new(parse_range("10.88.0.0/16").expect("a range"), 1, true);
        let attachment = |number: u32, name: &str, owner: &str| -> Attachment {
            serde_json::from_value(serde_json::json!({
                "id": format!("{number:064x}"), "name": name, "hostname": "box",
                "owner": owner, "number": number, "publish": [],
            }))
            .expect("an attachment")
        };
        let all = [
            attachment(2, "web", "ann"),
            attachment(3, "db", "ann"),
            attachment(4, "web", "bob"),
        ];
        write_hosts(directory, &pool, &all).expect("written");
        let anns = hosts_file(directory, "ann");
        let text = fs::read_to_string(&anns).expect("a file");
        assert!(
            text.contains("\n10.88.0.2\tweb box\nfd70:0:1::2\tweb box\n10.88.0.3\tdb box\n"),
            "{text}"
        );
        assert!(!text.contains("10.88.0.4"), "another's: {text}");
        let inode = fs::metadata(&anns).expect("a file").ino();
        write_hosts(directory, &pool, &all[..1]).expect("written");
        let text = fs::read_to_string(&anns).expect("a file");
        assert!(text.contains("web") && !text.contains("db"), "{text}");
        assert_eq!(fs::metadata(&anns).expect("a file").ino(), inode);
        assert!(!hosts_file(directory, "bob").exists(), "he has none");
    }
}
