//! Starting a session in a container of another engine.

use std::path::Path;

use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Foreign, Target};
use porthole_runtime::{ForeignGroup, JoinForeign, Recorder};

use super::begin::{Begun, session};
use super::group::Group;
use super::{Assignment, Ground, directory, io_failure};
use crate::ledger::Joining;
use crate::store;

/// The file in a session's directory that says where its group is, for a keeper whose monitor of it
/// is gone.
pub(crate) const GROUP: &str = "group.json";

/// The session's group, written down and not made yet. `None` for everything else.
pub(super) fn find_group(
    ground: &Ground,
    assignment: &Assignment<'_>,
    directory: &Path,
) -> Result<Option<ForeignGroup>, Failure> {
    let Assignment::Foreign {
        joining, foreign, ..
    } = assignment
    else {
        return Ok(None);
    };
    let group = ground.cgroups.of_process(foreign.pid, &joining.session)?;
    store::write(&directory.join(GROUP), &group.path())
        .map_err(|error| io_failure(&error, "the session's group cannot be written down"))?;
    Ok(Some(group))
}

/// The group of what is assigned.
pub(super) fn group_of<'a>(
    ground: &'a Ground,
    assignment: &'a Assignment<'_>,
    found: Option<&'a ForeignGroup>,
) -> Group<'a> {
    let cgroups = &ground.cgroups;
    match assignment {
        Assignment::Container { config, .. } => Group::Container {
            cgroups,
            id: &config.id,
        },
        Assignment::Session {
            joining, config, ..
        } => Group::Session {
            cgroups,
            container: &config.id,
            id: &joining.session,
        },
        Assignment::Foreign { joining, .. } => match found {
            Some(group) => Group::Foreign {
                group,
                shares_pids: joins(joining, NamespaceType::Pid),
            },
            None => Group::Nothing,
        },
    }
}

fn joins(joining: &Joining, kind: NamespaceType) -> bool {
    let chosen = joining.spec.join.as_ref();
    chosen.is_none_or(|chosen| chosen.contains(&kind))
}

pub(super) fn begin(
    ground: &Ground,
    (joining, foreign, privileged): (&Joining, &Foreign, bool),
    group: &ForeignGroup,
    trace: &mut Recorder,
) -> Result<Begun, Failure> {
    let directory = directory(&ground.places, &Target::Session(joining.session.clone()));
    let joined = porthole_runtime::join_foreign(
        &JoinForeign {
            session: &joining.session,
            spec: &joining.spec,
            foreign,
            group,
            privileged,
            images: &ground.images,
            directory: &directory,
            cache: &ground.places.run.join("filters"),
        },
        trace,
    )?;
    Ok(session(joining, joined))
}
