use super::*;
use proptest::prelude::*;

const EXAMPLE: &[u8] =
    br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue
40 36 0:5 / /mnt\0402/a\011b\012c\134d rw unbindable - tmpfs  size=1k
41 36 0:6 / /x rw new_tag master:3 propagate_from:2 - fuse.lxcfs lxcfs rw
";

#[test]
fn fields_are_told_apart() {
    let all: Vec<_> = entries(EXAMPLE).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].path, b"/mnt 2");
    assert_eq!(all[0].root, b"/mnt1");
    assert_eq!((all[0].master, all[0].shared), (Some(1), Some(7)));
    assert_eq!(all[0].super_options, b"rw,errors=continue");
    assert_eq!(all[1].path, b"/mnt 2/a\tb\nc\\d");
    assert!(all[1].unbindable && all[1].source.is_empty());
    assert_eq!(all[1].super_options, b"size=1k");
    assert_eq!((all[2].from, all[2].master), (Some(2), Some(3)));
    assert_eq!(all[2].fstype, b"fuse.lxcfs");
    assert_eq!(entries(b"1 2 3\nnonsense\n\n").count(), 0);
}

#[test]
fn only_whole_escapes_are_undone() {
    for (raw, text) in [
        (&br"a\040b"[..], &b"a b"[..]),
        (br"\", br"\"),
        (br"\04", br"\04"),
        (br"\480", br"\480"),
        (br"\134040", br"\040"),
        (br"\377", b"\xff"),
    ] {
        assert_eq!(unescaped(raw), text);
    }
}

fn list(mounts: &[(u64, u64, &str)]) -> String {
    let line = |(id, parent, path): &(u64, u64, &str)| {
        format!("{id} {parent} 0:1 / {path} rw - tmpfs none rw\n")
    };
    mounts.iter().map(line).collect()
}

fn hidden_of(mounts: &[(u64, u64, &str)]) -> Vec<(u64, u64)> {
    let text = list(mounts);
    let all: Vec<_> = entries(text.as_bytes()).collect();
    let order = tree(&all);
    assert_eq!(order.len(), all.len());
    let mut found: Vec<_> = hidden(&all, &order).into_iter().collect();
    found.sort_unstable();
    found
}

#[test]
fn what_lies_under_a_later_mount_is_hidden() {
    let plain = [(1, 0, "/"), (2, 1, "/a"), (3, 2, "/a/b"), (4, 1, "/ab")];
    assert_eq!(hidden_of(&plain), []);
    // On the same place: with all that is on it.
    let stacked = [
        (1, 0, "/"),
        (2, 1, "/a"),
        (3, 2, "/a/b"),
        (5, 2, "/a"),
        (6, 5, "/a/c"),
    ];
    assert_eq!(hidden_of(&stacked), [(2, 5), (3, 5)]);
    let twice = [(1, 0, "/"), (2, 1, "/a"), (3, 2, "/a"), (4, 3, "/a")];
    assert_eq!(hidden_of(&twice), [(2, 3), (3, 4)]);
    // Above it.
    let above = [
        (1, 0, "/"),
        (2, 1, "/a/b/c"),
        (3, 1, "/a"),
        (4, 2, "/a/b/c/d"),
    ];
    assert_eq!(hidden_of(&above), [(2, 3), (4, 3)]);
    // A root that was mounted over hides everything but the new one.
    let root = [(1, 0, "/"), (2, 1, "/a"), (3, 1, "/")];
    assert_eq!(hidden_of(&root), [(1, 3), (2, 3)]);
}

#[test]
fn children_follow_their_parents() {
    let text = list(&[
        (9, 5, "/a/b"),
        (5, 1, "/a"),
        (1, 1, "/"),
        (7, 1, "/c"),
        (8, 9, "/a/b/c"),
    ]);
    let all: Vec<_> = entries(text.as_bytes()).collect();
    let order: Vec<_> = tree(&all)
        .into_iter()
        .map(|(place, depth)| (all[place].id, depth))
        .collect();
    assert_eq!(order, [(1, 0), (5, 1), (9, 2), (8, 3), (7, 1)]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let all: Vec<_> = entries(&bytes).collect();
        let order = tree(&all);
        let _ = hidden(&all, &order);
        prop_assert!(order.len() <= all.len());
    }

    #[test]
    fn any_tree_is_walked_once(parents in proptest::collection::vec(0u64..40, 1..40)) {
        let mounts: Vec<_> = parents
            .iter()
            .enumerate()
            .map(|(n, parent)| (n as u64 + 1, *parent, "/x"))
            .collect();
        let text = list(&mounts);
        let all: Vec<_> = entries(text.as_bytes()).collect();
        let order = tree(&all);
        let _ = hidden(&all, &order);
        let unique: HashSet<_> = order.iter().map(|(place, _)| place).collect();
        prop_assert_eq!(unique.len(), order.len());
    }
}
