//! Archives that mean two things, are cut off, or are not what they say.

use porthole_tests::Instance;
use serde_json::json;

use super::super::archive::{Layout, Tape, compressed, config, digest, docker};
use super::super::{import, stored};
use super::refused;

#[test]
fn names_owners_and_sizes_mean_one_thing_only() {
    let porthole = Instance::start();
    for (tape, words) in [
        (Tape::default().file(".wh.", b""), "no name"),
        (Tape::default().file(".wh..", b""), "no name"),
        (Tape::default().file("d/.wh...", b""), "no name"),
        (
            Tape::default().file("f", b"x").file("f/below", b"x"),
            "no directory",
        ),
        (
            Tape::default().file(".wh.x", b"").file("x/below", b"x"),
            "no directory",
        ),
        (
            Tape::default().file(".wh.x", b"").link("y", "x"),
            "hard link",
        ),
        (
            Tape::default().file("d/x", b"").file("d", b"x"),
            "takes the place",
        ),
        (
            Tape::default().entry(b'0', "f", "", (0o644, 65_536), b""),
            "0 to 65535",
        ),
        (
            Tape::default()
                .pax(&[("uid", b"4294967296")])
                .file("f", b""),
            "0 to 65535",
        ),
        (
            Tape::default().pax(&[("size", b"9")]).file("f", b"four"),
            "two places",
        ),
        (
            Tape::default().pax(&[("size", b"-1")]).file("f", b"four"),
            "cannot be understood",
        ),
        (
            Tape::default()
                .pax(&[("size", b"4"), ("size", b"5")])
                .file("f", b"four"),
            "cannot be understood",
        ),
        (
            Tape::default()
                .pax(&[("GNU.sparse.major", b"1")])
                .file("f", b"four"),
            "sparse",
        ),
        (
            Tape::default().entry(b'S', "f", "", (0o644, 0), b""),
            "sparse",
        ),
        (
            Tape::default().entry(b'M', "f", "", (0o644, 0), b""),
            "of a kind",
        ),
        (
            Tape::default()
                .entry(b'x', "pax", "", (0o644, 0), b"")
                .lying_about_size(1 << 33),
            "longer than",
        ),
        (
            Tape::default()
                .entry(b'L', "name", "", (0o644, 0), b"")
                .lying_about_size(1 << 40),
            "longer than",
        ),
        (
            Tape::default().file("f", b"").lying_about_size(1 << 33),
            "in the middle",
        ),
        (
            Tape::default()
                .file("f", b"")
                .lying_about_size(u64::MAX >> 2),
            "in the middle",
        ),
        (Tape::default(), "no file"),
    ] {
        let whole = Tape::default().directory("first");
        let archive = if words == "no file" {
            tape.end()
        } else {
            [&whole.end()[..512], &tape.end()].concat()
        };
        refused(&porthole, &archive, words);
    }
    refused(&porthole, b"", "no file");
    refused(&porthole, &[b'x'; 4096], "neither a tar");
    refused(&porthole, b"BZh91AY&SY", "bzip2");
    assert_eq!(
        import(
            &porthole,
            "control",
            &Tape::default().file("f", b"four").end()
        )
        .status,
        201
    );
}

#[test]
fn what_was_cut_off_is_told_and_leaves_nothing() {
    let porthole = Instance::start();
    let noise: Vec<u8> = (0..9_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let plain = Tape::default()
        .directory("d")
        .file("d/f", &noise[..7_000])
        .file("g", b"g")
        .end();
    let layers = vec![plain.clone()];
    let archives = [
        ("plain", plain.clone()),
        ("gzip", compressed("gzip", &plain).expect("gzip")),
        ("zstd", compressed("zstd", &plain).expect("zstd")),
        ("xz", compressed("xz", &plain).expect("xz")),
        (
            "docker",
            docker("x:1", &layers, &config(&layers, &json!({}))),
        ),
    ];
    for (name, whole) in archives {
        // What ends a tar is 1,024 bytes of nothing.
        let content = if ["plain", "docker"].contains(&name) {
            whole.len() - 1024
        } else {
            whole.len() - 1
        };
        for cut in (1024..content).step_by(1024).chain([content]) {
            let answer = import(&porthole, "cut", &whole[..cut]);
            let error = answer.refused(422);
            assert_eq!(error["field"], "archive", "{name} cut at {cut}: {error}");
        }
        let (layers, staging) = stored(&porthole);
        assert!(
            layers.is_empty() && staging.is_empty(),
            "{layers:?} {staging:?}"
        );
    }
    assert_eq!(import(&porthole, "control", &plain).status, 201);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let porthole = Instance::start();
    let layers = vec![Tape::root().end()];
    let wanted = json!({"Cmd": ["/bin/sleep", "1000"]});
    let layout = Layout::new(layers.clone(), &wanted);
    let other = Tape::root().file("other", b"").end();
    // The configuration speaks of another layer, the manifest of another blob, and so on.
    let mut wrong = layout.manifest();
    wrong["layers"][0]["digest"] = json!(digest(&other));
    refused(&porthole, &layout.write(&wrong), "is not in it");
    let mut exchanged = Layout::new(layers.clone(), &wanted);
    exchanged.layers = vec![other.clone()];
    refused(
        &porthole,
        &exchanged.write(&exchanged.manifest()),
        "has the digest",
    );
    refused(
        &porthole,
        &docker(
            "x:1",
            std::slice::from_ref(&other),
            &config(&layers, &wanted),
        ),
        "has the digest",
    );
    // A blob that is not what its name says.
    let whole = layout.write(&layout.manifest());
    let at = whole
        .windows(6)
        .rposition(|w| w == b"/bin/s")
        .expect("the configuration's command");
    let mut damaged = whole.clone();
    damaged[at] = b'.';
    refused(&porthole, &damaged, "has the digest");
    let mut typed = layout.manifest();
    typed["layers"][0]["mediaType"] = json!("application/x-executable");
    refused(&porthole, &layout.write(&typed), "application/x-executable");
    let mut foreign = layout.manifest();
    foreign["layers"][0]["mediaType"] =
        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    refused(&porthole, &layout.write(&foreign), "foreign");
    let mut none = layout.manifest();
    none["layers"] = json!([]);
    refused(&porthole, &layout.write(&none), "0 layers");
    let text = String::from_utf8(config(&layers, &wanted)).expect("text");
    for (from, to, words) in [
        ("\"linux\"", "\"windows\"", "windows"),
        ("amd64", "s390x", "s390x"),
        ("\"layers\"", "\"other\"", "other"),
        ("sha256:", "sha512:", "sha512"),
    ] {
        let changed = text.replace(from, to).into_bytes();
        if changed != text.as_bytes() {
            refused(&porthole, &docker("x:1", &layers, &changed), words);
        }
    }
    for user in ["4294967296", "0 ", "-1", "0:65536"] {
        let config = config(&layers, &json!({"User": user}));
        refused(&porthole, &docker("x:1", &layers, &config), "User");
        let spec = json!({"image": "busybox", "user": user});
        porthole
            .admin()
            .post("/api/v1/containers", &spec)
            .refused(422);
    }
    assert_eq!(import(&porthole, "control", &whole).status, 201);
}
