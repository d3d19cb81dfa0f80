//! Every page with the sample's data: what all of them keep to, and, with `PORTHOLE_GALLERY=DIR`,
//! the pages as files to look at.

use std::collections::BTreeSet;

use porthole_protocol::container::Limits;
use porthole_protocol::id::HostPid;
use porthole_protocol::keeper::{Event, Hello, Policy, VERSION};

use super::compare::{ComparePage, Wanted};
use super::container::{ContainerPage, LogsPage, Tab};
use super::containers::{ContainersPage, Listing};
use super::create::CreatePage;
use super::gate::{LoginPage, RefusedPage, SetupPage};
use super::process::{GonePage, ProcessPage};
use super::processes::ProcessesPage;
use super::sessions::{Listing as SessionListing, SessionsPage};
use super::settings::{LoginRow, SettingsPage, TokenRow, Trouble, usage};
use super::shell::{Host, Shell};
use super::terminal::TerminalPage;
use super::typed::{Errors, Typed};
use super::{Scene, html, sample};
use crate::access::Role;
use crate::access::limits::Amounts;
use crate::store::{Login, Token};
use crate::world::World;

fn host() -> Host {
    Host {
        name: "lab-host".to_owned(),
        kernel: "6.18.44".to_owned(),
    }
}

fn shell(world: &World, scene: Scene<'_>, section: &'static str) -> Shell {
    let mut shell = Shell::new(world, &host(), scene, section).following("/containers");
    shell.origin = "http://127.0.0.1:7678".to_owned();
    shell
}

/// A host with 200 containers.
fn many() -> World {
    let world = sample::world();
    for number in 0..200u8 {
        let mut container = (*world.find("sidecar").expect("there")).clone();
        let mut bytes = [9; 32];
        bytes[0] = number;
        container.id = porthole_protocol::id::ContainerId::from_bytes(bytes);
        container.name = format!("job-{number:03}").parse().expect("valid");
        world.apply(Event::Container(Box::new(container)));
    }
    world
}

fn containers(world: &World, scene: Scene<'_>, listing: &Listing) -> String {
    html(&ContainersPage::new(
        world,
        scene,
        listing,
        shell(world, scene, "containers"),
    ))
}

fn of_container(pages: &mut Vec<(String, String)>, world: &World, scene: Scene<'_>) {
    for (name, tabs) in [
        ("web", Tab::ALL.as_slice()),
        ("sidecar", &[Tab::Namespaces]),
        ("old-lab", &[Tab::Overview, Tab::Processes, Tab::Namespaces]),
        (
            "a-name-as-long-as-docker-lets-it-be-0123456789-0123456789-01234",
            &[Tab::Overview],
        ),
    ] {
        let container = world.find_any(name).expect("there");
        for tab in tabs {
            let shell = shell(world, scene, "containers");
            let page = match tab {
                Tab::Terminal => html(&TerminalPage::new(world, scene, &container, "", shell)),
                Tab::Logs => html(&LogsPage::new(world, scene, &container, shell)),
                tab => html(&ContainerPage::new(world, scene, &container, *tab, shell)),
            };
            pages.push((
                format!("container-{}-{}", &name[..3], tab.title().to_lowercase()),
                page,
            ));
        }
    }
}

fn of_nobody(pages: &mut Vec<(String, String)>) {
    let setup = |done, field: &str, error: &str| {
        html(&SetupPage {
            shell: Shell::outside(""),
            done,
            code: String::new(),
            user: String::new(),
            field: field.to_owned(),
            error: error.to_owned(),
        })
    };
    pages.push(("setup".to_owned(), setup(false, "", "")));
    pages.push((
        "setup-wrong".to_owned(),
        setup(
            false,
            "password",
            "The password has 5 characters. Use at least 12.",
        ),
    ));
    pages.push(("setup-done".to_owned(), setup(true, "", "")));
    for (name, error) in [("login", ""), ("login-wrong", "Name or password is wrong.")] {
        let page = LoginPage {
            shell: Shell::outside(""),
            user: "admin".to_owned(),
            error: error.to_owned(),
            next: "/containers".to_owned(),
        };
        pages.push((name.to_owned(), html(&page)));
    }
}

fn of_settings(pages: &mut Vec<(String, String)>, world: &World, scene: Scene<'_>) {
    let mut page = SettingsPage::new(scene, shell(world, scene, "settings"));
    let login = |id: &str, agent: &str, current| {
        LoginRow::from(&Login {
            id: id.to_owned(),
            created_at: sample::NOW,
            seen_at: sample::NOW,
            address: "192.0.2.7".to_owned(),
            agent: agent.to_owned(),
            current,
        })
    };
    page.local = false;
    page.logins = vec![
        login("a", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", true),
        login("b", "<b>curl</b>", false),
    ];
    let token = |id, expires_at| Token {
        id,
        name: "backup".to_owned(),
        created_at: sample::NOW,
        expires_at,
        used_at: expires_at,
    };
    let tokens = [token(1, None), token(2, Some(sample::NOW))];
    page.tokens = tokens.iter().map(TokenRow::from).collect();
    page.fresh_token = "ph_0123456789abcdef0123456789abcdef0123456789abcdef".to_owned();
    let limits = r#"{"containers":2,"memory":1073741824}"#;
    let allowed = serde_json::from_str(limits).expect("limits");
    let used = Amounts::of_container(&Limits::default());
    page.usage = usage::all(&used, &allowed);
    page.trouble = Trouble {
        form: "token",
        field: "name".to_owned(),
        message: "A token's name says what it is for, in 1 to 100 bytes.".to_owned(),
        ..Trouble::default()
    };
    pages.push(("settings".to_owned(), html(&page)));
}

/// Lists of processes, pages of some, two compared.
fn of_processes(pages: &mut Vec<(String, String)>, scene: Scene<'_>) {
    let world = sample::nested();
    for (name, query) in [
        ("processes", ""),
        ("processes-tree", "view=tree&q=sleep"),
        ("processes-map", "view=map"),
        ("processes-none", "q=nothing"),
        ("processes-kernel", "kernel=shown&sort=-rss"),
    ] {
        let listing = serde_urlencoded::from_str(query).expect("a query");
        let shell = shell(&world, scene, "processes");
        let page = ProcessesPage::new(&world, scene, &listing, shell);
        pages.push((name.to_owned(), html(&page)));
    }
    let crowd = sample::nested();
    sample::fill_with(&crowd, 3000, 2);
    for (name, query) in [("processes-many", ""), ("processes-map-many", "view=map")] {
        let listing = serde_urlencoded::from_str(query).expect("a query");
        let shell = shell(&crowd, scene, "processes");
        let page = ProcessesPage::new(&crowd, scene, &listing, shell);
        pages.push((name.to_owned(), html(&page)));
    }
    for pid in [5712, 7604, 2] {
        let process = world.process(HostPid(pid)).expect("there");
        let shell = shell(&world, scene, "processes");
        let page = ProcessPage::new(&world, scene, &process, shell);
        pages.push((format!("process-{pid}"), html(&page)));
    }
    let gone = GonePage::new(&world, scene, HostPid(4), Some(9), shell(&world, scene, ""));
    pages.push(("process-gone".to_owned(), html(&gone)));
    for (name, a, b) in [
        ("compare", "web", "5712"),
        ("compare-empty", "", ""),
        ("compare-wrong", "web", "<b>"),
    ] {
        let wanted = Wanted {
            a: a.to_owned(),
            b: b.to_owned(),
        };
        let page = ComparePage::new(&world, scene, &wanted, shell(&world, scene, "processes"));
        pages.push((name.to_owned(), html(&page)));
    }
}

#[test]
fn what_a_process_calls_itself_is_text() {
    let admin = sample::admin();
    let mut pages = Vec::new();
    of_processes(
        &mut pages,
        Scene {
            base: "",
            who: &admin,
        },
    );
    for (name, page) in &pages {
        assert!(!page.contains("<b>1d"), "{name}");
        assert!(!page.contains('\u{1b}'), "{name}");
    }
    let deep = pages
        .iter()
        .find(|(name, _)| name == "process-5712")
        .expect("there");
    assert!(deep.1.contains("&#60;b&#62;1d"), "the control");
    let list = pages
        .iter()
        .find(|(name, _)| name == "processes")
        .expect("there");
    assert!(
        !list.1.contains(&"x".repeat(1000)),
        "4 KiB of arguments are cut in a row"
    );
}

fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let world = sample::world();
    let admin = sample::admin();
    let scene = Scene {
        base: "",
        who: &admin,
    };
    pages.push((
        "containers".to_owned(),
        containers(&world, scene, &Listing::default()),
    ));
    pages.push((
        "containers-many".to_owned(),
        containers(&many(), scene, &Listing::default()),
    ));
    let none = Listing {
        q: "nothing".to_owned(),
        ..Listing::default()
    };
    pages.push((
        "containers-none".to_owned(),
        containers(&world, scene, &none),
    ));
    let empty = World::new();
    empty.keeper_came(Hello {
        version: VERSION,
        pid: 1,
        policy: Policy::default(),
        lacking: vec!["No cgroup2 is mounted and none can be: sessions are not tracked by group. Mount one at /sys/fs/cgroup/unified.".to_owned()],
    });
    pages.push((
        "containers-empty".to_owned(),
        containers(&empty, scene, &Listing::default()),
    ));
    let viewer = sample::identity("grace", Role::Viewer);
    let looks = Scene {
        base: "",
        who: &viewer,
    };
    pages.push((
        "containers-viewer".to_owned(),
        containers(&world, looks, &Listing::default()),
    ));
    of_container(&mut pages, &world, scene);
    let docker = super::told::world(true);
    pages.extend(super::told::pages(&docker, scene));
    let listing = Listing::default();
    pages.push(("docker".to_owned(), containers(&docker, scene, &listing)));
    let typed = Typed {
        init: "on".to_owned(),
        ..Typed::fresh(Some("host"))
    };
    let fresh = CreatePage::new(
        &world,
        scene,
        typed.clone(),
        Errors::new(),
        shell(&world, scene, "containers"),
    );
    pages.push(("create".to_owned(), html(&fresh)));
    let bad = Typed {
        name: "../x".to_owned(),
        env: "oops".to_owned(),
        monotonic: "soon".to_owned(),
        ..typed
    };
    let errors = bad.parse().expect_err("wrong");
    let wrong = CreatePage::new(
        &world,
        scene,
        bad,
        errors,
        shell(&world, scene, "containers"),
    );
    pages.push(("create-wrong".to_owned(), html(&wrong)));
    let list = SessionListing::default();
    pages.push((
        "sessions".to_owned(),
        html(&SessionsPage::new(
            &world,
            scene,
            &list,
            shell(&world, scene, "sessions"),
        )),
    ));
    of_processes(&mut pages, scene);
    of_settings(&mut pages, &world, scene);
    of_nobody(&mut pages);
    let refused = RefusedPage {
        shell: shell(&world, scene, ""),
        status: 404,
        title: super::gate::title(404),
        message: "There is no container \"web2\".".to_owned(),
    };
    pages.push(("refused".to_owned(), html(&refused)));
    pages.extend(super::images::tests::pages(scene));
    pages.extend(super::namespaces::tests::pages());
    pages
}

#[test]
fn every_page_keeps_to_the_rules_of_its_policy() {
    for (name, page) in pages() {
        assert!(
            page.starts_with("<!doctype html>"),
            "{name} was not rendered"
        );
        for forbidden in [
            " style=",
            "<style",
            " onclick",
            " onload",
            "javascript:",
            "hx-on",
            "js:",
        ] {
            assert!(!page.contains(forbidden), "{name} holds {forbidden}");
        }
        for script in page.split("<script").skip(1) {
            assert!(
                script.starts_with(" src=") || script.starts_with("&#62;"),
                "{name} holds a script of its own"
            );
        }
        assert!(!page.contains("{{") && !page.contains("{%"), "{name}");
    }
}

#[test]
fn an_id_names_one_element_of_a_page() {
    for (name, page) in pages() {
        let mut seen = BTreeSet::new();
        for rest in page.split(" id=\"").skip(1) {
            let id = rest.split('"').next().unwrap_or_default();
            assert!(seen.insert(id), "{name} has two elements {id}");
        }
    }
}

#[test]
fn every_address_begins_with_the_base_path() {
    let world = sample::world();
    let admin = sample::admin();
    let base = "/porthole";
    let scene = Scene { base, who: &admin };
    let mut pages = Vec::new();
    of_container(&mut pages, &world, scene);
    of_processes(&mut pages, scene);
    of_settings(&mut pages, &world, scene);
    pages.extend(super::images::tests::pages(scene));
    pages.push((
        "containers".to_owned(),
        containers(&world, scene, &Listing::default()),
    ));
    for (name, page) in pages {
        for attribute in [
            " href=\"",
            " src=\"",
            " action=\"",
            " hx-post=\"",
            " hx-get=\"",
            " data-source=\"",
        ] {
            for rest in page.split(attribute).skip(1) {
                let address = rest.split('"').next().unwrap_or_default();
                assert!(
                    address.starts_with("/porthole/") || address.starts_with('#'),
                    "{name}: {attribute}{address}"
                );
            }
        }
    }
}

#[test]
fn what_one_may_not_look_into_is_not_offered() {
    let world = sample::world();
    let stranger = sample::identity("ada", Role::User);
    let scene = Scene {
        base: "",
        who: &stranger,
    };
    let web = world.find_any("web").expect("there");
    let shell = shell(&world, scene, "containers");
    let page = html(&ContainerPage::new(
        &world,
        scene,
        &web,
        Tab::Overview,
        shell,
    ));
    for inside in ["/web/terminal", "/web/logs", "/web/processes", "nginx"] {
        assert!(!page.contains(inside), "{inside}");
    }
}

#[test]
fn the_pages_can_be_looked_at() {
    // Only for people: nothing to write to, nothing to do.
    let Some(directory) = std::env::var_os("PORTHOLE_GALLERY") else {
        return;
    };
    let directory = std::path::PathBuf::from(directory);
    for (name, page) in pages() {
        std::fs::write(directory.join(format!("{name}.html")), page).expect("written");
    }
}
