use super::*;
use proptest::prelude::*;

/// A stat file with this name.
fn stat_file(command: &[u8]) -> Vec<u8> {
    let mut file = b"4242 (".to_vec();
    file.extend_from_slice(command);
    file.extend_from_slice(
        b") S 17 4242 4200 34817 4242 4194304 101 0 0 0 1 2 0 0 20 0 3 0 987654 2318336 345 \
          18446744073709551615 1 1 0 0 0 0 0 0 65538 1 0 0 17 1 0 0 0 0 0 1 1 1 1 1 1 1 0\n",
    );
    file
}

#[test]
fn stat_of_a_shell() {
    assert_eq!(
        stat(&stat_file(b"bash")),
        Some(Stat {
            command: b"bash",
            state: 'S',
            parent: 17,
            tty: 34817,
            kernel: false,
            threads: 3,
            start_ticks: 987_654,
            rss_pages: 345,
        })
    );
}

#[test]
fn a_name_cannot_forge_the_fields_after_it() {
    for name in [
        b") R (".as_slice(),
        b") R 1 1 1 1 1 (",
        b"((((",
        b"))))",
        b"",
        b" ",
        b"a\nb\n0::/x",
        b"\xff\xfe\x00",
    ] {
        let file = stat_file(name);
        let stat = stat(&file).unwrap_or_else(|| panic!("{name:?} was not read"));
        assert_eq!(stat.command, name);
        assert_eq!(
            (stat.state, stat.parent, stat.start_ticks),
            ('S', 17, 987_654)
        );
    }
}

#[test]
fn a_thread_of_the_kernel_is_one() {
    let line = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 1 0 0 20 0 1 0 5 0 0 0 0 0";
    assert!(stat(line).expect("valid").kernel);
}

#[test]
fn half_a_stat_is_none() {
    let whole = stat_file(b"bash");
    for end in 0..whole.iter().position(|b| *b == b'\n').expect("line") - 160 {
        // Cut inside the last field that is used a shorter number is still a number.
        if let Some(found) = stat(&whole[..end]) {
            assert_eq!(found.start_ticks, 987_654, "cut at {end}");
        }
    }
    assert_eq!(stat(b""), None);
    assert_eq!(stat(b")("), None);
    assert_eq!(stat(b"1 (x) SS 1 1"), None);
}

#[test]
fn pids_at_every_level() {
    let file = b"Name:\tNSpid:\t9\nNStgid:\t8589\t12\nNSpid:\t8589\t12\t1\nNSpgid:\t0\n";
    assert_eq!(status(file).pids, Some(vec![8589, 12, 1]));
    for bad in [b"Name:\tx\n".as_slice(), b"NSpid:\n", b"NSpid:\tx\n"] {
        assert_eq!(status(bad).pids, None, "{bad:?}");
    }
}

#[test]
fn what_confines_a_process() {
    let whole = "Name:\tx\\nSeccomp:\t0\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                 CapEff:\t00000000a80425fb\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n\
                 Seccomp_filters:\t1\n";
    let security = Security {
        effective: 0xa804_25fb,
        bounding: 0x1ff_ffff_ffff,
        no_new_privs: true,
        seccomp: 2,
    };
    assert_eq!(status(whole.as_bytes()).security, Some(security));
    let without = whole.replace("\nSeccomp:\t2", "");
    let found = status(without.as_bytes()).security.expect("the others");
    assert_eq!(found.seccomp, 0);
    assert_eq!(status(b"CapEff:\t0\nCapBnd:\tx\n").security, None);
}

#[test]
fn namespaces_mounted_on_files() {
    let mountinfo = b"\
        22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
        90 22 0:4 net:[4026532281] /run/netns/a\\040b rw shared:2 master:1 - nsfs nsfs rw\n\
        91 22 0:4 net:[4026532281] /x rw - nsfs nsfs rw\n\
        92 22 0:4 mnt:[4026532282] /mnt\\134 rw - nsfs nsfs rw\n\
        93 22 254:1 /net:[4026532283] /fake rw - ext4 /dev/root rw\n\
        94 22 0:9 net:[4026532284] /fake rw - fuse nsfs rw\n\
        95 22 0:4 ";
    let found: Vec<_> = mounted_namespaces(mountinfo).collect();
    let net = NamespaceInode(4_026_532_281);
    let expected: [(NamespaceType, NamespaceInode, &[u8]); 3] = [
        (NamespaceType::Net, net, b"/run/netns/a b"),
        (NamespaceType::Net, net, b"/x"),
        (NamespaceType::Mnt, NamespaceInode(4_026_532_282), b"/mnt\\"),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, inode, path)| (kind, inode, path.to_vec()))
    );
    assert_eq!(namespace_name(b"socket:[1234]"), None);
    assert_eq!(namespace_name(b"/net:[1234]"), None);
}

#[test]
fn the_group_says_whose_it_is() {
    let container = "ab".repeat(32);
    let session = "cd".repeat(16);
    let base = "/user.slice/porthole-01234567";
    let of = |path: &str| ours(path.as_bytes(), base);
    let id = container.parse().expect("id");
    assert_eq!(of(&format!("{base}/{container}")), Some((id, None)));
    let (id, in_session) = of(&format!("{base}/{container}/{session}")).expect("ours");
    assert_eq!(id.as_str(), container);
    assert_eq!(in_session.expect("session").as_str(), session);
    // A group that the container made for itself.
    let (_, in_session) = of(&format!("{base}/{container}/system.slice")).expect("ours");
    assert_eq!(in_session, None);
    for other in [
        base.to_owned(),
        format!("{base}/"),
        format!("{base}x/{container}"),
        format!("/{container}"),
        format!("{base}/{}", &container[1..]),
        format!("{base}/x/{container}"),
        format!("{base}/{}", container.to_uppercase()),
    ] {
        assert_eq!(of(&other), None, "{other}");
    }
    assert!(ours(format!("/{container}").as_bytes(), "/").is_some());
}

#[test]
fn a_link_names_an_inode() {
    assert_eq!(
        namespace(b"pid:[4026531836]"),
        Some(NamespaceInode(4_026_531_836))
    );
    for bad in [
        b"pid:[]".as_slice(),
        b"pid:[1",
        b"pid:1]",
        b"",
        b"pid:[-1]",
        b"pid:[1]]",
    ] {
        assert_eq!(namespace(bad), None, "{bad:?}");
    }
}

#[test]
fn ids_inside() {
    let map = id_map(b"         0     200000      65536\n     70000       1000          1\n")
        .expect("valid");
    assert_eq!(
        map,
        [IdRange(0, 200_000, 65_536), IdRange(70_000, 1_000, 1)]
    );
    assert_eq!(inside(&map, 200_000), Some(0));
    assert_eq!(inside(&map, 265_535), Some(65_535));
    assert_eq!(inside(&map, 265_536), None);
    assert_eq!(inside(&map, 1_000), Some(70_000));
    assert_eq!(inside(&map, 0), None);
    assert_eq!(id_map(b""), Some(Vec::new()));
    let whole = id_map(b"0 0 4294967295\n").expect("valid");
    assert_eq!(inside(&whole, 4_294_967_294), Some(4_294_967_294));
    for bad in [b"0 0".as_slice(), b"0 0 1 1", b"a b c", b"0 0 4294967296"] {
        assert_eq!(id_map(bad), None, "{bad:?}");
    }
}

#[test]
fn terminals_have_their_names() {
    for (device, name) in [
        (34816, "pts/0"),
        (34817 + 254, "pts/255"),
        // The minor number 256 has its ninth bit above the major one.
        ((136 << 8) | (1 << 20), "pts/256"),
        (137 << 8, "pts/256"),
        (4 << 8, "tty0"),
        ((4 << 8) | 64, "ttyS0"),
        ((5 << 8) | 1, "console"),
        ((166 << 8) | 2, "166:2"),
    ] {
        assert_eq!(tty(device).as_deref(), Some(name));
    }
    assert_eq!(tty(0), None);
}

#[test]
fn only_numbers_are_processes() {
    assert_eq!(pid(b"1"), Some(1));
    assert_eq!(pid(b"4194304"), Some(4_194_304));
    for other in [
        b"self".as_slice(),
        b".",
        b"",
        b"01",
        b"+1",
        b"-1",
        b"1x",
        b"99999999999",
    ] {
        assert_eq!(pid(other), None, "{other:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_upset_a_parser(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = (stat(&bytes), status(&bytes), namespace(&bytes), id_map(&bytes), pid(&bytes));
        let _ = (ours(&bytes, "/a"), mounted_namespaces(&bytes).count());
    }

    #[test]
    fn any_name_is_read_back(name in proptest::collection::vec(any::<u8>(), 0..64)) {
        let file = stat_file(&name);
        let found = stat(&file).expect("valid");
        prop_assert_eq!(found.command, name.as_slice());
        prop_assert_eq!(found.rss_pages, 345);
    }

    #[test]
    fn a_device_number_keeps_its_minor(minor in 0u32..1 << 20) {
        let device = (minor & 0xff) | (136 << 8) | ((minor & !0xff) << 12);
        prop_assert_eq!(tty(device), Some(format!("pts/{minor}")));
    }
}

#[test]
fn a_session_in_another_engines_container_is_told_by_its_group() {
    let id = "0a".repeat(16);
    let of = |path: &str| -> Vec<(String, String)> {
        foreign_sessions(path.as_bytes())
            .map(|(id, group)| (id.to_string(), String::from_utf8_lossy(group).into_owned()))
            .collect()
    };
    let group = format!("/docker/{}/{FOREIGN_GROUP}{id}", "b".repeat(64));
    let told = (id.clone(), group.clone());
    assert_eq!(of(&group), std::slice::from_ref(&told));
    assert_eq!(
        of(&format!("{group}/made/by/it")),
        std::slice::from_ref(&told)
    );
    let inner = format!("{group}/x/{FOREIGN_GROUP}{}", "1b".repeat(16));
    assert_eq!(of(&inner), [told, ("1b".repeat(16), inner.clone())]);
    assert_eq!(of(&format!("/docker/{FOREIGN_GROUP}")), []);
    assert_eq!(of(&format!("/docker/{id}")), []);
}
