//! Commands of the pages about containers.

use porthole_protocol::container::{ContainerSpec, ContainerState};
use porthole_protocol::engine::Engine;
use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::{Isolation, NamespaceType};

use super::super::containers::Listing;
use super::super::{self as view, Scene};
use super::{Api, Equal, equal, lsns, noted, nsenter};
use crate::world::{AnyContainer, World};

/// Makes a container of this specification.
pub fn create(spec: &ContainerSpec, origin: &str) -> String {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    leave_out_defaults(&mut value);
    let body = serde_json::to_string(&value).unwrap_or_default();
    Api(origin).with("POST", "/containers", &shell_words::quote(&body))
}

/// Without what is so anyway.
fn leave_out_defaults(spec: &mut serde_json::Value) {
    let Some(fields) = spec.as_object_mut() else {
        return;
    };
    if let Some(limits) = fields.get_mut("limits").and_then(|l| l.as_object_mut()) {
        limits.retain(|_, v| !v.is_null());
    }
    fields.retain(|name, value| match name.as_str() {
        "init" | "start" => value == false,
        "tty" | "auto_remove" => value == true,
        "restart" => value != "no",
        _ => match value {
            serde_json::Value::Null => false,
            serde_json::Value::Array(items) => !items.is_empty(),
            serde_json::Value::Object(items) => !items.is_empty(),
            _ => true,
        },
    });
}

pub(super) fn making(api: &Api<'_>) -> Equal {
    noted(
        "New container",
        &api.with("POST", "/containers", "'{\"image\": \"busybox\"}'"),
        "The form shows the whole command for what is filled in.",
    )
}

pub(super) fn of_list(api: &Api<'_>, scene: Scene<'_>, query: &str) -> Vec<Equal> {
    let listing: Listing = serde_urlencoded::from_str(query).unwrap_or_default();
    // The columns' names for sorting are the page's own.
    let asked = Listing {
        sort: String::new(),
        ..listing
    };
    let list = format!("/containers{}", view::list::query(&asked));
    let mut rows = vec![equal("This list", &api.get(&list))];
    if scene.who.may_create() {
        rows.push(making(api));
        rows.extend(changes(api, "$NAME", |_| true));
    }
    rows
}

/// What changes a container; `offered` says of each whether it can be done now.
fn changes(api: &Api<'_>, name: &str, offered: impl Fn(&str) -> bool) -> Vec<Equal> {
    let act = |verb: &str| format!("/containers/{name}/{verb}");
    let all = [
        ("Start", api.send("POST", &act("start"))),
        ("Stop", api.send("POST", &act("stop"))),
        ("Restart", api.send("POST", &act("restart"))),
        ("Pause", api.send("POST", &act("pause"))),
        ("Unpause", api.send("POST", &act("unpause"))),
        (
            "Kill",
            api.with("POST", &act("kill"), "'{\"signal\": \"SIGKILL\"}'"),
        ),
        (
            "Remove",
            api.send("DELETE", &format!("/containers/{name}?force=true")),
        ),
    ];
    all.iter()
        .filter(|(does, _)| offered(does))
        .map(|(does, command)| equal(does, command))
        .collect()
}

pub(super) fn of_one(
    api: &Api<'_>,
    world: &World,
    container: &AnyContainer,
    scene: Scene<'_>,
) -> Vec<Equal> {
    let name = view::reference(world, container);
    let of = |what: &str| format!("/containers/{name}{what}");
    let may_look = scene.who.may_look_into_container(container);
    let may_change = scene.who.may_change_any(container);
    let mut rows = Vec::new();
    if let Some(pid) = container.pid() {
        if may_change {
            let open = api.with("POST", &of("/sessions"), "'{\"tty\": true}'");
            rows.push(noted("Terminal", &open, "What it answers names the session; the page attaches to it by WebSocket, at /api/v1/sessions/ID/attach."));
            rows.push(noted("Terminal, by the kernel alone", &enter(container, pid), "As root on the host. These are the namespaces that docker exec -it joins; but this shell stays in the host's control group, and is not confined as the container is."));
        }
        if let Engine::Docker | Engine::Podman = container.engine() {
            let name = shell_words::quote(container.name());
            let exec = format!("{} exec -it {name} sh", container.engine());
            rows.push(equal("Terminal, by its engine", &exec));
        }
        rows.push(equal("Namespaces", &lsns(pid, None)));
    }
    rows.push(equal("Inspect", &api.get(&of(""))));
    if container.pid().is_some() {
        rows.push(equal("Use", &api.get(&of("/stats"))));
    }
    if may_look {
        rows.push(equal("Processes", &api.get(&of("/processes"))));
        rows.push(equal("Mounts", &api.get(&of("/mounts"))));
        rows.push(equal("Network", &api.get(&of("/network"))));
        rows.push(equal("Security", &api.get(&of("/security"))));
        rows.push(equal("Not isolated", &api.get(&of("/isolation"))));
        rows.push(equal("Logs", &api.get(&of("/logs"))));
        let follow = api
            .get(&of("/logs?follow=true"))
            .replacen("curl", "curl -N", 1);
        rows.push(equal("Logs, followed", &follow));
    }
    let managed = match container {
        AnyContainer::Own(_) => true,
        AnyContainer::Foreign(foreign) => world.managed(foreign).is_ok(),
    };
    if may_change && managed {
        let running = matches!(
            container.state(),
            ContainerState::Running | ContainerState::Paused
        );
        let paused = container.state() == ContainerState::Paused;
        rows.extend(changes(api, &name, |does| match does {
            "Start" => !running,
            "Remove" => true,
            "Pause" => running && !paused,
            "Unpause" => paused,
            _ => running,
        }));
        if container.own().is_some() {
            rows.push(equal(
                "Rename",
                &api.with("POST", &of("/rename"), "'{\"name\": \"NEW\"}'"),
            ));
            let body = "'{\"limits\": {\"memory\": 268435456}, \"restart\": \"always\"}'";
            rows.push(equal("Change", &api.with("PATCH", &of(""), body)));
        }
    }
    rows
}

/// A shell in all the namespaces that are not the host's. In the host's own user namespace setns(2)
/// would be refused, and in the others it would change nothing.
fn enter(container: &AnyContainer, pid: HostPid) -> String {
    let kinds = NamespaceType::ALL
        .into_iter()
        .filter(|kind| container.namespaces().get(*kind).isolation != Isolation::Host);
    nsenter(pid, kinds) + " sh"
}
