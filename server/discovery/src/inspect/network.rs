//! Network namespaces: one from inside, and the wires between all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{Bounded, Network, Peer, WiredNamespace, Wiring};
use porthole_protocol::namespace::NamespaceType;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, open};

use super::budget::Budget;
use super::interfaces::{self, Found, Interfaces};
use super::netlink::Netlink;
use super::target::{Target, enter};
use super::{Step, Trouble, mountinfo, scan, sockets};
use crate::links::is_namespace;
use crate::printable;

/// So many network namespaces are looked at: each is kept open meanwhile.
const NAMESPACES: usize = 800;

/// So many interfaces are read of the host's namespace and of one that is looked at by itself, and so
/// many routes of a family.
const MANY: usize = 4096;

/// So many of each where all are looked at: whoever owns one may make more than everybody has time
/// for.
const SOME: usize = 256;

/// How long reading the interfaces of all may take, in milliseconds; the rest is only counted.
const PATIENCE_MS: u128 = 1500;

/// A network namespace that may be at the other end of a wire.
#[derive(Debug)]
struct Candidate {
    inode: NamespaceInode,
    open: OwnedFd,
    process: Option<HostPid>,
    mount: Option<String>,
}

pub(super) fn read(target: &Target) -> Result<Network, Trouble> {
    let (namespace, own) = target.namespace(NamespaceType::Net)?;
    let (candidates, _) = candidates()?;
    enter(NamespaceType::Net, own.as_fd())?;
    let mut netlink = Netlink::open()?;
    let Interfaces {
        mut found,
        strange,
        cut,
        addresses_cut,
    } = interfaces::list(&mut netlink, MANY)?;
    let (routes, strange_routes, routes_cut) = interfaces::routes(&mut netlink, MANY)?;
    let sockets = sockets::list(namespace)?;
    let numbers = resolve(&netlink, &found, &candidates);
    attach(namespace, &mut found, &numbers);
    name_peers(namespace, &mut found, &candidates);
    let mut notes = sockets.notes;
    if strange + strange_routes > 0 {
        let count = strange + strange_routes;
        notes.push(format!(
            "{count} answers of the kernel could not be understood."
        ));
    }
    for (cut, what) in [
        (cut, "interfaces"),
        (addresses_cut, "addresses for each interface"),
        (routes_cut, "routes"),
    ] {
        if cut {
            notes.push(format!(
                "There are more {what} than are read: these are the first."
            ));
        }
    }
    let mut budget = Budget::new();
    Ok(Network {
        namespace,
        interfaces: budget.take(3, found.into_iter().map(|one| one.interface)),
        routes: budget.take(3, routes),
        sockets: budget.take(2, sockets.reached),
        unix_sockets: budget.take(1, sockets.unix),
        connections: sockets.connections,
        notes,
    })
}

pub(super) fn wiring() -> Result<Wiring, Trouble> {
    let (candidates, mut left_out) = candidates()?;
    let host = scan::own(NamespaceType::Net);
    let mut unread = Vec::new();
    let mut all: Vec<(usize, Vec<Found>, bool)> = Vec::new();
    let begun = Instant::now();
    for (place, candidate) in candidates.iter().enumerate() {
        if begun.elapsed().as_millis() > PATIENCE_MS {
            left_out += 1;
            continue;
        }
        let is_host = Some(candidate.inode) == host;
        let most = if is_host { MANY } else { SOME };
        let looked = enter(NamespaceType::Net, candidate.open.as_fd())
            .and_then(|()| Netlink::open())
            .and_then(|mut netlink| {
                let mut listed = interfaces::list(&mut netlink, most)?;
                let numbers = resolve(&netlink, &listed.found, &candidates);
                attach(candidate.inode, &mut listed.found, &numbers);
                Ok(listed)
            });
        match looked {
            Ok(listed) => all.push((place, listed.found, listed.cut)),
            Err(_) => unread.push(candidate.inode),
        }
    }
    let names: HashMap<(NamespaceInode, u32), (String, Option<u32>)> = all
        .iter()
        .flat_map(|(place, found, _)| {
            let inode = candidates[*place].inode;
            found.iter().map(move |one| {
                let one = &one.interface;
                ((inode, one.index), (one.name.clone(), one.master))
            })
        })
        .collect();
    for (_, found, _) in &mut all {
        for peer in found
            .iter_mut()
            .filter_map(|one| one.interface.peer.as_mut())
        {
            fill(peer, &names);
        }
    }
    let mut budget = Budget::new();
    let mut namespaces: Vec<WiredNamespace> = Vec::with_capacity(all.len());
    // Those with few come first, so that one with many takes no room of theirs.
    all.sort_by_key(|(place, found, _)| (Some(candidates[*place].inode) != host, found.len()));
    for (place, found, cut) in all {
        let candidate = &candidates[place];
        let interfaces = found.into_iter().map(|mut one| {
            (one.interface.received, one.interface.sent) = (0, 0);
            one.interface
        });
        let interfaces = budget.take(1, interfaces);
        if interfaces.items.is_empty() && interfaces.left_out > 0 {
            left_out += 1;
            continue;
        }
        namespaces.push(WiredNamespace {
            inode: candidate.inode,
            host: Some(candidate.inode) == host,
            process: candidate.process,
            mount: candidate.mount.clone(),
            interfaces,
            cut,
        });
    }
    namespaces.sort_by_key(|one| (!one.host, one.inode));
    Ok(Wiring {
        namespaces: Bounded {
            items: namespaces,
            left_out,
        },
        unread: Bounded {
            items: unread,
            left_out: 0,
        },
    })
}

/// Every network namespace that a process is in or that is mounted where this process sees it; and
/// how many more there are. The host's first, which most wires end in.
fn candidates() -> Result<(Vec<Candidate>, u64), Trouble> {
    let mut found: BTreeMap<NamespaceInode, (Option<HostPid>, Option<String>)> = BTreeMap::new();
    for (inode, process) in scan::leaders(NamespaceType::Net)? {
        found.insert(inode, (Some(process), None));
    }
    for (inode, path) in mounted()? {
        found.entry(inode).or_default().1 = Some(path);
    }
    let host = scan::own(NamespaceType::Net);
    let mut order: Vec<_> = found.into_iter().collect();
    order.sort_by_key(|(inode, _)| (Some(*inode) != host, *inode));
    let mut candidates = Vec::new();
    let mut left_out = 0;
    for (inode, (process, mount)) in order {
        if candidates.len() == NAMESPACES {
            left_out += 1;
            continue;
        }
        let path = match (&process, &mount) {
            (Some(process), _) => format!("/proc/{process}/ns/net"),
            (None, Some(path)) => path.clone(),
            (None, None) => continue,
        };
        // One that has gone meanwhile is none any more.
        let Ok(open) = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
            continue;
        };
        if is_namespace(&open, inode) {
            candidates.push(Candidate {
                inode,
                open,
                process,
                mount: mount.map(|path| printable::line(path.as_bytes())),
            });
        }
    }
    Ok((candidates, left_out))
}

/// Network namespaces that are mounted on files here, as `ip netns` does.
fn mounted() -> Result<Vec<(NamespaceInode, String)>, Trouble> {
    let path = "/proc/self/mountinfo";
    let bytes =
        scan::whole(CWD, path, 16 * 1024 * 1024).map_err(Trouble::at(Step::ReadProcess, path))?;
    Ok(mountinfo::entries(&bytes)
        .filter(|entry| entry.fstype == b"nsfs" && entry.root.starts_with(b"net:["))
        .filter_map(|entry| {
            let inode = crate::parse::namespace(&entry.root)?;
            Some((inode, String::from_utf8(entry.path).ok()?))
        })
        .collect())
}

/// Which namespaces the numbers mean that this one's interfaces have for those of their other ends.
fn resolve(
    netlink: &Netlink,
    found: &[Found],
    candidates: &[Candidate],
) -> HashMap<i32, NamespaceInode> {
    let wanted: HashSet<i32> = found.iter().filter_map(|one| one.end?.namespace).collect();
    let mut numbers = HashMap::new();
    for candidate in candidates {
        if numbers.len() == wanted.len() {
            break;
        }
        if let Ok(Some(number)) = netlink.number_of(candidate.open.as_fd())
            && wanted.contains(&number)
        {
            numbers.insert(number, candidate.inode);
        }
    }
    numbers
}

fn attach(own: NamespaceInode, found: &mut [Found], numbers: &HashMap<i32, NamespaceInode>) {
    for one in found {
        one.interface.peer = one.end.map(|end| Peer {
            index: end.index,
            namespace: match end.namespace {
                None => Some(own),
                Some(number) => numbers.get(&number).copied(),
            },
            name: None,
            master: None,
        });
    }
}

/// Enters the namespaces of the other ends to see what they are called there.
fn name_peers(own: NamespaceInode, found: &mut [Found], candidates: &[Candidate]) {
    let mut names = HashMap::new();
    let mut learn = |inode: NamespaceInode, list: &[Found]| {
        for one in list {
            let one = &one.interface;
            names.insert((inode, one.index), (one.name.clone(), one.master));
        }
    };
    learn(own, found);
    let others: HashSet<NamespaceInode> = found
        .iter()
        .filter_map(|one| one.interface.peer.as_ref()?.namespace)
        .filter(|inode| *inode != own)
        .collect();
    for candidate in candidates.iter().filter(|one| others.contains(&one.inode)) {
        let listed = enter(NamespaceType::Net, candidate.open.as_fd())
            .and_then(|()| Netlink::open())
            .and_then(|mut netlink| interfaces::list(&mut netlink, MANY));
        // One that cannot be entered has no names to tell.
        if let Ok(listed) = listed {
            learn(candidate.inode, &listed.found);
        }
    }
    for peer in found
        .iter_mut()
        .filter_map(|one| one.interface.peer.as_mut())
    {
        fill(peer, &names);
    }
}

fn fill(peer: &mut Peer, names: &HashMap<(NamespaceInode, u32), (String, Option<u32>)>) {
    let Some(namespace) = peer.namespace else {
        return;
    };
    if let Some((name, master)) = names.get(&(namespace, peer.index)) {
        peer.name = Some(name.clone());
        peer.master = master
            .and_then(|master| names.get(&(namespace, master)))
            .map(|(name, _)| name.clone());
    }
}
