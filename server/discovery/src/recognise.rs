//! Whose container a process is in, by the path of its control group alone: bytes to values.
//!
//! Each engine names the group of a container in its own way, and another one with systemd's
//! driver than without; the first that matches is it. A path is read from its root on, so that
//! what runs in a container is found in it, and a container in a container in both:
//!
//! ```text
//!   /system.slice/docker-<64 digits>.scope/docker/<64 digits>/init.scope
//!                 \___ docker ___________/ \___ docker _____/
//! ```
//!
//! Who may make groups may give them such a name, in a container below the container's own group
//! only: what is recognised is a claim, and `containers` settles those that collide.

use porthole_protocol::engine::Engine;
use porthole_protocol::id::{ContainerId, SessionId};

use crate::{parse, printable};

/// How many bytes of a group's path are told.
const PATH_LIMIT: usize = 512;

/// How deep containers are followed into one another.
const DEPTH: usize = 16;

/// So many sessions are looked for in one path: one, and what is in its group may lie in another.
const CLAIMS: usize = 4;

/// A control group, and what its path says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Which of the groups that a reader has met it is; equal numbers are equal groups.
    pub number: u64,
    /// The path, as it can be shown; `None` for the root.
    pub path: Option<String>,
    /// The containers that it lies in, outermost first.
    pub levels: Vec<Level>,
    /// The session of one of ours that it is.
    pub session: Option<SessionId>,
    /// The sessions in containers of other engines that its path names.
    pub claims: Vec<Claim>,
}

/// A group that is called like a session's in another engine's container, which the keeper has made
/// or something in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The session.
    pub session: SessionId,
    /// Where the group is in the cgroup2 tree.
    pub group: Vec<u8>,
}

/// A container that a group's path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Who made it.
    pub engine: Engine,
    /// What the path calls it.
    pub id: ContainerId,
    /// Whether it is one of this Porthole's own.
    pub own: bool,
    /// The pod that it belongs to: Kubernetes' by its uid, Podman's by its identifier.
    pub pod: Option<String>,
    /// The path of its own group, as it can be shown.
    pub group: String,
}

/// What `/proc/PID/cgroup` says. The cgroup2 tree is asked first, then systemd's hierarchy, then
/// the others: the first that names most containers counts, else the first whose path is not the
/// root. `base` is the group of Porthole's own containers in the cgroup2 tree.
pub fn group(file: &[u8], base: Option<&str>) -> Group {
    let mut lines: Vec<(&[u8], &[u8])> = file
        .split(|b| *b == b'\n')
        .filter_map(|line| {
            let line = line.splitn(3, |b| *b == b':').collect::<Vec<_>>();
            let &[number, controllers, path] = &line[..] else {
                return None;
            };
            let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
            // "0::" is the cgroup2 tree.
            Some((if number == b"0" { b"" } else { controllers }, path))
        })
        .collect();
    lines.sort_by_key(|(controllers, _)| match *controllers {
        b"" => 0,
        b"name=systemd" => 1,
        _ => 2,
    });
    let mut best: Option<(&[u8], Vec<Level>)> = None;
    let mut ours = Vec::new();
    let (mut session, mut claims) = (None, Vec::new());
    for (controllers, path) in &lines {
        let in_tree = controllers.is_empty();
        let base = base.filter(|_| in_tree);
        let found = levels(path, base);
        if in_tree {
            ours = found.iter().filter(|level| level.own).cloned().collect();
            session = base.and_then(|base| parse::ours(path, base)?.1);
            let named = parse::foreign_sessions(path).take(CLAIMS);
            claims.extend(named.map(|(session, group)| Claim {
                session,
                group: group.to_vec(),
            }));
        }
        let more = |(_, best): &(_, Vec<Level>)| found.len() > best.len();
        if best.as_ref().is_none_or(more) && *path != b"/" {
            best = Some((path, found));
        }
    }
    let (path, mut levels) = best.unwrap_or((b"/", Vec::new()));
    // The groups of one of ours in the other hierarchies have its name too.
    for own in ours {
        match levels.iter_mut().find(|level| level.id == own.id) {
            Some(level) => *level = own,
            None => levels.insert(0, own),
        }
    }
    Group {
        number: 0,
        path: (path != b"/" && !path.is_empty()).then(|| shown(path)),
        levels,
        session,
        claims,
    }
}

/// The containers that this path lies in, outermost first.
pub(crate) fn levels(path: &[u8], base: Option<&str>) -> Vec<Level> {
    let base = base.map(|base| base.trim_end_matches('/').as_bytes());
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').skip(1).collect();
    let mut found = Vec::new();
    let mut pod = None;
    let mut depth = 0;
    let mut end = 0;
    for (at, name) in names.iter().enumerate() {
        let above = &path[..end];
        end += 1 + name.len();
        let before = at.checked_sub(1).map_or(b"".as_slice(), |at| names[at]);
        let place = Place {
            name,
            before,
            after: names.get(at + 1).copied().unwrap_or_default(),
            second: depth == 1,
            in_pod: pod.is_some(),
        };
        let own = base.is_some_and(|base| above == base);
        let known = if own {
            digits(name).map(|id| (Engine::Porthole, id.to_owned()))
        } else {
            container(&place)
        };
        depth += 1;
        if let Some((engine, id)) = known
            && let Ok(id) = id.parse::<ContainerId>()
            && found.len() < DEPTH
        {
            let pod_here = pod.take().or_else(|| {
                let (pod, _) = split_colons(name)?;
                pod_of(pod)
            });
            found.push(Level {
                engine,
                id,
                own,
                pod: pod_here,
                group: shown(&path[..end]),
            });
            depth = 0;
        } else if let Some(name) = pod_of(name) {
            pod = Some(name);
        }
    }
    found
}

/// A name in a path, with what stands around it.
struct Place<'a> {
    name: &'a [u8],
    before: &'a [u8],
    after: &'a [u8],
    /// Whether one name stands before it, in the path or in the container that it is in.
    second: bool,
    /// Whether it is below a pod's group.
    in_pod: bool,
}

/// What begins the name of a group, and who names it so.
const PREFIXES: [(&[u8], Engine); 8] = [
    (b"docker-", Engine::Docker),
    (b"libpod-payload-", Engine::Podman),
    (b"libpod-", Engine::Podman),
    (b"cri-containerd-", Engine::Containerd),
    (b"nerdctl-", Engine::Containerd),
    (b"containerd-", Engine::Containerd),
    (b"crio-", Engine::CriO),
    (b"cri-o-", Engine::CriO),
];

fn container(place: &Place<'_>) -> Option<(Engine, String)> {
    let Place { name, before, .. } = *place;
    // systemd's driver, and Podman and CRI-O without it. The group of conmon, which looks after
    // the container from outside, is libpod-conmon-<digits> and not matched.
    let scope = name.strip_suffix(b".scope").unwrap_or(name);
    for (prefix, engine) in PREFIXES {
        if let Some(id) = scope.strip_prefix(prefix).and_then(digits) {
            return Some((engine, id.to_owned()));
        }
    }
    // What runc makes of systemd's three words where its driver is not systemd's.
    if let Some((_, (engine, id))) = split_colons(name) {
        return Some((engine, id.to_owned()));
    }
    if let Some(name) = name.strip_prefix(b"lxc.payload.") {
        return Some((Engine::Lxc, text(name)?));
    }
    if let Some(machine) = machine(name) {
        let is_supervisor = place.after == b"supervisor";
        return (!is_supervisor).then_some((Engine::Nspawn, machine));
    }
    match before {
        // LXC 2 and 3.
        b"lxc" | b"lxc.payload" if !matches!(name, b"monitor" | b"payload") => {
            return Some((Engine::Lxc, text(name)?));
        }
        // What BuildKit calls a step of a build: 25 digits to the base of 36.
        b"buildkit" if name.len() == 25 && name.iter().all(u8::is_ascii_alphanumeric) => {
            return Some((Engine::Docker, text(name)?));
        }
        _ => {}
    }
    // ctr and nerdctl: the namespace of containerd, then any name.
    if before == b"default" && place.second {
        return Some((Engine::Containerd, text(name)?));
    }
    let id = digits(name)?;
    let engine = match before {
        b"docker" => Engine::Docker,
        b"k8s.io" => Engine::Containerd,
        _ if place.in_pod => Engine::Containerd,
        _ if is_portholes(before) => Engine::Porthole,
        // A pod of Podman's without systemd: its containers are below it.
        _ if place.after.starts_with(b"libpod-") => return None,
        // `docker run --cgroup-parent`, which may be anything, is by far the most likely.
        _ => Engine::Docker,
    };
    Some((engine, id.to_owned()))
}

/// `kubepods-burstable-pod<uid>.slice:cri-containerd:<digits>`.
fn split_colons(name: &[u8]) -> Option<(&[u8], (Engine, &str))> {
    let mut words = name.split(|b| *b == b':');
    let (slice, word, id) = (words.next()?, words.next()?, words.next()?);
    let engine = match word {
        b"docker" => Engine::Docker,
        b"libpod" => Engine::Podman,
        b"cri-containerd" | b"nerdctl" => Engine::Containerd,
        b"crio" => Engine::CriO,
        _ => return None,
    };
    words.next().is_none().then_some(())?;
    Some((slice, (engine, digits(id)?)))
}

/// The machine of `systemd-nspawn@<machine>.service` or `machine-<machine>.scope`, if it is one of
/// systemd-nspawn's: those of libvirt are virtual machines and have a number in their name.
fn machine(name: &[u8]) -> Option<String> {
    let escaped = name
        .strip_prefix(b"systemd-nspawn@")
        .and_then(|name| name.strip_suffix(b".service"))
        .or_else(|| name.strip_prefix(b"machine-")?.strip_suffix(b".scope"))?;
    let machine = unescape(str::from_utf8(escaped).ok()?);
    let mut words = machine.split('-');
    let libvirt = matches!(words.next(), Some("qemu" | "lxc"))
        && words
            .next()
            .is_some_and(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
    (!libvirt).then_some(machine)
}

/// `\x2d` and the like, as systemd.unit(5) escapes what may not stand in a unit's name.
fn unescape(text: &str) -> String {
    let mut parts = text.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok())
        {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[2..]);
            }
            None => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The pod that a group is of: `kubepods-besteffort-pod<uid>.slice`, `pod<uid>` or
/// `libpod_pod_<digits>.slice`. systemd's driver writes the uid's `-` as `_`.
fn pod_of(name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok()?;
    let slice = name.strip_suffix(".slice").unwrap_or(name);
    if let Some(pod) = slice.strip_prefix("libpod_pod_") {
        return digits(pod.as_bytes()).map(ToOwned::to_owned);
    }
    let uid = match slice.strip_prefix("pod") {
        Some(uid) => uid,
        None if slice.contains("kubepods") => slice.split_once("-pod")?.1,
        None => return None,
    };
    let uid = uid.replace('_', "-");
    // 36 characters, or the 32 digits of a static pod.
    let is_uid =
        matches!(uid.len(), 32 | 36) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_uid.then_some(uid)
}

/// The group of a Porthole's own containers, see docs/ARCHITECTURE.md.
fn is_portholes(name: &[u8]) -> bool {
    name.strip_prefix(b"porthole-").is_some_and(|hash| {
        hash.len() == 8 && hash.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// 64 hexadecimal digits.
fn digits(name: &[u8]) -> Option<&str> {
    let fits = name.len() == 64 && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    str::from_utf8(name).ok().filter(|_| fits)
}

fn text(name: &[u8]) -> Option<String> {
    str::from_utf8(name).ok().map(ToOwned::to_owned)
}

fn shown(path: &[u8]) -> String {
    let mut text = printable::line(path);
    text.truncate(text.floor_char_boundary(PATH_LIMIT));
    text
}

/// What a container's supervisor, the parent of its first process, tells in its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Supervisor {
    /// Who it works for.
    pub(crate) engine: Engine,
    /// The container that it looks after.
    pub(crate) id: Option<ContainerId>,
    /// That one's name.
    pub(crate) name: Option<String>,
}

/// Whether a process of this name may be a supervisor.
pub(crate) fn is_supervisor(command: &str) -> bool {
    matches!(command, "conmon" | "systemd-nspawn" | "lxc-start")
        || command.starts_with("containerd-shi")
        || command.starts_with("[lxc monitor]")
}

/// What the process of this name and command line supervises, if it does.
pub(crate) fn supervisor(command: &str, args: &[String]) -> Option<Supervisor> {
    let option = |names: &[&str]| {
        let at = args.iter().position(|arg| names.contains(&arg.as_str()))?;
        args.get(at + 1).cloned()
    };
    let id = |text: Option<String>| text.and_then(|text| text.parse().ok());
    match command {
        // conmon(8): Podman and CRI-O start one for each container.
        "conmon" => {
            let crio = args.iter().any(|arg| arg.contains("/crio"));
            Some(Supervisor {
                engine: if crio { Engine::CriO } else { Engine::Podman },
                id: id(option(&["-c", "--cid"])),
                name: option(&["-n", "--name"]),
            })
        }
        "systemd-nspawn" => {
            let machine = args.iter().find_map(|arg| arg.strip_prefix("--machine="));
            let machine = machine
                .map(ToOwned::to_owned)
                .or_else(|| option(&["-M", "--machine"]));
            Some(Supervisor {
                engine: Engine::Nspawn,
                id: id(machine.clone()),
                name: machine,
            })
        }
        _ if command.starts_with("containerd-shi") => {
            let docker = option(&["-namespace"]).as_deref() == Some("moby");
            Some(Supervisor {
                engine: if docker {
                    Engine::Docker
                } else {
                    Engine::Containerd
                },
                // One shim looks after all containers of a pod: it is named after the first.
                id: docker.then(|| id(option(&["-id"]))).flatten(),
                name: None,
            })
        }
        _ => {
            // "[lxc monitor] /var/lib/lxc web"
            let title = args.first()?.strip_prefix("[lxc monitor] ")?;
            let name = title.rsplit(' ').next()?;
            Some(Supervisor {
                engine: Engine::Lxc,
                id: name.parse().ok(),
                name: Some(name.to_owned()),
            })
        }
    }
}

#[cfg(test)]
mod tests;
