//! A session in another engine's container: which process is meant, and what its engine configured.

use std::collections::BTreeMap;

use porthole_protocol::container::{Argument, ContainerState, EnvName};
use porthole_protocol::engines::EngineContainer;
use porthole_protocol::namespace::{NamespaceType, PerNamespace};
use porthole_protocol::session::{self, SessionSpec};

use super::OpenSession;
use crate::Refusal;
use crate::world::Foreign;

/// How the keeper finds another engine's container, and knows that it is still that one.
pub(super) fn target(container: &Foreign, open: &OpenSession) -> Result<session::Foreign, Refusal> {
    if container.unconfirmed {
        return Err(Refusal::conflict(
            "unconfirmed",
            format!(
                "Something runs under the identifier of {}, and {} does not say that it is that container. Look at the list of containers in a moment: what is not confirmed by then stands there by itself.",
                container.name,
                container.engine.words()
            ),
        ));
    }
    if container.state == ContainerState::Paused {
        return Err(Refusal::conflict(
            "wrong_state",
            format!(
                "{} is paused: a shell in it would be frozen as it is. Unpause it first.",
                container.name
            ),
        ));
    }
    let pid = container.pid.ok_or_else(|| {
        Refusal::conflict(
            "wrong_state",
            match container.state {
                ContainerState::Running => format!(
                    "{} runs, as its engine says, but none of its processes was seen on this machine.",
                    container.name
                ),
                _ => format!("{} does not run; start it first.", container.name),
            },
        )
    })?;
    Ok(session::Foreign {
        pid,
        start_ticks: container.start_ticks,
        namespaces: PerNamespace::build(|kind| container.namespaces.get(kind).inode),
        env: vouched(container).map(|told| variables(&told.env.0)),
        accept: open.accept.clone(),
        toolbox: open.toolbox.clone(),
    })
}

/// What its engine says of it, where that means the process that is seen. Whoever may make control
/// groups, in a container too, may name one as a container that has ended: what is configured for
/// that one, passwords among it, is not for whatever runs under its name.
fn vouched(container: &Foreign) -> Option<&EngineContainer> {
    let told = container.told.as_deref();
    told.filter(|told| told.pid.is_some() && told.pid == container.pid)
}

/// What an engine says of variables, as far as they can be passed on.
fn variables(told: &[String]) -> BTreeMap<EnvName, Argument> {
    told.iter()
        .filter_map(|variable| variable.split_once('='))
        .filter_map(|(name, value)| Some((name.parse().ok()?, value.to_owned().try_into().ok()?)))
        .collect()
}

/// Where nothing else is asked for, user and directory are those that its engine configured: root
/// where that says nothing, whoever the container's first process has become. They mean something
/// where the container's files are.
pub(super) fn as_configured(spec: &mut SessionSpec, container: &Foreign) {
    let has_files = |join: &Vec<NamespaceType>| join.contains(&NamespaceType::Mnt);
    let Some(told) = vouched(container) else {
        return;
    };
    if !spec.join.as_ref().is_none_or(has_files) {
        return;
    }
    if spec.user.is_none() {
        let user = Some(told.user.as_str()).filter(|user| !user.is_empty());
        spec.user = user.unwrap_or("0").parse().ok();
    }
    if spec.workdir.is_none() {
        spec.workdir = told.workdir.clone().try_into().ok();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::spec;
    use super::*;
    use crate::world::{AnyContainer, World};
    use porthole_protocol::engines::FromBroker;
    use porthole_protocol::observation::{Sighting, Update};

    /// A container that process 900 is seen in, and whose engine says this of its own.
    fn container(pid: Option<i32>, state: &str) -> Arc<Foreign> {
        let id = "5".repeat(64);
        let none: PerNamespace<Option<u64>> = PerNamespace::build(|_| None);
        let sighting: Sighting = serde_json::from_value(json!({
            "id": id, "engine": "docker", "name": null, "init": 900, "start_ticks": 1,
            "started_at": porthole_protocol::container::Timestamp::default(), "uid_map": [], "gid_map": [], "cgroup": null, "within": null,
            "pod": null, "paused": false, "namespaces": none,
        }))
        .expect("a sighting");
        let told: EngineContainer = serde_json::from_value(json!({
            "endpoint": 0, "engine": "docker", "id": id, "name": "db", "image": "postgres",
            "image_id": "", "state": state, "exit_code": null, "oom_killed": false, "error": null,
            "pid": pid, "health": null, "labels": {}, "created_at": null, "started_at": null,
            "finished_at": null, "restarts": 0, "restart_policy": "no", "command": [],
            "entrypoint": [], "env": ["PASSWORD=hunter2"], "workdir": "/data", "user": "worker",
            "hostname": "", "tty": false, "privileged": false, "ports": [], "networks": [],
            "mounts": [], "compose": null, "pod": null, "clipped": false,
        }))
        .expect("a container");
        let world = World::new();
        world.engines(FromBroker::Container(Box::new(told)));
        world.observe(Update {
            full: true,
            containers: vec![sighting],
            ..Update::default()
        });
        match world.find_any("db").expect("there") {
            AnyContainer::Foreign(foreign) => foreign,
            AnyContainer::Own(own) => panic!("another's: {own:?}"),
        }
    }

    #[test]
    fn what_is_configured_is_only_for_the_process_that_its_engine_means() {
        let asked = |container: &Foreign| {
            let mut session = spec(&container.id, OpenSession::default()).expect("a spec");
            as_configured(&mut session, container);
            let foreign = target(container, &OpenSession::default());
            let env = foreign.map(|foreign| foreign.env).map_err(|why| why.code);
            (env, session.user, session.workdir)
        };
        let (env, user, workdir) = asked(&container(Some(900), "running"));
        let env = env
            .expect("it runs")
            .expect("the control: what is configured");
        let password = env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(password.collect::<Vec<_>>(), [("PASSWORD", "hunter2")]);
        assert!(user.is_some() && workdir.is_some());
        // It has ended, or another process is its first: this one only has a group called so.
        for other in [container(None, "exited"), container(Some(901), "running")] {
            let refused = (Err("unconfirmed"), None, None);
            assert_eq!(asked(&other), refused, "{:?}", other.told);
            // Also where that is not asked.
            let mut other = Foreign::clone(&other);
            other.unconfirmed = false;
            assert_eq!(asked(&other), (Ok(None), None, None), "{:?}", other.told);
        }
    }
}
