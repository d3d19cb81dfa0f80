//! The last stage of the Dockerfile, built by a Docker of this test's own on a Debian that is made
//! here, since no registry is reachable; and Porthole in it, which makes and enters containers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use porthole_protocol::capability::NAMES;
use porthole_tests::engines::DockerDaemon;
use porthole_tests::instance::{ADMIN, PASSWORD, text};
use porthole_tests::{Client, Instance, Terminal, host, wait_for};
use serde_json::json;

/// What the last stage takes from the one that compiles.
const COMPILED: &str = "COPY --from=build /src/target/release/porthole /src/target/x86_64-unknown-linux-musl/release/porthole-keeper ";

/// The last capability that Docker 20.10 knows.
const AUDIT_READ: usize = 37;

/// `--privileged`; where this machine itself lacks capabilities, which Docker then refuses, what it
/// stands for without those.
fn privileged() -> Vec<String> {
    let own = host::status(rustix::process::getpid().as_raw_nonzero().get());
    let bounding = u64::from_str_radix(own["CapBnd"].trim(), 16).expect("a set");
    let has = |number: &usize| bounding & (1 << number) != 0;
    if (0..NAMES.len()).all(|number| has(&number)) {
        return vec!["--privileged".to_owned()];
    }
    let mut options: Vec<String> = (0..=AUDIT_READ)
        .filter(has)
        .map(|number| format!("--cap-add={}", NAMES[number]))
        .collect();
    for open in ["seccomp", "apparmor", "systempaths"] {
        options.push(format!("--security-opt={open}=unconfined"));
    }
    options.push("--device-cgroup-rule=a *:* rwm".to_owned());
    options.push("--volume=/sys/fs/cgroup:/sys/fs/cgroup".to_owned());
    options
}

/// The image's name, where it can be built.
fn image(docker: &DockerDaemon) -> Option<&'static str> {
    let directory = tempfile::tempdir().expect("a directory");
    let base = directory.path().join("base.tar");
    let made = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=apt", "bookworm"])
        .arg(&base)
        .output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no Debian can be made here: {made:?}");
        return None;
    }
    docker.docker(&["import", &base.display().to_string(), "porthole-base"]);
    fs::remove_file(base).expect("removed");

    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    let all = fs::read_to_string(source.join("Dockerfile")).expect("the Dockerfile");
    let stage = all.find("\nFROM ${BASE}\n").expect("a last stage");
    assert!(
        all.contains(COMPILED),
        "what is compiled comes in by this line"
    );
    let last = all[stage..].replace(COMPILED, "COPY porthole porthole-keeper ");
    let at = directory.path();
    fs::write(at.join("Dockerfile"), format!("ARG BASE{last}")).expect("written");
    fs::create_dir(at.join("server")).expect("made");
    fs::copy(source.join("server/setup"), at.join("server/setup")).expect("copied");
    let programs = Instance::program();
    for name in ["porthole", "porthole-keeper"] {
        fs::copy(programs.with_file_name(name), at.join(name)).expect("copied");
    }
    docker.docker(&[
        "build",
        "--network",
        "host",
        "--build-arg",
        "BASE=porthole-base",
        "--tag",
        "porthole",
        &at.display().to_string(),
    ]);
    Some("porthole")
}

#[test]
fn porthole_runs_in_the_image_of_the_dockerfile_and_manages_containers() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let Some(image) = image(&docker) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let listen = format!("PORTHOLE_LISTEN={address}");
    let password = format!("PORTHOLE_ADMIN_PASSWORD={PASSWORD}");
    let privileged = privileged();
    let mut words = vec!["run", "--detach"];
    words.extend(privileged.iter().map(String::as_str));
    words.extend([
        "--pid=host",
        "--cgroupns=host",
        "--network=host",
        "--volume",
        "state:/var/lib/porthole",
        "--env",
        &listen,
        "--env",
        &password,
        image,
    ]);
    let id = docker.docker(&words);
    let mut admin = Client::anonymous(address);
    wait_for("readiness", Duration::from_secs(60), || {
        let answer = admin.try_send("GET", "/readyz", None).ok();
        if answer.as_ref().is_none_or(|answer| answer.status != 200) {
            let log = docker.try_docker(&["logs", &id]);
            let running = docker.docker(&["inspect", "--format", "{{.State.Running}}", &id]);
            assert_eq!(running, "true", "{}", String::from_utf8_lossy(&log.stderr));
            return None;
        }
        Some(())
    });
    admin.sign_in(ADMIN, PASSWORD).ok();
    let spec = json!({"name": "inner", "image": "busybox", "command": ["sleep", "infinity"]});
    let container = admin.post("/api/v1/containers", &spec);
    assert_eq!(container.status, 201, "{container}");
    let container = container.json();
    assert_eq!(container["state"], "running", "{container}");
    let session = admin.post(
        "/api/v1/containers/inner/sessions",
        &json!({"command": ["sh", "-c", "echo $$ $((6*7)); id -u"], "tty": false}),
    );
    let mut terminal = Terminal::attach(&admin, &text(&session.ok()["id"]));
    assert_eq!(terminal.end().code, 0);
    assert!(terminal.text().contains(" 42\n0\n"), "{}", terminal.text());
    // It sees the machine's processes by their numbers there, its own container's first among them.
    let pid = container["pid"].as_i64().expect("a PID");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    // Its own container is another engine's to it.
    let seen = wait_for("its own container", Duration::from_secs(20), || {
        let answer = admin.get(&format!("/api/v1/containers/{id}"));
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(seen["engine"], "docker", "{seen}");
    admin.delete("/api/v1/containers/inner?force=true").ok();
    docker.docker(&["stop", "--time", "20", &id]);
    docker.docker(&["rm", "--volumes", &id]);
    docker.docker(&["volume", "rm", "state"]);
}
