//! Images that other programs make.

use std::path::{Path, PathBuf};
use std::process::Command;

use porthole_tests::engines::DockerDaemon;
use porthole_tests::instance::text;
use porthole_tests::{Answer, Instance};
use serde_json::json;

use super::archive::Tape;

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!(
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[track_caller]
fn must(command: &mut Command) -> String {
    run(command).unwrap_or_else(|why| panic!("{why}"))
}

fn import_file(porthole: &Instance, name: &str, file: &Path) -> Answer {
    let path = format!("/api/v1/images?name={name}");
    let answer = porthole.admin().post_file(&path, file);
    assert_eq!(answer.status, 201, "{answer}");
    answer
}

/// An image of two layers by umoci, as an OCI layout in a directory.
fn made_by_umoci(directory: &Path) -> PathBuf {
    let layout = directory.join("layout");
    let image = format!("{}:it", layout.display());
    let bundle = directory.join("bundle");
    let umoci = |arguments: &[&str]| {
        let mut command = Command::new("umoci");
        must(command.args(arguments));
    };
    umoci(&["init", "--layout", &layout.display().to_string()]);
    umoci(&["new", "--image", &image]);
    let unpack = |umoci: &dyn Fn(&[&str])| {
        let _ = std::fs::remove_dir_all(&bundle);
        umoci(&["unpack", "--image", &image, &bundle.display().to_string()]);
    };
    unpack(&umoci);
    let tar = directory.join("root.tar");
    std::fs::write(
        &tar,
        Tape::root()
            .file("./first", b"1")
            .file("./lost", b"1")
            .end(),
    )
    .expect("tar");
    let rootfs = bundle.join("rootfs");
    must(
        Command::new("tar")
            .arg("-C")
            .arg(&rootfs)
            .arg("-xpf")
            .arg(&tar),
    );
    let repack = |umoci: &dyn Fn(&[&str])| {
        umoci(&["repack", "--image", &image, &bundle.display().to_string()]);
    };
    repack(&umoci);
    unpack(&umoci);
    std::fs::remove_file(rootfs.join("lost")).expect("removed");
    std::fs::write(rootfs.join("second"), "2").expect("written");
    repack(&umoci);
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.cmd",
        "/bin/sleep",
        "--config.cmd",
        "infinity",
        "--config.env",
        "MADE=umoci",
        "--config.workingdir",
        "/work",
        "--config.user",
        "1234",
    ]);
    layout
}

#[track_caller]
fn check(porthole: &Instance, name: &str) {
    let container = porthole.create(&json!({"image": name}));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(
        porthole.sh(
            &container,
            "cat /first /second; test -e /lost || echo gone; pwd; id -u; echo $MADE"
        ),
        "12gone\n/work\n1234\numoci",
        "{name}"
    );
}

#[test]
fn images_of_umoci_skopeo_and_buildah_run() {
    let porthole = Instance::start();
    let directory = tempfile::tempdir().expect("directory");
    let layout = made_by_umoci(directory.path());
    let archive = directory.path().join("umoci.tar");
    must(
        Command::new("tar")
            .arg("-C")
            .arg(&layout)
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    );
    import_file(&porthole, "umoci:1", &archive);
    check(&porthole, "umoci:1");

    let source = format!("oci:{}:it", layout.display());
    for (kind, name) in [
        ("oci-archive", "skopeo:oci"),
        ("docker-archive", "skopeo:docker"),
    ] {
        let file = directory.path().join(format!("{kind}.tar"));
        let target = format!("{kind}:{}:{name}", file.display());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", &source, &target]);
        must(skopeo.current_dir(directory.path()));
        import_file(&porthole, name, &file);
        check(&porthole, name);
    }
    // The same layers, whichever way they came.
    let layers = super::stored(&porthole).0;
    assert_eq!(layers.len(), 2, "{layers:?}");

    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .args([
                "--root",
                &directory.path().join("storage").display().to_string(),
            ])
            .args([
                "--runroot",
                &directory.path().join("run").display().to_string(),
            ])
            .args(["--storage-driver", "vfs"])
            .args(arguments);
        must(&mut command).trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    buildah(&[
        "add",
        &container,
        &directory.path().join("root.tar").display().to_string(),
        "/",
    ]);
    buildah(&[
        "config",
        "--entrypoint",
        r#"["/bin/cat"]"#,
        "--cmd",
        "/first",
        &container,
    ]);
    let file = directory.path().join("buildah.tar");
    buildah(&[
        "commit",
        "--rm",
        &container,
        &format!("docker-archive:{}:built:1", file.display()),
    ]);
    let told = porthole.admin().post_file("/api/v1/images", &file);
    assert_eq!(told.status, 201, "{told}");
    let name = text(&told.json()["name"]);
    assert!(name.ends_with("built:1"), "{name}");
    let container = porthole.create(&json!({"image": name}));
    let ended = porthole.wait_state(&text(&container["id"]), "exited");
    assert_eq!(ended["exit_code"], 0, "{ended}");
    let logs = format!("/api/v1/containers/{}/logs", text(&container["id"]));
    assert_eq!(porthole.admin().get(&logs).body.trim(), "1");
}

#[test]
fn what_docker_saves_and_exports_runs() {
    let Some(docker) = DockerDaemon::start() else {
        println!("SKIPPED: there is no dockerd");
        return;
    };
    let porthole = Instance::start();
    let directory = tempfile::tempdir().expect("directory");
    let busybox = Path::new("/bin/busybox");
    let files = ["bin/sh", "bin/sleep", "bin/true"].map(|path| (path, busybox));
    docker.import("base", &files);
    let container = docker
        .docker(&["create", "base", "/bin/true"])
        .trim()
        .to_owned();
    let change = [
        "commit",
        "--change",
        r#"ENTRYPOINT ["/bin/sleep"]"#,
        "--change",
        r#"CMD ["infinity"]"#,
        "--change",
        "ENV FROM=docker",
        "--change",
        "WORKDIR /new",
        &container,
        "shop/saved:2",
    ];
    docker.docker(&change);
    let saved = directory.path().join("saved.tar");
    docker.docker(&["save", "-o", &saved.display().to_string(), "shop/saved:2"]);
    let told = porthole.admin().post_file("/api/v1/images", &saved);
    assert_eq!(told.status, 201, "{told}");
    assert_eq!(told.json()["name"], "shop/saved:2");
    assert_eq!(told.json()["format"], "docker-archive");
    // The digest of its configuration is what Docker calls it by.
    let id = docker.docker(&["inspect", "--format", "{{.Id}}", "shop/saved:2"]);
    assert_eq!(told.json()["id"], id.trim());
    let mine = porthole.create(&json!({"image": "shop/saved:2"}));
    assert_eq!(mine["state"], "running", "{mine}");
    assert_eq!(porthole.sh(&mine, "pwd; echo $FROM"), "/new\ndocker");

    let exported = directory.path().join("exported.tar");
    docker.docker(&["export", "-o", &exported.display().to_string(), &container]);
    let told = import_file(&porthole, "exported", &exported).json();
    assert_eq!(told["format"], "rootfs", "{told}");
    let mine = porthole.create(&json!({"image": "exported", "command": ["sleep", "1000"]}));
    assert_eq!(mine["state"], "running", "{mine}");
    docker.docker(&["rm", &container]);
}

#[test]
fn a_real_debian_runs() {
    let file = match porthole_tests::debian::minbase() {
        Ok(file) => file,
        Err(why) => {
            println!("SKIPPED: no Debian can be made here: {why}");
            return;
        }
    };
    let porthole = Instance::start();
    let told = import_file(&porthole, "debian:12", &file).json();
    assert!(
        told["devices_left_out"].as_u64() > Some(0),
        "mmdebstrap packs a /dev: {told}"
    );
    let container = porthole.create(&json!({
        "image": "debian:12", "command": ["sleep", "infinity"], "limits": {"memory": 1 << 30},
    }));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(
        porthole.sh(&container, ". /etc/os-release; echo $VERSION_ID"),
        "12"
    );
    let answer = porthole.exec(&container, &["dpkg", "--audit"]);
    assert_eq!(
        (answer.exit.code, answer.stdout.as_str()),
        (0, ""),
        "{}",
        answer.stderr
    );
    // Its own tools find everything owned and moded as they installed it.
    assert_eq!(
        porthole.sh(&container, "stat -c '%U:%G %a' /usr/bin/passwd /etc/shadow /var/mail; dpkg -V; getent passwd www-data | cut -d: -f3"),
        "root:root 4755\nroot:shadow 640\nroot:mail 2775\n33"
    );
}
