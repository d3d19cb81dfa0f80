//! Containers of other engines as their pages show them, with what their engine tells of them.

use std::collections::BTreeMap;
use std::time::Instant;

use porthole_protocol::container::RestartPolicy;
use porthole_protocol::engine::Engine;
use porthole_protocol::engines::{
    Compose, EndpointId, EngineContainer, EngineState, Environment, FromBroker, Health, Hello,
    HostPort, Mount, Network, Port, RunState, VERSION,
};
use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::observation::Update;

use super::container::{ContainerPage, LogsPage, Tab};
use super::containers::{self, Listing};
use super::shell::{Host, Shell};
use super::terminal::TerminalPage;
use super::{Scene, html, sample};
use crate::access::{Identity, Role};
use crate::engines::Availability;
use crate::world::World;

const NAME: &str = "shop-db-<1>";

fn told(id: ContainerId, name: &str, state: RunState) -> EngineContainer {
    EngineContainer {
        endpoint: EndpointId(0),
        engine: Engine::Docker,
        id,
        name: name.to_owned(),
        image: "postgres:16".to_owned(),
        image_id: format!("sha256:{}", "ab".repeat(32)),
        state,
        exit_code: (state == RunState::Exited).then_some(137),
        oom_killed: state == RunState::Exited,
        error: None,
        pid: (state == RunState::Running).then_some(HostPid(5600)),
        health: Some(Health::Unhealthy),
        labels: BTreeMap::from([("com.example.<b>".to_owned(), "a\u{202e}b".to_owned())]),
        created_at: Some(sample::NOW),
        started_at: Some(sample::NOW),
        finished_at: (state == RunState::Exited).then_some(sample::NOW),
        restarts: 2,
        restart_policy: RestartPolicy::OnFailure { most: 3 },
        command: vec!["postgres".to_owned()],
        entrypoint: vec!["docker-entrypoint.sh".to_owned()],
        env: Environment(vec!["POSTGRES_PASSWORD=hunter2".to_owned()]),
        workdir: "/var/lib".to_owned(),
        user: "postgres".to_owned(),
        hostname: "db".to_owned(),
        tty: false,
        privileged: true,
        ports: vec![
            Port {
                container: 5432,
                protocol: "tcp".to_owned(),
                host: Some(HostPort {
                    address: "::1".to_owned(),
                    port: 15432,
                }),
            },
            Port {
                container: 9000,
                protocol: "udp".to_owned(),
                host: None,
            },
        ],
        networks: vec![Network {
            name: "shop_default".to_owned(),
            addresses: vec!["172.18.0.2/16".to_owned()],
            mac: None,
            gateway: None,
        }],
        mounts: vec![Mount {
            kind: "volume".to_owned(),
            name: Some("shop_data".to_owned()),
            source: "/var/lib/docker/volumes/shop_data/_data".to_owned(),
            destination: "/var/lib/postgresql".to_owned(),
            writable: true,
        }],
        compose: Some(Compose {
            project: "shop".to_owned(),
            service: Some("db".to_owned()),
        }),
        pod: None,
        clipped: false,
    }
}

fn engine(trouble: Option<&str>) -> FromBroker {
    FromBroker::Engine(Box::new(EngineState {
        endpoint: EndpointId(0),
        engine: Engine::Docker,
        socket: "/run/docker.sock".to_owned(),
        version: Some("28".to_owned()),
        trouble: trouble.map(str::to_owned),
    }))
}

/// The nested sample, with what Docker tells of its container and of one that has ended.
pub(super) fn world(manage: bool) -> World {
    let world = sample::nested();
    world.engines(FromBroker::Hello(Hello {
        version: VERSION,
        pid: HostPid(2),
        manage,
    }));
    world.engines(engine(None));
    for container in [
        told(sample::id(0xd0), NAME, RunState::Running),
        told(sample::id(0xd1), "ended", RunState::Exited),
    ] {
        world.engines(FromBroker::Container(Box::new(container)));
    }
    world.engines(FromBroker::Synced);
    world.engines_are(Availability::There);
    world
}

fn shell(world: &World, scene: Scene<'_>) -> Shell {
    Shell::new(world, &Host::default(), scene, "containers").following("/containers")
}

/// Every page of Docker's container, by its name.
pub(super) fn pages(world: &World, scene: Scene<'_>) -> Vec<(String, String)> {
    let container = world.any_container(&sample::id(0xd0)).expect("there");
    let one = |tab: Tab| {
        let shell = shell(world, scene);
        match tab {
            Tab::Terminal => html(&TerminalPage::new(world, scene, &container, "", shell)),
            Tab::Logs => html(&LogsPage::new(world, scene, &container, shell)),
            tab => html(&ContainerPage::new(world, scene, &container, tab, shell)),
        }
    };
    let named = |tab: Tab| (format!("docker-{}", tab.title().to_lowercase()), one(tab));
    Tab::ALL.into_iter().map(named).collect()
}

fn overview(world: &World, who: &Identity) -> String {
    let scene = Scene { base: "", who };
    let mut pages = pages(world, scene);
    pages.swap_remove(0).1
}

#[test]
fn what_an_engine_tells_is_among_the_facts_and_variables_are_not_in_the_page() {
    let admin = sample::admin();
    let page = overview(&world(true), &admin);
    for fact in [
        "shop-db-&#60;1&#62;",
        "postgres:16",
        "unhealthy: its check fails",
        "at most 3 times; 2 times so far",
        "[::1]:15432 → 5432/tcp; 9000/udp, not published",
        "shop_default (172.18.0.2/16)",
        "project shop",
        "<strong>Privileged.</strong>",
        "com.example.&#60;b&#62;",
        "docker-entrypoint.sh postgres",
    ] {
        assert!(page.contains(fact), "{fact} in {page}");
    }
    assert!(
        !page.contains("hunter2") && !page.contains("PASSWORD"),
        "{page}"
    );
    let stranger = overview(&world(true), &sample::identity("grace", Role::User));
    assert!(stranger.contains("postgres:16"), "{stranger}");
    for closed in ["com.example", "docker-entrypoint.sh postgres"] {
        assert!(!stranger.contains(closed), "{closed} in {stranger}");
    }
    let variables = super::tabs::environment(["POSTGRES_PASSWORD=hunter2", "EMPTY"]);
    assert!(variables.contains("hunter2"), "the control: {variables}");
}

#[test]
fn buttons_are_there_where_the_engine_can_be_asked_and_else_a_line_says_why() {
    let admin = sample::admin();
    let buttons = ["/stop\"", "/restart\"", "/pause\"", "/kill\"", "/remove\""];
    let managed = overview(&world(true), &admin);
    for button in buttons {
        assert!(managed.contains(button), "{button}");
    }
    assert!(managed.contains("Docker deletes what it wrote"), "asks");
    let trouble = world(true);
    trouble.engines(engine(Some("it hangs")));
    let away = world(true);
    away.engines_are(Availability::Away);
    let unnamed = sample::nested();
    for (world, why) in [
        (world(false), "manage = true"),
        (
            trouble,
            "Docker does not answer, so it cannot be changed now: it hangs",
        ),
        (away, "it is being restarted"),
        (unnamed, "docker = true"),
    ] {
        let page = overview(&world, &admin);
        assert!(page.contains(why), "{why} in {page}");
        for button in buttons {
            assert!(!page.contains(button), "{button} although {why}");
        }
        let viewer = overview(&world, &sample::identity("grace", Role::Viewer));
        assert!(!viewer.contains("policy.toml"), "it is root's business");
    }
}

#[test]
fn an_engine_in_trouble_is_a_line_of_the_list() {
    let admin = sample::admin();
    let scene = Scene {
        base: "",
        who: &admin,
    };
    let lines =
        |world: &World| containers::region(world, scene, &Listing::default()).slot("engines");
    let world = world(true);
    assert_eq!(lines(&world).trim(), "");
    world.engines(engine(Some("connecting: timed out")));
    let line = lines(&world);
    assert!(
        line.contains("Docker at /run/docker.sock does not answer"),
        "{line}"
    );
    assert!(
        line.contains("timed out.</span>") || line.contains("timed out. Its"),
        "{line}"
    );
    // Where it listens and what was said there is for administrators.
    for role in [Role::Viewer, Role::User] {
        let who = sample::identity("ada", role);
        let scene = Scene {
            base: "",
            who: &who,
        };
        let line = containers::region(&world, scene, &Listing::default()).slot("engines");
        assert!(line.contains("Docker does not answer"), "{line}");
        assert!(!line.contains("docker.sock"), "{line}");
        assert!(!line.contains("timed out"), "{line}");
        let told = serde_json::to_string(&world.engine_states(&who)).expect("JSON");
        assert!(told.contains("Docker does not answer"), "{told}");
        assert!(!told.contains("docker.sock"), "{told}");
        assert!(!told.contains("timed out"), "{told}");
    }
    let told = serde_json::to_string(&world.engine_states(&admin)).expect("JSON");
    assert!(
        told.contains("docker.sock") && told.contains("timed out"),
        "{told}"
    );
    let unasked = lines(&sample::nested());
    assert!(unasked.contains("docker = true"), "{unasked}");
}

#[test]
fn nested_ones_stand_below_what_they_run_in_and_a_project_is_a_filter() {
    let admin = sample::admin();
    let scene = Scene {
        base: "",
        who: &admin,
    };
    let world = world(true);
    let rows = |listing: &Listing| containers::region(&world, scene, listing).slot("rows");
    let usual = rows(&Listing::default());
    let place = |rows: &str, id: &str| rows.find(&format!("id=\"c-{id}")).expect("a row");
    let (outer, inner) = (sample::id(0xd0), "none-5710-1");
    let between = &usual[place(&usual, outer.as_str())..place(&usual, inner)];
    assert_eq!(between.matches("<tr ").count(), 1, "right below it");
    assert!(usual.contains("class=\"name nested in-1\""), "{usual}");
    let sorted = rows(&Listing {
        sort: "name".to_owned(),
        ..Listing::default()
    });
    assert!(!sorted.contains("nested in-"), "an order of one's own");
    let shop = rows(&Listing {
        group: "shop".to_owned(),
        ..Listing::default()
    });
    assert_eq!(shop.matches("<tr ").count(), 2, "{shop}");
}

#[test]
fn two_thousand_containers_are_counted_and_some_of_them_shown() {
    let world = world(true);
    let containers = (0..2000u32).map(|number| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let id = ContainerId::from_bytes(bytes);
        told(id, &format!("job-{number:04}"), RunState::Created)
    });
    world.engines(FromBroker::Hello(Hello {
        version: VERSION,
        pid: HostPid(2),
        manage: true,
    }));
    for container in containers {
        world.engines(FromBroker::Container(Box::new(container)));
    }
    world.engines(FromBroker::Synced);
    let admin = sample::admin();
    let scene = Scene {
        base: "",
        who: &admin,
    };
    let begun = Instant::now();
    let region = containers::region(&world, scene, &Listing::default());
    eprintln!("a list of 2000: {:?}", begun.elapsed());
    assert_eq!(region.slot("rows").matches("<tr ").count(), 200);
    let more = region.slot("more");
    assert!(more.contains("?show=400"), "{more}");
    let all = world.any_containers().len();
    assert!(region.slot("count").contains(&all.to_string()), "{all}");
    // One that changes is sent alone.
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&1999u32.to_be_bytes());
    let changed = told(
        ContainerId::from_bytes(bytes),
        "job-0000-now",
        RunState::Created,
    );
    world.engines(FromBroker::Container(Box::new(changed)));
    let after = containers::region(&world, scene, &Listing::default());
    let sent = after.changes(Some(&region));
    assert!(sent.len() < 10_000, "{} bytes", sent.len());
}

#[test]
fn a_process_that_is_gone_leaves_what_its_engine_tells() {
    let world = world(true);
    world.observe(Update {
        containers_gone: vec![sample::id(0xd0)],
        processes_gone: vec![HostPid(5600)],
        ..Update::default()
    });
    let page = overview(&world, &sample::admin());
    assert!(page.contains("postgres:16"), "{page}");
}
