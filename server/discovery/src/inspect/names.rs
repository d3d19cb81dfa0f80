//! Names of the machine.

use porthole_protocol::inspection::Uts;
use porthole_protocol::namespace::NamespaceType;

use super::Trouble;
use super::target::Target;
use crate::printable;

pub(super) fn read(target: &Target) -> Result<Uts, Trouble> {
    let namespace = target.enter(NamespaceType::Uts)?;
    let name = rustix::system::uname();
    let line = |text: &std::ffi::CStr| printable::line(text.to_bytes());
    Ok(Uts {
        namespace,
        nodename: line(name.nodename()),
        domainname: line(name.domainname()),
        sysname: line(name.sysname()),
        release: line(name.release()),
        version: line(name.version()),
        machine: line(name.machine()),
    })
}
