use super::*;
use crate::groups::Groups;
use crate::procfs::Relation;
use porthole_protocol::container::{IdRange, Timestamp};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Update;

const HOST_PID_NS: NamespaceInode = NamespaceInode(10);
const HOST_USER_NS: NamespaceInode = NamespaceInode(11);

fn initial() -> NamespaceSet {
    NamespaceSet {
        pid: Some(HOST_PID_NS),
        user: Some(HOST_USER_NS),
        ..NamespaceSet::default()
    }
}

fn process(pid: i32, parent: i32, namespaces: NamespaceSet) -> Process {
    Process {
        host_pid: HostPid(pid),
        pids: vec![pid],
        parent: Some(HostPid(parent)),
        uid: 200_000,
        uid_inside: None,
        gid: 200_000,
        gid_inside: None,
        command: "x".to_owned(),
        args: vec!["x".to_owned()],
        tty: None,
        state: 'S',
        started_at: Timestamp(0),
        start_ticks: 1,
        threads: 1,
        rss: 0,
        namespaces,
        container: None,
        session: None,
        cgroup: None,
        security: None,
    }
}

/// It is in no container's group.
fn put(model: &mut Model, process: Process) -> bool {
    model.put(process, Arc::default())
}

fn told(model: &mut Model) -> Update {
    model.take_update().expect("something to tell")
}

#[test]
fn the_first_update_is_full_even_of_nothing() {
    let mut model = Model::new(initial());
    assert!(told(&mut model).full);
    assert_eq!(model.take_update(), None);
}

#[test]
fn only_what_changed_is_told() {
    let mut model = Model::new(initial());
    for pid in 1..=5 {
        put(&mut model, process(pid, 0, initial()));
    }
    let first = told(&mut model);
    assert_eq!(first.processes.len(), 5);
    let pid_namespace = &first.namespaces[0];
    assert!(pid_namespace.initial);
    assert_eq!(
        (pid_namespace.processes, pid_namespace.leader),
        (5, Some(HostPid(1)))
    );

    put(&mut model, process(3, 0, initial()));
    assert_eq!(model.take_update(), None, "nothing has changed");

    put(&mut model, process(3, 1, initial()));
    let update = told(&mut model);
    assert!(!update.full);
    assert_eq!(update.processes, [process(3, 1, initial())]);
    assert!(update.namespaces.is_empty());

    model.remove(HostPid(1));
    let update = told(&mut model);
    assert_eq!(update.processes_gone, [HostPid(1)]);
    assert_eq!(update.namespaces[0].leader, Some(HostPid(2)));
}

#[test]
fn a_process_that_came_and_went_untold_is_not_told() {
    let mut model = Model::new(initial());
    told(&mut model);
    for pid in 1..=10_000 {
        let own = NamespaceSet {
            net: Some(NamespaceInode(1000)),
            ..NamespaceSet::default()
        };
        put(&mut model, process(pid, 0, own));
        model.remove(HostPid(pid));
    }
    assert_eq!(model.take_update(), None);
    assert!(model.untold.is_nothing());
    assert!(model.namespaces.is_empty());
}

#[test]
fn a_namespace_lives_as_long_as_something_hangs_from_it() {
    let (inner, middle) = (NamespaceInode(20), NamespaceInode(21));
    let user = |inode, above| Relation {
        kind: NamespaceType::User,
        inode,
        owner: Some(above),
        parent: Some(above),
        owner_uid: None,
        netnsid: None,
    };
    let mut model = Model::new(initial());
    let own = NamespaceSet {
        user: Some(inner),
        ..NamespaceSet::default()
    };
    put(&mut model, process(7, 1, own));
    model.relate(&[user(inner, middle), user(middle, HOST_USER_NS)]);
    let update = told(&mut model);
    let of = |inode| {
        update
            .namespaces
            .iter()
            .find(|n| n.inode == inode)
            .expect("told")
    };
    assert_eq!(of(middle).processes, 0);
    assert_eq!(of(middle).owner, Some(HOST_USER_NS));
    assert_eq!(of(inner).parent, Some(middle));
    assert!(of(HOST_USER_NS).initial);

    // Asking anew and hearing the same changes nothing.
    model.doubt();
    model.relate(&[user(inner, middle), user(middle, HOST_USER_NS)]);
    assert_eq!(model.take_update(), None);

    model.remove(HostPid(7));
    let update = told(&mut model);
    assert_eq!(update.namespaces_gone, [HOST_USER_NS, inner, middle]);
}

#[test]
fn ids_inside_come_with_the_map() {
    let own = NamespaceSet {
        user: Some(NamespaceInode(20)),
        ..NamespaceSet::default()
    };
    let mut model = Model::new(initial());
    put(&mut model, process(7, 1, own));
    model.map(NamespaceInode(20), IdMaps::default());
    assert!(
        !model.is_mapped(NamespaceInode(20)),
        "an empty map is not written yet"
    );
    told(&mut model);

    let range = vec![IdRange(0, 200_000, 65_536)];
    model.map(
        NamespaceInode(20),
        IdMaps {
            users: range.clone(),
            groups: range,
        },
    );
    assert_eq!(told(&mut model).processes[0].uid_inside, Some(0));
    put(&mut model, process(8, 7, own));
    assert_eq!(told(&mut model).processes[0].gid_inside, Some(0));
    model.doubt();
    put(&mut model, process(8, 7, own));
    assert_eq!(model.take_update(), None, "a doubt is not told");
}

#[test]
fn a_number_given_again_is_another_namespace() {
    let number = NamespaceInode(30);
    let mut model = Model::new(initial());
    put(
        &mut model,
        process(
            7,
            1,
            NamespaceSet {
                net: Some(number),
                ..NamespaceSet::default()
            },
        ),
    );
    model.relate(&[Relation {
        kind: NamespaceType::Net,
        inode: number,
        owner: Some(HOST_USER_NS),
        parent: None,
        owner_uid: None,
        netnsid: None,
    }]);
    put(
        &mut model,
        process(
            7,
            1,
            NamespaceSet {
                uts: Some(number),
                ..NamespaceSet::default()
            },
        ),
    );
    assert!(!model.is_related(NamespaceType::Uts, number));
    let update = told(&mut model);
    let namespace = update
        .namespaces
        .iter()
        .find(|n| n.inode == number)
        .expect("told");
    assert_eq!(namespace.kind, NamespaceType::Uts);
    assert_eq!(namespace.processes, 1);
}

#[test]
fn a_large_host_is_told_in_parts() {
    let mut model = Model::new(initial());
    for pid in 1..=5_000 {
        let mut process = process(pid, 0, initial());
        process.args = vec!["\"".repeat(4096)];
        put(&mut model, process);
    }
    let mut seen = 0;
    let mut parts = 0;
    while let Some(update) = model.take_update() {
        assert_eq!(update.full, parts == 0);
        let bytes = serde_json::to_vec(&update).expect("json").len();
        assert!(
            bytes < porthole_protocol::observation::MESSAGE_LIMIT / 4,
            "{bytes} bytes"
        );
        seen += update.processes.len();
        parts += 1;
    }
    assert_eq!(seen, 5_000);
    assert!(parts > 10);
}

#[test]
fn a_notice_is_told_once_and_kept() {
    let mut model = Model::new(initial());
    told(&mut model);
    model.notice(Some("slow".to_owned()));
    assert_eq!(told(&mut model).notice.as_deref(), Some("slow"));
    model.notice(Some("slow".to_owned()));
    assert_eq!(model.take_update(), None);
    model.notice(None);
    assert_eq!(told(&mut model).notice, None);
}

#[test]
fn who_ends_while_frozen_is_not_remembered_as_frozen() {
    let mut groups = Groups::new(&crate::Settings::new(None));
    let path = format!("/system.slice/docker-{}.scope", "a".repeat(64));
    let group = groups.of(format!("0::{path}\n").as_bytes());
    let own = NamespaceSet {
        pid: Some(NamespaceInode(20)),
        ..initial()
    };
    let mut model = Model::new(initial());
    put(&mut model, process(1, 0, initial()));
    model.put(process(7, 1, own), group);
    model.settle();
    assert_eq!(model.groups(), [path.as_str()]);
    model.freeze(&path, true);
    assert!(told(&mut model).containers[0].paused, "the control");
    assert!(model.frozen.contains(&path), "the control");
    model.remove(HostPid(7));
    model.settle();
    assert!(model.frozen.is_empty(), "{:?}", model.frozen);
}
