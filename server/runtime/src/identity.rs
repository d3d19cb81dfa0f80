//! Blocks of user and group ids: one for each container, nobody else's.

use std::fs;
use std::os::fd::OwnedFd;

use porthole_protocol::container::IdRange;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};

use rustix::fs::{Dir, Mode, OFlags, open, openat};

use crate::step::{Step, StepError};

/// How many ids a container has.
const BLOCK: u32 = 65_536;

/// Blocks are taken from where systemd has its containers' (`CONTAINER_UID_BASE_MIN`, `_MAX`): no
/// distribution gives these ids to accounts, and useradd(8) gives subordinate ids below them.
const FIRST: u32 = 524_288;
const LAST: u32 = 1_879_048_191;

/// A block of 65,536 ids that is disjoint from `used`, from `/etc/subuid`, `/etc/subgid`, the
/// accounts of `/etc/passwd` and `/etc/group`, and the maps of every process that lives.
///
/// The search begins at a random block, so that another instance on this machine, whose containers
/// may all be stopped and so are nowhere to be seen, hardly ever has the same.
pub fn allocate_ids(used: &[IdRange]) -> Result<IdRange, Failure> {
    let mut taken: Vec<IdRange> = used.to_vec();
    for file in ["/etc/subuid", "/etc/subgid"] {
        taken.extend(subordinate(&read(file)?));
    }
    for file in ["/etc/passwd", "/etc/group"] {
        taken.extend(accounts(&read(file)?));
    }
    taken.extend(live_maps()?);
    let blocks = (LAST - FIRST + 1) / BLOCK;
    let start = random()? % blocks;
    choose(&taken, start, blocks).ok_or_else(|| {
        Failure::new(
            FailureCode::Exhausted,
            "every block of 65,536 user ids is in use; remove containers or entries of /etc/subuid",
        )
        .stage(Stage::Ids)
    })
}

/// The block of ids of which this is the first one.
pub fn block_from(first: u32) -> IdRange {
    IdRange(0, first, BLOCK)
}

fn choose(taken: &[IdRange], start: u32, blocks: u32) -> Option<IdRange> {
    (0..blocks)
        .map(|step| FIRST + (start + step) % blocks * BLOCK)
        .find(|base| !taken.iter().any(|range| overlaps(range, *base)))
        .map(|base| IdRange(0, base, BLOCK))
}

fn overlaps(range: &IdRange, base: u32) -> bool {
    let (first, end) = (u64::from(range.1), u64::from(range.1) + u64::from(range.2));
    first < u64::from(base) + u64::from(BLOCK) && u64::from(base) < end
}

/// A file of the machine's that may be missing.
fn read(file: &str) -> Result<String, Failure> {
    match fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(StepError::new((Step::ReadIds, file), error).into()),
    }
}

/// `name:first:count` of subuid(5).
fn subordinate(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(1);
            let first = fields.next()?.trim().parse().ok()?;
            Some(IdRange(0, first, fields.next()?.trim().parse().ok()?))
        })
        .collect()
}

/// The third field of passwd(5) and group(5).
fn accounts(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| Some(IdRange(0, line.split(':').nth(2)?.parse().ok()?, 1)))
        .collect()
}

/// What processes have mapped to outside, but for those in this process's own user namespace:
/// nearly all of them, whose maps are recognised by their text and cost one small read each.
fn live_maps() -> Result<Vec<IdRange>, Failure> {
    let failed = |errno| StepError::new((Step::ReadIds, "/proc"), errno);
    let proc = open(
        "/proc",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(failed)?;
    let mut found: Vec<IdRange> = Vec::new();
    let own = read_map(&proc, "self/uid_map");
    for entry in Dir::read_from(&proc).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !name.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let name = String::from_utf8_lossy(name);
        let users = read_map(&proc, &format!("{name}/uid_map"));
        if users == own {
            continue;
        }
        let groups = read_map(&proc, &format!("{name}/gid_map"));
        for range in map_lines(&users).into_iter().chain(map_lines(&groups)) {
            if !found.contains(&range) {
                found.push(range);
            }
        }
    }
    Ok(found)
}

/// A process's map; empty where the process has ended meanwhile. The kernel allows 340 lines.
fn read_map(proc: &OwnedFd, path: &str) -> String {
    let mut bytes = Vec::with_capacity(512);
    let Ok(file) = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return String::new();
    };
    loop {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) | Err(_) => break,
            Ok(_) => bytes.reserve(512),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn map_lines(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let (inside, outside, count) = (
                numbers.next()?.ok()?,
                numbers.next()?.ok()?,
                numbers.next()?.ok()?,
            );
            // The initial map, as seen from wherever we are.
            (count < u32::MAX).then_some(IdRange(inside, outside, count))
        })
        .collect()
}

fn random() -> Result<u32, Failure> {
    let mut bytes = [0; 4];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| StepError::new(Step::Random, errno))?;
    Ok(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_anything_touches_is_passed_over() {
        let base = |taken: &[IdRange]| choose(taken, 0, 3).map(|range| range.1);
        assert_eq!(base(&[]), Some(FIRST));
        assert_eq!(base(&[IdRange(0, FIRST + 65_535, 1)]), Some(FIRST + BLOCK));
        assert_eq!(base(&[IdRange(0, FIRST - 1, 1)]), Some(FIRST), "beside it");
        assert_eq!(base(&[IdRange(0, FIRST - 1, 2)]), Some(FIRST + BLOCK));
        assert_eq!(base(&[IdRange(0, FIRST, 3 * BLOCK)]), None);
        assert_eq!(
            choose(&[IdRange(0, FIRST + 2 * BLOCK, 9)], 2, 3).map(|r| r.1),
            Some(FIRST)
        );
    }

    #[test]
    fn the_machines_files_are_read() {
        assert_eq!(
            subordinate("user:100000:65536\nbroken\nother:x:1\n"),
            [IdRange(0, 100_000, 65_536)]
        );
        assert_eq!(accounts("a:x:7:8::/:\n:\n"), [IdRange(0, 7, 1)]);
        assert_eq!(
            map_lines("         0     524288      65536\n"),
            [IdRange(0, 524_288, 65_536)]
        );
        assert_eq!(map_lines("0 0 4294967295\n"), []);
    }

    #[test]
    fn maps_of_living_processes_are_seen() {
        // As root: a process in a user namespace of its own. Its map must be among those found.
        let Ok(mut child) = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "cat"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
        else {
            println!("SKIPPED: there is no unshare(1)");
            return;
        };
        use std::io::{Read, Write};
        let mut input = child.stdin.take().expect("stdin");
        input.write_all(b"x").expect("write");
        let mut answer = [0];
        child
            .stdout
            .take()
            .expect("stdout")
            .read_exact(&mut answer)
            .expect("it lives");
        let own = rustix::process::geteuid().as_raw();
        assert!(live_maps().expect("maps").contains(&IdRange(0, own, 1)));
        drop(input);
        child.wait().expect("wait");
    }

    #[test]
    fn blocks_are_disjoint_from_each_other() {
        let first = allocate_ids(&[]).expect("a block");
        let second = allocate_ids(&[first]).expect("another");
        assert_eq!((first.0, first.2), (0, 65_536));
        assert!(!overlaps(&first, second.1), "{first:?} {second:?}");
    }
}
