//! Settings of the machine that bridges need, remembered so that they can be set back.
//!
//! Only forwarding is the machine's own: what else is needed belongs to the bridge and goes with
//! it. Where the machine forwarded nothing before, the table keeps it so for everything that is not
//! a container's (`Ruleset::only_ours`).
//!
//! Several instances may have a bridge on one machine. What the first one has changed is written
//! down for all of them, below `/run` since neither outlives a restart of the machine, and for each
//! network namespace by itself, which is a machine of its own in this. It is changed, and set back
//! by the last one, under one lock; there is a next one as long as another bridge is
//! (`links::GROUP`).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::links;
use super::netlink::Netlink;
use super::ruleset::OnlyOurs;

/// What is known of machines, root's alone.
const DIRECTORY: &str = "/run/porthole-network";

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const V6_INTERFACES: &str = "/proc/sys/net/ipv6/conf";

/// What was changed, and what it was before, in the order in which it was done.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Changed(Vec<(String, String)>);

/// Whether this machine speaks IPv6.
pub(super) fn speaks_ipv6() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6")
        .is_ok_and(|text| text.trim() == "0")
}

/// The machine's settings, for whoever has the lock.
#[derive(Debug)]
pub(super) struct Machine {
    /// What has been changed is written down here.
    file: PathBuf,
    changed: Changed,
    _lock: File,
}

impl Machine {
    /// Waits for the lock, which nobody holds while they wait for anything else.
    pub(super) fn lock() -> io::Result<Self> {
        let directory = Path::new(DIRECTORY);
        let lock = loop {
            if let Some(lock) = hold(directory)? {
                break lock;
            }
        };
        let file = directory.join(format!("{}.json", porthole_sys::nsfs::network_cookie()?));
        let changed = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Ok(Self {
            file,
            changed,
            _lock: lock,
        })
    }

    /// Which families the machine did not forward before.
    pub(super) fn forwarded_nothing(&self) -> OnlyOurs {
        self.changed.forwarded_nothing()
    }

    /// Lets the machine forward.
    pub(super) fn forward(&mut self, v6: bool) -> io::Result<()> {
        self.changed.forward(&self.file, v6)
    }

    /// Sets everything back, unless another instance's bridge is there.
    pub(super) fn give_back(self, netlink: &mut Netlink) -> io::Result<()> {
        if links::is_any_bridge(netlink)? {
            return Ok(());
        }
        self.changed.restore(&self.file)?;
        // Not where there is something of another network namespace.
        let _ = fs::remove_dir(DIRECTORY);
        Ok(())
    }
}

/// The directory, locked; `None` where somebody has removed it meanwhile.
fn hold(directory: &Path) -> io::Result<Option<File>> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let lock = match File::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
    let inode = lock.metadata()?.ino();
    let same = fs::metadata(directory).is_ok_and(|now| now.ino() == inode);
    Ok(same.then_some(lock))
}

impl Changed {
    fn forwarded_nothing(&self) -> OnlyOurs {
        let changed = |file| self.0.iter().any(|(path, _)| path == file);
        OnlyOurs {
            v4: changed(V4),
            v6: changed(V6),
        }
    }

    /// What that changes is written down before it is done.
    fn forward(&mut self, file: &Path, v6: bool) -> io::Result<()> {
        let mut plan = Vec::new();
        if read(V4)? == "0" {
            plan.push((V4.to_owned(), "1"));
        }
        if v6 && read(V6)? == "0" {
            // A machine that forwards listens to no router advertisement any more, unless told to.
            for interface in fs::read_dir(V6_INTERFACES)? {
                let name = interface?.file_name().to_string_lossy().into_owned();
                if ["all", "default", "lo"].contains(&name.as_str()) {
                    continue;
                }
                let path = format!("{V6_INTERFACES}/{name}/accept_ra");
                if read(&path).is_ok_and(|now| now == "1") {
                    plan.push((path, "2"));
                }
            }
            plan.push((V6.to_owned(), "1"));
        }
        if plan.is_empty() {
            return Ok(());
        }
        for (path, _) in &plan {
            self.0.push((path.clone(), read(path)?));
        }
        fs::write(file, serde_json::to_vec(self)?)?;
        for (path, value) in plan {
            fs::write(path, value)?;
        }
        Ok(())
    }

    /// Sets everything back. What somebody has set otherwise since stays as that is.
    fn restore(self, file: &Path) -> io::Result<()> {
        for (path, before) in self.0.iter().rev() {
            let ours = if path.ends_with("accept_ra") {
                "2"
            } else {
                "1"
            };
            // An interface may be gone.
            if read(path).is_ok_and(|now| now == ours) {
                fs::write(path, before)?;
            }
        }
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn read(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// Sets what of the bridge itself is set by file.
pub(super) fn set_bridge(bridge: &str, local_routes: bool, v6: bool) -> io::Result<()> {
    let v4 = format!("/proc/sys/net/ipv4/conf/{bridge}");
    // From an address that leads elsewhere nothing comes.
    set(&format!("{v4}/rp_filter"), "1")?;
    set(
        &format!("{v4}/route_localnet"),
        if local_routes { "1" } else { "0" },
    )?;
    if v6 {
        set(&format!("{V6_INTERFACES}/{bridge}/accept_ra"), "0")?;
    }
    Ok(())
}

fn set(path: &str, value: &str) -> io::Result<()> {
    if read(path)? == value {
        return Ok(());
    }
    fs::write(path, value)
}

/// Where the machine's routes lead, without the way out for everything else.
pub(super) fn routes(except: &str) -> Vec<super::pool::Range> {
    let text = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let interface = words.next()?;
            let base = hexadecimal(words.next()?)?;
            let mask = hexadecimal(words.nth(5)?)?;
            let prefix = u8::try_from(mask.leading_ones()).ok()?;
            (interface != except && prefix > 0).then(|| (base.into(), prefix))
        })
        .collect()
}

/// How large a packet can be that leaves the machine, bytes: that of the interface by which the
/// default route of each family goes, the smaller one of two; as usual where there is no such route.
pub(super) fn mtu(netlink: &mut Netlink) -> io::Result<u32> {
    let v4 = fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    let mut smallest = None;
    for interface in [way_out_v4(&v4), way_out_v6(&v6)].into_iter().flatten() {
        let link = links::find(netlink, interface)?;
        smallest = smallest.into_iter().chain(link.map(|one| one.mtu)).min();
    }
    Ok(smallest.map_or(USUAL_MTU, |mtu| mtu.clamp(SMALLEST_MTU, LARGEST_MTU)))
}

/// Ethernet's.
const USUAL_MTU: u32 = 1500;

/// Below, an interface has no IPv6.
const SMALLEST_MTU: u32 = 1280;

/// A bridge and its ports take no more.
const LARGEST_MTU: u32 = 65_535;

/// The interface of the best default route, as `/proc/net/route` has it.
fn way_out_v4(text: &str) -> Option<&str> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, target, _, _, _, _, metric, mask, ..] = words[..] else {
            return None;
        };
        let default = target == "00000000" && mask == "00000000";
        default.then(|| Some((metric.parse::<u32>().ok()?, interface)))?
    });
    routes.min().map(|(_, interface)| interface)
}

/// The same, as `/proc/net/ipv6_route` has it.
fn way_out_v6(text: &str) -> Option<&str> {
    let routes = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [target, bits, _, _, _, metric, _, _, _, interface] = words[..] else {
            return None;
        };
        // What is refused goes to loopback.
        let default = bits == "00" && interface != "lo" && target.bytes().all(|byte| byte == b'0');
        default.then(|| Some((u32::from_str_radix(metric, 16).ok()?, interface)))?
    });
    routes.min().map(|(_, interface)| interface)
}

/// As the kernel writes an address there: in the machine's byte order.
pub(super) fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok().map(u32::from_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_set_back_unless_somebody_else_has_set_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (ours, theirs) = (path("forwarding"), path("accept_ra"));
        fs::write(&ours, "1\n").expect("a file");
        fs::write(&theirs, "0\n").expect("a file");
        let changed = Changed(vec![
            (theirs.clone(), "1".to_owned()),
            (ours.clone(), "0".to_owned()),
        ]);
        let file = directory.path().join("settings.json");
        changed.restore(&file).expect("set back");
        assert_eq!(fs::read_to_string(ours).expect("a file"), "0");
        assert_eq!(fs::read_to_string(theirs).expect("a file"), "0\n");
    }

    #[test]
    fn the_lock_is_on_what_is_there_now() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("network");
        let removed = hold(&place).expect("a directory").expect("the lock");
        fs::remove_dir(&place).expect("removed");
        let now = hold(&place).expect("a directory").expect("nobody has it");
        let busy = flock(
            File::open(&place).expect("it is there"),
            FlockOperation::NonBlockingLockExclusive,
        );
        assert!(busy.is_err(), "it is held");
        drop((removed, now));
    }

    #[test]
    fn each_family_is_remembered_by_itself() {
        let changed = |paths: &[&str]| {
            let all = paths
                .iter()
                .map(|path| ((*path).to_owned(), "0".to_owned()));
            Changed(all.collect()).forwarded_nothing()
        };
        let families = |v4, v6| OnlyOurs { v4, v6 };
        assert_eq!(changed(&[]), families(false, false));
        assert_eq!(changed(&[V4]), families(true, false));
        assert_eq!(changed(&[V6]), families(false, true), "as where Docker is");
        assert_eq!(changed(&[V4, V6]), families(true, true));
    }

    #[test]
    fn the_way_out_is_the_best_default_route() {
        let v4 = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            wlan0 00000000 FE0200C0 0003 0 0 600 00000000 0 0 0\n\
            up0 00000000 FE0200C0 0003 0 0 100 00000000 0 0 0\n\
            up1 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        assert_eq!(way_out_v4(v4), Some("up0"));
        assert_eq!(way_out_v4(""), None);
        let none = "0".repeat(32);
        let route = |bits: &str, metric: &str, interface: &str| {
            format!("{none} {bits} {none} 00 {none} {metric} 1 0 00000003 {interface}\n")
        };
        let v6 = [
            route("00", "ffffffff", "lo"),
            route("40", "00000001", "up2"),
            route("00", "00000400", "up1"),
            route("00", "00000064", "up0"),
        ];
        assert_eq!(way_out_v6(&v6.concat()), Some("up0"));
        assert_eq!(way_out_v6(&v6[..2].concat()), None);
    }

    #[test]
    fn an_address_is_read_as_the_kernel_writes_it() {
        assert_eq!(hexadecimal("0000580A"), Some(0x0a58_0000));
    }
}
