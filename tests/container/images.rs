//! Images that are imported, and containers of them.

mod archive;
mod hostile;
mod tools;
mod words;

use porthole_tests::instance::text;
use porthole_tests::{Answer, Events, Instance, PATIENCE, wait_for};
use serde_json::{Value, json};

use archive::{Layout, Tape, compressed, config, digest, docker, names_below};

/// Sends an archive as the administrator.
fn import(porthole: &Instance, name: &str, bytes: &[u8]) -> Answer {
    let path = format!("/api/v1/images?name={name}");
    porthole.admin().post_bytes(&path, bytes)
}

/// What lies where unpacked layers, and those that are being unpacked, lie.
fn stored(porthole: &Instance) -> (Vec<String>, Vec<String>) {
    let images = porthole.root().join("keeper/images");
    (
        names_below(&images.join("layers")),
        names_below(&images.join("staging")),
    )
}

fn image(porthole: &Instance, name: &str) -> Value {
    let path = format!("/api/v1/images/{}", name.replace('/', "%2F"));
    porthole.admin().get(&path).ok()
}

#[test]
fn a_container_runs_from_a_root_file_system() {
    let porthole = Instance::start();
    let tape = Tape::root()
        .entry(b'0', "./srv/owned", "", (0o4755, 1234), b"of app")
        .link("./srv/same", "./srv/owned");
    let imported = import(&porthole, "plain", &tape.end());
    assert_eq!(imported.status, 201, "{imported}");
    let told = imported.json();
    assert_eq!(told["name"], "plain:latest", "{told}");
    assert_eq!(told["format"], "rootfs");
    assert_eq!(told["layers"].as_array().map(Vec::len), Some(1));

    let container = porthole.create(&json!({"image": "plain", "command": ["sleep", "infinity"]}));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(container["image_id"], told["id"]);
    // Ids, modes, links are the archive's; and nothing was copied or given to anybody: on the disk
    // it is the machine's ids.
    assert_eq!(
        porthole.sh(
            &container,
            "stat -c '%u %g %a %h' /srv/owned; cat /srv/same"
        ),
        "1234 1234 4755 2\nof app"
    );
    let layer = &stored(&porthole).0[0];
    let owned = porthole
        .root()
        .join("keeper/images/layers")
        .join(layer)
        .join("tree/srv/owned");
    let status = std::fs::metadata(&owned).expect("there");
    let ids = std::os::unix::fs::MetadataExt::uid(&status);
    assert_eq!(ids, 1234, "{owned:?}");
    // What the container writes is its own, and the layer stays as it is.
    porthole.sh(&container, "echo changed >/srv/owned; rm /bin/ls");
    assert_eq!(std::fs::read(&owned).expect("read"), b"of app");
    let other =
        porthole.create(&json!({"image": "plain:latest", "command": ["sleep", "infinity"]}));
    assert_eq!(
        porthole.sh(&other, "cat /srv/owned; ls -d /bin/ls"),
        "of app/bin/ls"
    );
    // A root file system says nothing of a command: a shell it is.
    let third = porthole.create(&json!({"image": "plain", "start": false}));
    assert_eq!(third["command"], json!(["/bin/sh"]), "{third}");
}

#[test]
fn what_an_image_wants_is_honoured() {
    let porthole = Instance::start();
    let layers = vec![Tape::root().end()];
    let wanted = json!({
        "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id -u; id -g; id -G; pwd; echo $GREETING; trap 'exit 7' QUIT; while :; do sleep 0.1; done"],
        "Env": ["GREETING=hello", "PATH=/bin"], "User": "app", "WorkingDir": "/made/for/it",
        "StopSignal": "SIGQUIT", "Labels": {"run": "/usr/bin/id", "path": "/etc/shadow"},
    });
    let archive = docker("shop/app:1.2", &layers, &config(&layers, &wanted));
    let answer = porthole.admin().post_bytes("/api/v1/images", &archive[..]);
    assert_eq!(answer.status, 201, "{answer}");
    let told = answer.json();
    assert_eq!(
        told["name"], "shop/app:1.2",
        "as the archive calls it: {told}"
    );
    assert_eq!(told["created_at"], "2024-05-06T07:08:09.000Z");
    assert_eq!(told["format"], "docker-archive");
    assert_eq!(image(&porthole, "shop/app:1.2")["id"], told["id"]);

    let container = porthole.create(&json!({"image": "shop/app:1.2"}));
    assert_eq!(container["state"], "running", "{container}");
    let id = text(&container["id"]);
    let logs = format!("/api/v1/containers/{id}/logs");
    wait_for("its words", PATIENCE, || {
        let text = porthole.admin().get(&logs).body;
        text.contains("1234\n1234\n1234 77\n/made/for/it\nhello")
            .then_some(())
    });
    assert_eq!(container["user"], "app");
    assert_eq!(container["workdir"], "/made/for/it");
    assert_eq!(container["stop_signal"], "SIGQUIT");
    let stopped = porthole
        .admin()
        .act(&format!("/api/v1/containers/{id}/stop"))
        .ok();
    assert_eq!(
        stopped["exit_code"], 7,
        "it was asked by its own signal: {stopped}"
    );

    // Whoever asks for something else gets that.
    let other = porthole.create(&json!({
        "image": "shop/app:1.2", "entrypoint": ["/bin/sleep"], "command": ["infinity"],
        "env": {"GREETING": "bye"}, "user": "0", "workdir": "/tmp",
    }));
    assert_eq!(
        porthole.sh(&other, "id -u; pwd; echo $GREETING $PATH"),
        "0\n/tmp\nbye /bin"
    );
    let command = porthole.create(&json!({"image": "shop/app:1.2", "command": ["exit 3"]}));
    let ended = porthole.wait_state(&text(&command["id"]), "exited");
    assert_eq!(ended["exit_code"], 3, "the entry point stays: {ended}");
}

#[test]
fn layers_lie_over_one_another() {
    let porthole = Instance::start();
    let base = Tape::root()
        .directory("./d/")
        .file("./d/hidden", b"lower")
        .file("./d/kept", b"lower")
        .directory("./o/")
        .file("./o/hidden", b"lower")
        .file("./gone", b"lower")
        .file("./replaced", b"lower")
        .end();
    let middle = Tape::default()
        .directory("d/")
        .file("d/.wh.hidden", b"")
        .directory("o/")
        .file("o/.wh..wh..opq", b"")
        .file("o/new", b"upper")
        .file(".wh.gone", b"")
        .file("replaced", b"upper")
        .file(".wh.never-there", b"")
        .end();
    let empty = Tape::default().directory("./").end();
    // Version 3: for the root of somebody's user namespace, CAP_NET_BIND_SERVICE permitted.
    let capability: Vec<u8> = [0x0300_0001_u32, 0x400, 0, 0, 0, 1000]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let top = Tape::default()
        .pax(&[
            ("SCHILY.xattr.user.colour", b"blue\nand green"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .directory("d/")
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .file("d/top", b"top")
        .end();
    let script = "cat /d/kept /d/top; ls /d /o; test -e /gone || echo gone; cat /replaced; ls / | grep -c wh";
    let expected = "lowertop/d:\nkept\ntop\n\n/o:\nnew\ngone\nupper0";
    // The empty one twice, as builders do; and many more than one mount option holds.
    let mut layers = vec![base, middle, empty.clone(), top, empty];
    for round in 0..40_u32 {
        let path = format!("many/{round}");
        layers.push(Tape::default().directory("many/").file(&path, b"x").end());
    }
    let wanted = json!({"Cmd": ["/bin/sleep", "infinity"]});
    for (name, archive) in [
        (
            "docker:1",
            docker("x:1", &layers, &config(&layers, &wanted)),
        ),
        ("oci:1", {
            let layout = Layout::new(layers.clone(), &wanted);
            layout.write(&layout.manifest())
        }),
    ] {
        let told = import(&porthole, name, &archive);
        assert_eq!(told.status, 201, "{told}");
        let container = porthole.create(&json!({"image": name}));
        assert_eq!(container["state"], "running", "{container}");
        assert_eq!(
            porthole
                .sh(&container, script)
                .replace("upper\n0", "upper0"),
            expected,
            "{name}"
        );
        assert_eq!(porthole.sh(&container, "ls /many | wc -l").trim(), "40");
    }
    // Both are the same layers, stored once each; and the empty one once.
    let (layers_stored, staging) = stored(&porthole);
    assert_eq!(layers_stored.len(), 44, "{layers_stored:?}");
    assert!(staging.is_empty(), "{staging:?}");
    let (one, other) = (image(&porthole, "docker:1"), image(&porthole, "oci:1"));
    assert_eq!(one["id"], other["id"], "one image with two names");
    assert_eq!(one["names"], json!(["docker:1", "oci:1"]));
    // Attributes of the image's own are there, those that speak to overlay are not.
    let top = layers_stored.iter().find_map(|layer| {
        let path = porthole
            .root()
            .join("keeper/images/layers")
            .join(layer)
            .join("tree/d");
        path.join("top").exists().then_some(path)
    });
    let top = top.expect("the layer");
    let colour = hex(b"blue\nand green");
    assert_eq!(attributes(&top), [format!("user.colour={colour}")]);
    // A file's capabilities are those of whoever is root where it is.
    let own: String = ["01000002", "00040000", "00000000", "00000000", "00000000"].concat();
    assert_eq!(
        attributes(&top.join("top")),
        [format!("security.capability={own}")]
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Extended attributes as the machine's root sees them, with their values in hexadecimal digits.
fn attributes(path: &std::path::Path) -> Vec<String> {
    let script = "import os, sys\nfor name in sorted(os.listxattr(sys.argv[1])): print(name + '=' + os.getxattr(sys.argv[1], name).hex())";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(path)
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_import_tells_how_far_it_has_come() {
    let porthole = Instance::start();
    let mut events = Events::open(porthole.admin(), "/api/v1/events");
    let mut many = Tape::default();
    for number in 0..2_000 {
        many = many.file(&format!("{number}"), b"");
    }
    import(&porthole, "told", &many.end()).ok();
    let first = events.next(PATIENCE, |event| event.name == "import");
    let first: Value = serde_json::from_str(&first.data).expect("JSON");
    assert_eq!(
        (&first["name"], &first["stage"]),
        (&json!("told"), &json!("receiving"))
    );
    for stage in ["unpacking", "storing", "done"] {
        let event = events.next(PATIENCE, |event| {
            event.name == "import" && !event.data.contains("receiving")
        });
        let event = match stage {
            // Told as often as time allows.
            "storing" if event.data.contains("unpacking") => {
                events.next(PATIENCE, |event| event.data.contains("storing"))
            }
            _ => event,
        };
        let told: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!(
            (&told["name"], &told["stage"]),
            (&json!("told:latest"), &json!(stage))
        );
        assert_eq!(told["id"], first["id"]);
        assert!(told["done"].as_u64() <= told["total"].as_u64(), "{told}");
    }
    let event = events.next(PATIENCE, |event| event.name == "image");
    let told: Value = serde_json::from_str(&event.data).expect("JSON");
    assert_eq!(told, image(&porthole, "told"), "as the list has it");
    porthole.admin().delete("/api/v1/images/told").ok();
    let event = events.next(PATIENCE, |event| event.name == "image");
    let told: Value = serde_json::from_str(&event.data).expect("JSON");
    assert_eq!(told, json!({"name": "told:latest", "state": "removed"}));
    import(&porthole, "bad", b"none").refused(422);
    events.next(PATIENCE, |event| {
        event.name == "import" && event.data.contains("failed")
    });
}

#[test]
fn compressed_archives_and_layers_are_read() {
    let porthole = Instance::start();
    let plain = Tape::root().file("./mark", b"here").end();
    for program in ["gzip", "zstd", "xz"] {
        let archive =
            compressed(program, &plain).unwrap_or_else(|| panic!("{program} is installed"));
        let told = import(&porthole, &format!("as:{program}"), &archive);
        assert_eq!(told.status, 201, "{program}: {told}");
        // The same content is the same layer, however it came.
        assert_eq!(
            told.json()["layers"][0]["digest"],
            digest(&plain),
            "{program}"
        );
    }
    assert_eq!(stored(&porthole).0.len(), 1);
    // A layer that is compressed within an archive that is.
    let layers = vec![plain.clone()];
    let mut layout = Layout::new(layers, &json!({"Cmd": ["/bin/cat", "/mark"]}));
    layout.layers = vec![compressed("gzip", &plain).expect("gzip")];
    layout.layer_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
    let archive = compressed("xz", &layout.write(&layout.manifest())).expect("xz");
    let told = import(&porthole, "both:1", &archive);
    assert_eq!(told.status, 201, "{told}");
    let container = porthole.create(&json!({"image": "both:1"}));
    let ended = porthole.wait_state(&text(&container["id"]), "exited");
    assert_eq!(ended["exit_code"], 0, "{ended}");
}

#[test]
fn images_are_tagged_removed_and_pruned() {
    let porthole = Instance::start();
    let admin = porthole.admin();
    let first = Tape::root().end();
    let layers = vec![
        first.clone(),
        Tape::default().file("two", &[7; 100_000]).end(),
    ];
    let id = import(&porthole, "a:1", &first).ok()["id"].clone();
    let two = docker(
        "b:1",
        &layers,
        &config(&layers, &json!({"Cmd": ["/bin/sleep", "infinity"]})),
    );
    import(&porthole, "b:1", &two).ok();
    let (a, b) = (image(&porthole, "a:1"), image(&porthole, "b:1"));
    assert_eq!(a["shared_size"], a["size"], "{a}");
    assert!(b["size"].as_u64() > b["shared_size"].as_u64(), "{b}");
    assert_eq!(b["shared_size"], a["size"], "{b}");

    let tagged = admin
        .post("/api/v1/images/a:1/tag", &json!({"name": "deep/er/name"}))
        .ok();
    assert_eq!(tagged["name"], "deep/er/name:latest");
    assert_eq!(tagged["id"], id);
    assert_eq!(
        image(&porthole, "deep/er/name")["names"],
        json!(["a:1", "deep/er/name:latest"])
    );
    for (bad, why) in [
        ("host", "own"),
        ("busybox", "own"),
        ("sha256:x", "digest"),
        ("a//b", "empty"),
        ("a:b:c", ""),
    ] {
        let error = admin
            .post("/api/v1/images/a:1/tag", &json!({"name": bad}))
            .refused(422);
        assert!(text(&error["message"]).contains(why), "{bad}: {error}");
    }
    admin.get("/api/v1/images/nothing").refused(404);
    admin.delete("/api/v1/images/nothing").refused(404);
    admin.delete("/api/v1/images/busybox").refused(409);

    // One that is used stays, whatever it is called by.
    let container = porthole.create(&json!({"image": "b:1"}));
    assert_eq!(image(&porthole, "b:1")["used_by"], json!([container["id"]]));
    let error = admin.delete("/api/v1/images/b:1").refused(409);
    assert!(
        text(&error["message"]).contains(&text(&container["name"])),
        "{error}"
    );
    let by_id = format!("/api/v1/images/{}", text(&b["id"]));
    admin.delete(&by_id).refused(409);
    // Its name can go to another image; it is then known by its digest.
    import(&porthole, "b:1", &Tape::root().file("three", b"").end()).ok();
    let nameless = admin.get(&by_id).ok();
    assert_eq!(nameless["names"], json!([]), "{nameless}");
    assert_eq!(nameless["name"], b["id"]);
    assert_eq!(
        admin.post("/api/v1/images/prune", &json!({})).ok()["removed"],
        json!([])
    );
    assert_eq!(porthole.sh(&container, "ls /two"), "/two");
    porthole.remove(&container);
    let pruned = admin.act("/api/v1/images/prune").ok();
    assert_eq!(pruned["removed"], json!([b["id"]]), "{pruned}");
    assert!(pruned["freed"].as_u64() >= Some(100_000), "{pruned}");
    // A name goes, then the last one with the image.
    admin.delete("/api/v1/images/a:1").ok();
    assert_eq!(image(&porthole, "deep/er/name")["id"], id);
    let all = admin
        .post("/api/v1/images/prune", &json!({"all": true}))
        .ok();
    assert_eq!(all["removed"].as_array().map(Vec::len), Some(2), "{all}");
    wait_for("no layer to be left", PATIENCE, || {
        stored(&porthole).0.is_empty().then_some(())
    });
    assert_eq!(
        admin.get("/api/v1/images").ok()["items"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn images_outlive_the_keeper_and_are_for_administrators_to_change() {
    let mut porthole = Instance::start();
    let archive = Tape::root().end();
    let told = import(&porthole, "kept:1", &archive).ok();
    let container = porthole.create(&json!({"image": "kept:1", "command": ["sleep", "infinity"]}));
    // Short, so that it is sent before the answer comes.
    let short = Tape::default().directory("d").end();
    for (role, sees) in [("user", 200), ("viewer", 200)] {
        let other = porthole.account(role, role);
        assert_eq!(other.get("/api/v1/images/kept:1").status, sees);
        let error = other
            .post_bytes("/api/v1/images?name=x", &short[..])
            .refused(403);
        assert!(text(&error["message"]).contains("administrator"), "{error}");
        other.delete("/api/v1/images/kept:1").refused(403);
        other
            .post("/api/v1/images/kept:1/tag", &json!({"name": "y"}))
            .refused(403);
        other.act("/api/v1/images/prune").refused(403);
    }
    porthole
        .anonymous()
        .post_bytes("/api/v1/images", &short[..])
        .refused(401);
    // What an import has left that was killed goes with the next start.
    let left = porthole
        .root()
        .join("keeper/images/staging/import-0011223344556677/inside/0");
    std::fs::create_dir_all(&left).expect("made");
    porthole.terminate();
    porthole.serve();
    porthole.wait_ready();
    assert_eq!(image(&porthole, "kept:1")["id"], told["id"]);
    assert_eq!(
        porthole.container(&text(&container["id"]))["image_id"],
        told["id"]
    );
    porthole
        .admin()
        .delete("/api/v1/images/kept:1")
        .refused(409);
    wait_for("what was left to be deleted", PATIENCE, || {
        (!left.exists()).then_some(())
    });
    assert_eq!(stored(&porthole).0.len(), 1, "what is used is not");
}

#[test]
fn a_full_disk_is_told_and_given_back() {
    let porthole = Instance::builder().on_small_disk().start();
    let noise = |length: usize| -> Vec<u8> {
        let words = (0_u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
        words.take(length).collect()
    };
    let keeper = format!("/proc/{}/root", porthole.keeper_pid());
    let images = std::path::PathBuf::from(format!("{keeper}{}", porthole.root().display()));
    let images = images.join("keeper/images");
    // Too long to arrive, and to be unpacked beside what has arrived.
    for length in [8_000_000, 2_200_000] {
        let archive = Tape::default().file("noise", &noise(length)).end();
        let error = import(&porthole, "large", &archive).refused(507);
        assert!(text(&error["message"]).contains("space"), "{error}");
        let left = names_below(&images.join("layers"));
        assert!(left.is_empty(), "{length}: {left:?}");
        let left = names_below(&images.join("staging"));
        assert!(left.is_empty(), "{length}: {left:?}");
    }
    let archive = Tape::default().file("noise", &noise(500_000)).end();
    assert_eq!(import(&porthole, "control", &archive).status, 201);
    assert_eq!(names_below(&images.join("layers")).len(), 1);
}

#[test]
fn an_import_ends_with_its_keeper_and_with_the_rights_to_it() {
    let porthole = Instance::start();
    // A client that stops in the middle holds nothing up, and loses what it may do at once.
    let other = porthole.account("second", "admin");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let thread = std::thread::spawn(move || other.post_bytes("/api/v1/images?name=slow", reader));
    let archive = Tape::root().end();
    std::io::Write::write_all(&mut writer, &archive[..100_000]).expect("written");
    let server = porthole.server_pid();
    let receives = || {
        let files = std::fs::read_dir(format!("/proc/{server}/fd"))
            .into_iter()
            .flatten();
        let mut links = files
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.any(|link| link.to_string_lossy().contains("/server/#"))
    };
    wait_for("a file without a name", PATIENCE, || {
        receives().then_some(())
    });
    porthole
        .admin()
        .patch("/api/v1/users/second", &json!({"role": "user"}))
        .ok();
    wait_for("the file to go", PATIENCE, || (!receives()).then_some(()));
    drop(writer);
    let _ = thread.join();
    assert!(stored(&porthole).0.is_empty());

    // A keeper that is killed takes the unpacker along, and the next one clears up.
    let sender = porthole.admin().clone();
    let mut many = Tape::default();
    for number in 0..30_000 {
        many = many.file(&format!("{number}"), b"");
    }
    let bytes = many.end();
    let thread =
        std::thread::spawn(move || sender.post_bytes("/api/v1/images?name=killed", &bytes[..]));
    wait_for("its directory", PATIENCE, || {
        (!stored(&porthole).1.is_empty()).then_some(())
    });
    let key = stored(&porthole).1.remove(0);
    porthole_tests::instance::signal(porthole.keeper_pid(), rustix::process::Signal::KILL);
    let answer = thread.join().expect("a thread");
    answer.refused(503);
    porthole.wait_ready();
    wait_for("nothing to be left", PATIENCE, || {
        let (layers, staging) = stored(&porthole);
        let groups = porthole_tests::host::cgroups(&key);
        (layers.is_empty() && staging.is_empty() && groups.is_empty()).then_some(())
    });
    assert_eq!(import(&porthole, "control", &archive).status, 201);
}
