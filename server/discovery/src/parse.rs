//! The files of `/proc/PID`, from bytes to values. No I/O, and no trust in what the bytes are.
//!
//! See proc_pid_stat(5), proc_pid_status(5), proc_pid_cgroup(5), user_namespaces(7) and
//! namespaces(7).

use porthole_protocol::container::IdRange;
use porthole_protocol::id::{ContainerId, NamespaceInode, SessionId};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Security;
use porthole_protocol::session::FOREIGN_GROUP;

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat<'a> {
    /// The name, as the process chose it.
    pub(crate) command: &'a [u8],
    /// One letter.
    pub(crate) state: char,
    /// The parent's PID; 0 for those that the kernel started.
    pub(crate) parent: i32,
    /// The controlling terminal's device number, 0 where it has none.
    pub(crate) tty: u32,
    /// Whether it is a thread of the kernel.
    pub(crate) kernel: bool,
    /// How many threads it has.
    pub(crate) threads: u32,
    /// Clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Resident memory in pages.
    pub(crate) rss_pages: u64,
}

/// `PF_KTHREAD` of `linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `/proc/PID/stat`. The name stands in parentheses and may itself hold parentheses, spaces and
/// newlines: only the last `)` ends it, because the fields after it are a letter and numbers.
pub(crate) fn stat(bytes: &[u8]) -> Option<Stat<'_>> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let command = bytes.get(open + 1..close)?;
    let mut fields = bytes
        .get(close + 1..)?
        .split(|b| b.is_ascii_whitespace())
        .skip(1);
    // Numbered as proc_pid_stat(5) does: the state is field 3.
    let state = match fields.next()? {
        [letter] if letter.is_ascii_alphabetic() => char::from(*letter),
        _ => return None,
    };
    let parent = signed(fields.next()?)?;
    let tty = signed(fields.nth(2)?)?.cast_unsigned();
    let flags: u32 = number(fields.nth(1)?)?.try_into().ok()?;
    let threads = number(fields.nth(10)?)?.try_into().ok()?;
    let start_ticks = number(fields.nth(1)?)?;
    let rss_pages = number(fields.nth(1)?)?;
    Some(Stat {
        command,
        state,
        parent,
        tty,
        kernel: flags & KERNEL_THREAD != 0,
        threads,
        start_ticks,
        rss_pages,
    })
}

/// What is used of `/proc/PID/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Status {
    /// `NSpid`: its PID in each PID namespace, outermost first.
    pub(crate) pids: Option<Vec<i32>>,
    /// What confines it.
    pub(crate) security: Option<Security>,
}

/// `/proc/PID/status`. The name, which stands first, has its newlines escaped.
pub(crate) fn status(bytes: &[u8]) -> Status {
    let mut pids = None;
    let (mut effective, mut bounding, mut no_new_privs, mut seccomp) = (None, None, None, None);
    for line in bytes.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        match &line[..colon] {
            b"NSpid" => {
                let fields = value.split(|b| b.is_ascii_whitespace());
                let all = fields.map(signed).collect::<Option<Vec<_>>>();
                pids = all.filter(|pids| !pids.is_empty());
            }
            b"CapEff" => effective = bits(value),
            b"CapBnd" => bounding = bits(value),
            b"NoNewPrivs" => no_new_privs = number(value),
            b"Seccomp" => seccomp = number(value).and_then(|mode| u8::try_from(mode).ok()),
            _ => {}
        }
    }
    let security = || {
        Some(Security {
            effective: effective?,
            bounding: bounding?,
            no_new_privs: no_new_privs? != 0,
            // A kernel without seccomp has no such line.
            seccomp: seccomp.unwrap_or(0),
        })
    };
    Status {
        pids,
        security: security(),
    }
}

/// A mask in hexadecimal digits.
fn bits(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Whose a process of this group is: `<base>/<container id>` or `<base>/<container
/// id>/<session id>`. What a container makes below its own group is still the container's.
pub(crate) fn ours(path: &[u8], base: &str) -> Option<(ContainerId, Option<SessionId>)> {
    let below = path.strip_prefix(base.trim_end_matches('/').as_bytes())?;
    let mut names = below.strip_prefix(b"/")?.split(|b| *b == b'/');
    let container: ContainerId = str::from_utf8(names.next()?).ok()?.parse().ok()?;
    container.is_digits().then_some(())?;
    let session = names
        .next()
        .and_then(|name| str::from_utf8(name).ok()?.parse().ok());
    Some((container, session))
}

/// The sessions in another engine's container that this path names, outermost first, each with the
/// path of its own group. Whoever may make groups there may name one so.
pub(crate) fn foreign_sessions(path: &[u8]) -> impl Iterator<Item = (SessionId, &[u8])> {
    let mut end = 0;
    path.split(|b| *b == b'/').filter_map(move |name| {
        end += name.len();
        let group = &path[..end];
        end += 1;
        let id = name.strip_prefix(FOREIGN_GROUP.as_bytes())?;
        Some((str::from_utf8(id).ok()?.parse().ok()?, group))
    })
}

/// The inode in what a link of `/proc/PID/ns` says: `pid:[4026531836]`.
pub(crate) fn namespace(link: &[u8]) -> Option<NamespaceInode> {
    let open = link.iter().position(|b| *b == b'[')?;
    let digits = link.get(open + 1..)?.strip_suffix(b"]")?;
    number(digits).map(NamespaceInode)
}

/// What the link of an open namespace, or the root of a mounted one, says: type and inode.
pub(crate) fn namespace_name(name: &[u8]) -> Option<(NamespaceType, NamespaceInode)> {
    let open = name.iter().position(|b| *b == b'[')?;
    let kind = str::from_utf8(name.get(..open)?.strip_suffix(b":")?).ok()?;
    Some((kind.parse().ok()?, namespace(name)?))
}

/// The namespaces that are mounted on files, of `/proc/PID/mountinfo`: type, inode and where.
///
/// Of a line, proc_pid_mountinfo(5), the fields 4 and 5 are what is mounted and where; behind a
/// lone `-` stands the type of the file system. What would divide fields is escaped in them.
pub(crate) fn mounted_namespaces(
    mountinfo: &[u8],
) -> impl Iterator<Item = (NamespaceType, NamespaceInode, Vec<u8>)> {
    mountinfo.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let (root, place) = (fields.nth(3)?, fields.next()?);
        // A mount of the root of a namespace file can only be of nsfs.
        let (kind, inode) = namespace_name(root)?;
        fields.find(|field| *field == b"-")?;
        (fields.next()? == b"nsfs").then(|| (kind, inode, unescaped(place)))
    })
}

/// `\040` and the like, of a file of mounts.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let code = more.first_chunk::<3>().filter(|_| *first == b'\\');
        let byte = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &more[3..] } else { more };
    }
    plain
}

/// `/proc/PID/uid_map` or `gid_map`; empty as long as nobody has written it.
pub(crate) fn id_map(bytes: &[u8]) -> Option<Vec<IdRange>> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut fields = line
                .split(|b| b.is_ascii_whitespace())
                .filter(|field| !field.is_empty())
                .map(|field| u32::try_from(number(field)?).ok());
            let range = IdRange(fields.next()??, fields.next()??, fields.next()??);
            fields.next().is_none().then_some(range)
        })
        .collect()
}

/// This id as the ranges number it inside.
pub(crate) fn inside(map: &[IdRange], outside: u32) -> Option<u32> {
    map.iter().find_map(|range| range.inside(outside))
}

/// A terminal's device number as ps(1) names it.
pub(crate) fn tty(device: u32) -> Option<String> {
    if device == 0 {
        return None;
    }
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
    Some(match (major, minor) {
        // Devices.txt of the kernel: 136 to 143 are the slaves of /dev/pts.
        (136..=143, _) => format!("pts/{}", minor + (major - 136) * 256),
        (4, 0..=63) => format!("tty{minor}"),
        (4, _) => format!("ttyS{}", minor - 64),
        (5, 1) => "console".to_owned(),
        (204, 64..) => format!("ttyAMA{}", minor - 64),
        (229, _) => format!("hvc{minor}"),
        _ => format!("{major}:{minor}"),
    })
}

/// A directory entry of `/proc` that is a process.
pub(crate) fn pid(name: &[u8]) -> Option<i32> {
    // "+1" and "01" are no names of processes.
    if !matches!(name.first(), Some(b'1'..=b'9')) {
        return None;
    }
    number(name)?.try_into().ok()
}

/// A directory entry of `/proc/PID/fd` that is a descriptor.
pub(crate) fn descriptor(name: &[u8]) -> Option<i32> {
    number(name)?.try_into().ok()
}

fn signed(digits: &[u8]) -> Option<i32> {
    match digits.strip_prefix(b"-") {
        Some(rest) => i32::try_from(-i64::try_from(number(rest)?).ok()?).ok(),
        None => i32::try_from(number(digits)?).ok(),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
