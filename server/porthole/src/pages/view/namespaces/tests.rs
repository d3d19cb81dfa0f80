//! What pages about namespaces show, to whom, and how fast.

mod changes;

use std::time::{Duration, Instant};

use porthole_protocol::inspection::{Document, Inspected};
use porthole_protocol::keeper::Event;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Update;

use super::super::sample as host;
use super::super::shell::{Host, Shell};
use super::super::{Scene, html};
use super::listing::Listing;
use super::one::{NamespacePage, Shown};
use super::page::{NamespacesPage, region};
use super::survey::Survey;
use super::{detail, one, sample, wires};
use crate::access::Role;
use crate::world::World;

fn listing(query: &str) -> Listing {
    serde_urlencoded::from_str(query).expect("a query")
}

fn rows(world: &World, query: &str) -> Vec<String> {
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let survey = Survey::new(world, scene);
    let found = listing(query).select(&survey);
    found
        .iter()
        .map(|n| format!("{}:{}", n.kind, n.inode))
        .collect()
}

#[test]
fn words_types_and_emptiness_narrow_the_list() {
    let world = sample::world();
    assert_eq!(rows(&world, "type=net&q=registry"), ["net:4026532305"]);
    assert_eq!(rows(&world, "empty=on&type=net"), ["net:4026533000"]);
    assert_eq!(rows(&world, "q=netns/blue"), ["net:4026533000"]);
    assert_eq!(rows(&world, "q=3001"), ["time:4026533001"]);
    assert_eq!(rows(&world, "q=time:[4026533001]"), ["time:4026533001"]);
    assert!(rows(&world, "type=pid&q=8589").contains(&"pid:4026532304".to_owned()));
    assert_eq!(rows(&world, "q=no-such-thing"), Vec::<String>::new());
    let hidden = rows(&world, "").len() - rows(&world, "hide=host").len();
    assert_eq!(hidden, 8);
}

#[test]
fn the_order_is_the_one_that_is_asked_for() {
    let world = sample::world();
    let first = |query: &str| rows(&world, query).remove(0);
    assert_eq!(
        first(""),
        format!("mnt:{}", sample::initial(NamespaceType::Mnt))
    );
    assert_eq!(first("sort=-processes"), first(""), "the host has most");
    let inodes: Vec<_> = rows(&world, "sort=inode")
        .iter()
        .map(|r| r.split(':').nth(1).expect("one").to_owned())
        .collect();
    assert!(inodes.is_sorted());
}

#[test]
fn the_command_of_a_namespace_without_a_process_goes_by_its_file() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "/p",
        who: &who,
    };
    let table = region(&world, scene, &listing("empty=on")).slot("rows");
    assert!(
        table.contains("data-copy=\"nsenter --net=/run/netns/blue\""),
        "{table}"
    );
    assert!(table.contains("data-copy=\"nsenter --time=/proc/912/fd/9\""));
    assert!(table.contains("href=\"/p/namespaces/net/4026533000\""));
    assert!(table.contains("no file leads to it"));
    // Another mount namespace's path is reached through a process that is in it.
    assert!(table.contains("/proc/8589/root/run/"), "{table}");
    assert!(
        !table.contains('\u{202e}') || table.contains("data-copy"),
        "direction marks only in what is copied"
    );
    assert!(!table.contains("<i>"));
}

#[test]
fn command_lines_are_for_who_may_look() {
    let world = sample::world();
    for (role, name, sees_docker, sees_web) in [
        (Role::Admin, "admin", true, true),
        (Role::Viewer, "grace", true, true),
        (Role::User, "admin", false, true),
        (Role::User, "ada", false, false),
    ] {
        let who = host::identity(name, role);
        let scene = Scene {
            base: "",
            who: &who,
        };
        for query in ["", "view=graph", "view=tree", "view=matrix", "view=wires"] {
            let all: String = region(&world, scene, &listing(query)).changes(None);
            if query.is_empty() {
                assert_eq!(all.contains("--listen="), sees_docker, "{role} {name}");
                assert_eq!(all.contains("secret-argument"), sees_web, "{role} {name}");
            }
            assert!(
                sees_docker || !all.contains("--listen="),
                "{role} {name} {query}"
            );
            assert!(
                sees_web || !all.contains("secret-argument"),
                "{role} {name} {query}"
            );
        }
        // Nor are they found by what may not be seen.
        let survey = Survey::new(&world, scene);
        assert_eq!(
            !listing("q=secret-argument").select(&survey).is_empty(),
            sees_web
        );
        let web = world.find("web").expect("there");
        for (kind, may) in [
            (NamespaceType::Mnt, sees_web),
            (NamespaceType::Time, sees_docker),
        ] {
            let inode = web.namespaces.get(kind).inode.expect("one");
            let namespace = world.namespace(inode).expect("there");
            let page = NamespacePage::new(
                &world,
                scene,
                &namespace,
                &Shown::default(),
                shell(&world, scene),
            );
            assert_eq!(
                html(&page).contains("/detail\""),
                may,
                "{role} {name} {kind}"
            );
        }
    }
}

#[test]
fn equal_inodes_have_one_letter() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let region = region(&world, scene, &listing("view=matrix"));
    let rows = region.slot("rows");
    assert_eq!(rows.matches("<b>A</b>").count(), 2, "{rows}");
    assert!(rows.starts_with("<tr id=\"m-host\""));
    assert!(region.slot("sharing").contains("share one net namespace"));
}

#[test]
fn three_levels_are_drawn_three_deep() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let region = region(&world, scene, &listing("view=tree"));
    assert!(
        region.slot("pid-count").ends_with("4 levels deep"),
        "{}",
        region.slot("pid-count")
    );
    for tree in ["pid-tree", "user-tree"] {
        let rows = region.slot(tree);
        let deep = rows.find("      └─ ").or_else(|| rows.find("│     └─ "));
        assert!(deep.is_some(), "{rows}");
    }
}

#[test]
fn a_namespace_that_goes_says_so_and_one_that_changes_changes_alone() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let named = (
        NamespaceType::Net,
        porthole_protocol::id::NamespaceInode(4_026_533_000),
    );
    let before = one::region(&world, scene, named, &Shown::default());
    let list = region(&world, scene, &listing(""));
    let mut changed = (*world.namespace(named.1).expect("there")).clone();
    changed.more_holders = 9;
    world.observe(Update {
        namespaces: vec![changed],
        ..Update::default()
    });
    let changes = region(&world, scene, &listing("")).changes(Some(&list));
    assert_eq!(
        changes, "",
        "a row says two holders and how many more: {changes}"
    );
    let page = one::region(&world, scene, named, &Shown::default());
    assert!(page.changes(Some(&before)).contains("#kept"));
    world.observe(Update {
        namespaces_gone: vec![named.1],
        ..Update::default()
    });
    let gone = one::region(&world, scene, named, &Shown::default());
    assert!(gone.slot("gone").contains("It is gone"));
    let changes = region(&world, scene, &listing("")).changes(Some(&list));
    assert!(
        changes.contains("#n-4026533000\" hx-swap=\"delete\""),
        "{changes}"
    );
    assert!(!changes.contains("#rows"), "{changes}");
}

#[test]
fn a_wire_leads_from_a_bridges_port_to_a_container() {
    let (world, wiring) = sample::wired(30);
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let survey = Survey::new(&world, scene);
    let all = wires::drawn(&survey, &listing(""), &wiring);
    assert!(
        all.contains("<li>veth0003, port of docker0, in the host to eth0 in job-0003</li>"),
        "{all}"
    );
    assert!(all.contains("172.17.0.5/16"), "{all}");
    assert!(
        !all.contains("/16 fe80::"),
        "what every interface has: {all}"
    );
    assert!(
        all.contains("<li>macvlan0 in registry on top of enp0s31f6 in the host</li>"),
        "{all}"
    );
    // Of each pair one line, and a straight one: its port is as high as its other end.
    let pairs: Vec<_> = all.split("<path class=\"pair\"").skip(1).collect();
    assert_eq!(pairs.len(), 31, "{all}");
    let straight = |p: &&&str| !p.split('>').next().unwrap_or_default().contains('V');
    assert_eq!(pairs.iter().filter(straight).count(), 30, "{all}");
    // Loopback and what the kernel makes by itself is nobody's interface.
    assert!(
        all.contains("1 network namespace has only loopback: <a href=\"/namespaces/net/4026533000\">/run/netns/blue"),
        "{all}"
    );
    assert!(!all.contains("tunl0") && !all.contains(">lo<"), "{all}");
    assert!(all.contains("1 network namespace could not be entered."));
    // Of what is searched for, what it is wired to is shown too.
    let one = wires::drawn(&survey, &listing("q=job-0003"), &wiring);
    assert_eq!(one.matches("<g class=\"box\">").count(), 2, "{one}");
    assert_eq!(one.matches("<path class=\"pair\"").count(), 1, "{one}");
}

#[test]
fn more_boxes_than_anybody_reads_are_counted() {
    let (world, wiring) = sample::wired(100);
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let survey = Survey::new(&world, scene);
    let some = wires::drawn(&survey, &listing(""), &wiring);
    assert_eq!(some.matches("<g class=\"box\">").count(), 60);
    assert!(some.contains("view=wires&#38;all=on"), "{some}");
    let all = wires::drawn(&survey, &listing("all=on"), &wiring);
    assert!(!all.contains("are drawn."), "{all}");
}

#[test]
fn a_thousand_containers_are_counted_and_one_click_away() {
    let world = sample::crowd(1000);
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    for (query, drawn) in [
        ("", "200 of 6"),
        ("view=graph", "40 of 1"),
        ("view=tree", " of 1"),
        ("view=matrix", "100 of 1"),
    ] {
        let region = region(&world, scene, &listing(query));
        let more = region.slot("more");
        assert!(
            more.contains(drawn) && more.contains("all=on"),
            "{query}: {more}"
        );
    }
    let all = region(&world, scene, &listing("all=on"));
    assert_eq!(all.slot("more"), "");
    assert!(all.slot("rows").matches("<tr ").count() > 6000);
}

#[test]
fn a_page_of_two_thousand_is_drawn_in_no_time() {
    let world = sample::crowd(330);
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    for (query, most) in [
        ("", 50),
        ("q=job-01", 50),
        ("view=graph", 50),
        ("view=tree", 50),
        ("view=matrix", 50),
    ] {
        // The best of a few: other work on the machine is not what is measured, and a build for
        // tests is some ten times slower than one that is used.
        let most = Duration::from_millis(most * if cfg!(debug_assertions) { 10 } else { 1 });
        let best = (0..3)
            .map(|_| {
                let began = Instant::now();
                let drawn = region(&world, scene, &listing(query));
                assert!(!drawn.slots.is_empty());
                began.elapsed()
            })
            .min();
        let best = best.expect("one");
        println!("{query:?}: {best:?}");
        assert!(best < most, "{query}: {best:?}");
    }
}

#[test]
fn every_address_begins_with_the_base_path() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "/porthole",
        who: &who,
    };
    let mut all = String::new();
    for query in ["", "view=graph", "view=tree", "view=matrix", "view=wires"] {
        all += &html(&NamespacesPage::new(
            &world,
            scene,
            &listing(query),
            shell(&world, scene),
        ));
    }
    let survey = Survey::new(&world, scene);
    let (wired, wiring) = sample::wired(30);
    let read = wires::drawn(&Survey::new(&wired, scene), &listing("q=web"), &wiring);
    all += &read;
    all += &wires::unread("/porthole", &listing("q=web"), "It hung");
    for (kind, read) in documents() {
        let inode = world.find("web").expect("there").namespaces.get(kind).inode;
        let namespace = world.namespace(inode.expect("one")).expect("there");
        all += &html(&NamespacePage::new(
            &world,
            scene,
            &namespace,
            &Shown::default(),
            shell(&world, scene),
        ));
        all += &detail::drawn(&survey, &namespace, read);
    }
    for attribute in [" href=\"", " action=\"", " hx-get=\""] {
        for rest in all.split(attribute).skip(1) {
            let address = rest.split('"').next().unwrap_or_default();
            assert!(
                address.starts_with("/porthole/") || address.starts_with('#'),
                "{attribute}{address}"
            );
        }
    }
}

fn shell(world: &World, scene: Scene<'_>) -> Shell {
    Shell::new(world, &Host::default(), scene, "namespaces").following("/namespaces")
}

/// Something of each type that is read inside, as a reader writes it.
pub(crate) fn documents() -> Vec<(NamespaceType, Inspected)> {
    let all: Vec<Document> =
        serde_json::from_str(include_str!("documents.json")).expect("documents");
    let kinds = NamespaceType::ALL.into_iter();
    kinds
        .zip(all)
        .map(|(kind, document)| match document {
            Document::Inspected(read) => (kind, *read),
            Document::Failed(why) => panic!("{why:?}"),
        })
        .collect()
}

/// The pages, for the gallery.
pub(crate) fn pages() -> Vec<(String, String)> {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let mut pages = Vec::new();
    for (name, query) in [
        ("table", ""),
        ("none", "q=nothing-like-it"),
        ("graph", "view=graph"),
        ("tree", "view=tree"),
        ("matrix", "view=matrix"),
    ] {
        let page = NamespacesPage::new(&world, scene, &listing(query), shell(&world, scene));
        pages.push((format!("namespaces-{name}"), html(&page)));
    }
    for (name, number) in [("few", 2), ("30", 30)] {
        let (world, wiring) = sample::wired(number);
        let listing = listing("view=wires");
        let drawing = wires::drawn(&Survey::new(&world, scene), &listing, &wiring);
        let page = NamespacesPage::new(&world, scene, &listing, shell(&world, scene));
        pages.push((
            format!("namespaces-wires-{name}"),
            html(&page.holding(drawing)),
        ));
    }
    let crowd = sample::crowd(30);
    let page = NamespacesPage::new(&crowd, scene, &listing("view=graph"), shell(&crowd, scene));
    pages.push(("namespaces-graph-30".to_owned(), html(&page)));
    let empty = World::new();
    empty.apply(Event::Synced);
    let page = NamespacesPage::new(&empty, scene, &listing(""), shell(&empty, scene));
    pages.push(("namespaces-empty".to_owned(), html(&page)));
    for (kind, read) in documents() {
        let namespaces = world.namespaces();
        let inode = world.find("web").expect("there").namespaces.get(kind).inode;
        let namespace = namespaces
            .iter()
            .find(|n| Some(n.inode) == inode)
            .expect("there");
        let page = NamespacePage::new(
            &world,
            scene,
            namespace,
            &Shown::default(),
            shell(&world, scene),
        );
        let survey = Survey::new(&world, scene);
        let inside = detail::drawn(&survey, namespace, read);
        let page = html(&page);
        let (before, after) = page
            .split_once("<p class=\"dim\"><span class=\"when-scripts\">")
            .expect("a place");
        let (_, after) = after.split_once("</noscript></p>").expect("an end");
        pages.push((
            format!("namespace-{kind}"),
            format!("{before}{inside}{after}"),
        ));
    }
    let held = world
        .namespace(porthole_protocol::id::NamespaceInode(4_026_533_000))
        .expect("there");
    let page = NamespacePage::new(
        &world,
        scene,
        &held,
        &Shown::default(),
        shell(&world, scene),
    );
    pages.push(("namespace-held".to_owned(), html(&page)));
    pages
}
