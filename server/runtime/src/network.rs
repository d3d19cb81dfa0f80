//! What a container reaches, and who reaches it.
//!
//! Each has its loopback interface ([`raise_loopback`]). One whose network is the bridge has a port
//! of it too, made by its monitor; what is inside its network namespace it sets itself, before it
//! confines itself. Root's policy says whether there is a bridge at all.
//!
//! ```text
//! monitor   begin: a place, ports, the bridge; nft starts ─┐ meanwhile: clone, ids, overlays
//!           finish: the filter is set; the pair, plugged in ┘
//!           go ──────────────────────────────────────────> init-to-be: address, routes, names
//!           …
//!           leave: unplugged, the filter without it; the last one takes everything away
//! ```

mod attached;
mod bridge;
mod connections;
mod conntrack;
mod cover;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod links;
mod machine;
mod names;
mod netlink;
mod nft;
pub mod pool;
mod ports;
mod registry;
mod ruleset;
pub mod watch;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};

pub use self::attached::Attached;
pub(crate) use self::attached::Pending;
pub use self::bridge::{Bridge, Prepared};
pub use self::connections::CONNECTIONS;
pub(crate) use self::cover::{COVERS, attach as attach_covers};
use self::netlink::Netlink;
pub use self::registry::Attachment;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// How a container is to be attached to the bridge.
#[derive(Debug)]
pub struct Attaching<'a> {
    /// To which.
    pub bridge: &'a Bridge,
    /// As whom.
    pub attachment: Attachment,
    /// Name servers that were asked for; none: the machine's.
    pub dns: &'a [IpAddr],
}

impl Attaching<'_> {
    /// What the container sees as `/etc/hosts` and `/etc/resolv.conf`, as mounts; the second is
    /// written, in the container's directory.
    pub(crate) fn name_files(&self, directory: &Path) -> Result<[OwnedFd; COVERS], StepError> {
        let owner = &self.attachment.owner;
        self.bridge.name_files(owner, directory, self.dns)
    }

    /// The container's share, once it is plugged in.
    pub(crate) fn configure_inside(&self, trace: &mut Recorder) -> Result<(), StepError> {
        let (pool, number) = (self.bridge.pool(), self.attachment.number);
        let addresses: Vec<String> = pool
            .addresses(number)
            .iter()
            .map(ToString::to_string)
            .collect();
        let call = format!(
            "sendto(NETLINK_ROUTE, RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE {{eth0, {}}})",
            addresses.join(", ")
        );
        trace.step(Step::SetAddresses, call, || {
            links::configure_inside(pool, number)
        })
    }
}

/// Its number in every network namespace.
const LOOPBACK: u32 = 1;

/// Sets the loopback interface of this process's network namespace up.
pub(crate) fn raise_loopback(trace: &mut Recorder) -> Result<(), StepError> {
    trace.step(
        Step::RaiseLoopback,
        "sendto(NETLINK_ROUTE, RTM_NEWLINK {lo, IFF_UP})",
        || {
            let mut link = LinkMessage::default();
            link.header.index = LOOPBACK;
            link.header.flags = LinkFlags::Up;
            link.header.change_mask = LinkFlags::Up;
            Netlink::open()?.order(RouteNetlinkMessage::SetLink(link), 0)
        },
    )
}
