//! What a container has on disk.

use std::path::Path;

use porthole_protocol::container::{ContainerName, ContainerSpec, IdRange};
use porthole_protocol::id::ContainerId;
use porthole_protocol::keeper::{Failure, FailureCode, Stage};

use crate::Images;

/// Makes a container's writable layer in `directory` (which exists, 0700, root's): `upper`, `work`
/// and what its image needs beside them, with `/etc/hostname`, `/etc/hosts` and
/// `/etc/resolv.conf`. Fails for an image that is not known (`ImageNotFound`) or unavailable
/// (`Unsupported`); what it had made is gone then.
pub fn create_root(
    _directory: &Path,
    _id: &ContainerId,
    _name: &ContainerName,
    _spec: &ContainerSpec,
    _ids: IdRange,
    _images: &Images,
) -> Result<(), Failure> {
    Err(Failure::new(FailureCode::Internal, "not built yet").stage(Stage::Image))
}

/// Deletes what [`create_root`] made and everything the container wrote there, without following
/// a link. `directory` itself stays. It is no error that there is nothing.
pub fn remove_root(_directory: &Path) -> Result<(), Failure> {
    Err(Failure::new(FailureCode::Internal, "not built yet").stage(Stage::Cleanup))
}
