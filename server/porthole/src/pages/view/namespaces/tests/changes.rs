//! What holds namespaces beside processes, and when the wires are read anew.

use porthole_protocol::id::HostPid;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Holder, Update};

use super::super::survey::Survey;
use super::super::{concerns, page::region, sample, table};
use super::{Scene, host, listing};
use crate::world::Change;

#[test]
fn wires_are_read_anew_when_they_may_have_changed() {
    let world = sample::world();
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let drawn = || region(&world, scene, &listing("view=wires"));
    let before = drawn();
    assert!(before.slot("pulse").contains("/namespaces/wires"));
    let process = |pid: i32, net: u64| {
        let mut process = host::process(pid, 1, &[pid], "ip");
        process.namespaces = sample::set(&[(NamespaceType::Net, net)]);
        Update {
            processes: vec![process],
            ..Update::default()
        }
    };
    let gone = |pid: i32| Update {
        processes_gone: vec![HostPid(pid)],
        ..Update::default()
    };
    // A program of the host's that ends has changed no wire that is not told by itself.
    world.observe(process(9900, sample::initial(NamespaceType::Net).0));
    world.observe(gone(9900));
    assert_eq!(drawn().changes(Some(&before)), "");
    // One in a network of which nothing is heard may have.
    world.observe(process(9901, 4_026_533_000));
    world.observe(gone(9901));
    let changes = drawn().changes(Some(&before));
    assert_eq!(changes.matches("<hx-partial").count(), 1, "{changes}");
    assert!(changes.contains("#pulse"), "{changes}");
    let before = drawn();
    world.observe(Update {
        wires: true,
        ..Update::default()
    });
    assert!(drawn().changes(Some(&before)).contains("#pulse"));
    assert!(concerns(&world, "/namespaces", &[Change::Wires]));
}

#[test]
fn threads_and_children_hold_namespaces_and_networks_have_numbers() {
    let world = sample::world();
    let pid = HostPid(912);
    let mut net = sample::namespace(NamespaceType::Net, 4_026_534_000, None, 0);
    net.netnsid = Some(77);
    net.holders = vec![Holder::Thread { pid, tid: 915 }];
    let mut time = sample::namespace(NamespaceType::Time, 4_026_534_001, None, 0);
    time.holders = vec![Holder::Children { pid }];
    world.observe(Update {
        namespaces: vec![net, time],
        ..Update::default()
    });
    let who = host::admin();
    let scene = Scene {
        base: "",
        who: &who,
    };
    let survey = Survey::new(&world, scene);
    let [net, time] = ["4026534000", "4026534001"].map(|inode| {
        let (slot, _) = table::slot(&survey, &listing(&format!("q={inode}")));
        slot.parts
            .into_iter()
            .map(|part| part.html)
            .collect::<String>()
    });
    for part in ["thread 915 of 912 ip", "/proc/912/task/915/ns/net", ">77<"] {
        assert!(net.contains(part), "{part}: {net}");
    }
    for part in ["for children of 912 ip", "/proc/912/ns/time_for_children"] {
        assert!(time.contains(part), "{part}: {time}");
    }
    assert!(!time.contains("unassigned"), "it is no network: {time}");
}
