//! Settings of the machine that the bridge needs, remembered so that they can be set back.
//!
//! Only forwarding is the machine's own: what else is needed belongs to the bridge and goes with
//! it. Where the machine forwarded nothing before, the table keeps it so for everything that is not
//! a container's (`Ruleset::only_ours`).

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ruleset::OnlyOurs;

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const V6_INTERFACES: &str = "/proc/sys/net/ipv6/conf";

/// What was changed, and what it was before, in the order in which it was done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Changed(Vec<(String, String)>);

/// Whether this machine speaks IPv6.
pub(super) fn speaks_ipv6() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6")
        .is_ok_and(|text| text.trim() == "0")
}

impl Changed {
    fn file(directory: &Path) -> std::path::PathBuf {
        directory.join("settings.json")
    }

    /// What has been changed, as it was written down.
    pub(super) fn read(directory: &Path) -> Self {
        fs::read(Self::file(directory))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Which families the machine did not forward before.
    pub(super) fn forwarded_nothing(&self) -> OnlyOurs {
        let changed = |file| self.0.iter().any(|(path, _)| path == file);
        OnlyOurs {
            v4: changed(V4),
            v6: changed(V6),
        }
    }

    /// Lets the machine forward; what that changes is on disk before it is done.
    pub(super) fn forward(&mut self, directory: &Path, v6: bool) -> io::Result<()> {
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
        fs::write(Self::file(directory), serde_json::to_vec(self)?)?;
        for (path, value) in plan {
            fs::write(path, value)?;
        }
        Ok(())
    }

    /// Sets everything back. What somebody has set otherwise since stays as that is.
    pub(super) fn restore(self, directory: &Path) -> io::Result<()> {
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
        match fs::remove_file(Self::file(directory)) {
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

/// As the kernel writes an address there: in the machine's byte order.
fn hexadecimal(text: &str) -> Option<u32> {
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
        changed.restore(directory.path()).expect("set back");
        assert_eq!(fs::read_to_string(ours).expect("a file"), "0");
        assert_eq!(fs::read_to_string(theirs).expect("a file"), "0\n");
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
    fn an_address_is_read_as_the_kernel_writes_it() {
        assert_eq!(hexadecimal("0000580A"), Some(0x0a58_0000));
    }
}
