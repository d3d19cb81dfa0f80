//! Trouble on the machine: each is said in words, and nothing half made is left.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Instance, PATIENCE, wait_for};
use serde_json::json;

fn words(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !text.contains("panicked") && !text.contains("RUST_BACKTRACE"),
        "{text}"
    );
    text
}

fn run(mut command: Command) -> Output {
    // Whatever it says it says at once; a minute is for a loaded machine.
    let mut bounded = Command::new("timeout");
    bounded
        .args(["--kill-after=5", "60"])
        .arg(command.get_program())
        .args(command.get_args());
    bounded.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            bounded.env(name, value);
        }
    }
    bounded.stdin(std::process::Stdio::null());
    command.stdin(std::process::Stdio::null());
    let output = bounded.output().expect("it runs");
    assert_ne!(
        output.status.code(),
        Some(124),
        "it did not end: {output:?}"
    );
    output
}

#[test]
fn a_port_in_use_is_named() {
    let porthole = Instance::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = porthole.command();
    command
        .env("PORTHOLE_LISTEN", &address)
        .env("PORTHOLE_ROOT", directory.path().join("root"))
        .env("PORTHOLE_RUN", directory.path().join("run"))
        .env(
            "PORTHOLE_SOCKET",
            directory.path().join("run/porthole.sock"),
        );
    let said = words(&run(command));
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_second_one_on_the_same_state_is_refused() {
    let porthole = Instance::start();
    let mut command = porthole.command();
    command.env("PORTHOLE_LISTEN", "127.0.0.1:0");
    let said = words(&run(command));
    assert!(
        said.contains(&porthole.root().display().to_string()) || said.contains("already"),
        "{said}"
    );
    porthole.admin().get("/api/v1/containers").ok();
}

#[test]
fn somebody_who_is_not_root_is_told_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(copy(directory.path()))
        .arg("serve")
        .env("PATH", "/usr/bin:/bin")
        .env("PORTHOLE_ROOT", directory.path().join("root"))
        .env("PORTHOLE_RUN", directory.path().join("run"));
    let said = words(&run(command));
    assert!(said.contains("root"), "{said}");
}

/// The two programs where everybody can execute them.
fn copy(directory: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("mode");
    let program = Instance::program();
    for name in ["porthole", "porthole-keeper"] {
        fs::copy(program.with_file_name(name), directory.join(name)).expect("a copy");
    }
    directory.join("porthole")
}

#[test]
fn settings_that_mean_nothing_are_named() {
    let porthole = Instance::start();
    for (name, value) in [
        ("PORTHOLE_LISTEN", "nowhere"),
        ("PORTHOLE_LISTEN", "127.0.0.1:99999"),
        ("PORTHOLE_LISTEN", "0.0.0.0:0"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = porthole.command();
        command
            .env("PORTHOLE_ROOT", directory.path().join("root"))
            .env("PORTHOLE_RUN", directory.path().join("run"))
            .env(name, value);
        let said = words(&run(command));
        assert!(
            said.to_lowercase().contains("listen") || said.contains("insecure"),
            "{name}={value}: {said}"
        );
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_half_made() {
    let porthole = Instance::builder().on_small_disk().start();
    let spec = json!({"image": "busybox", "name": "big", "command": ["sleep", "infinity"]});
    let disk = format!(
        "/proc/{}/root{}",
        porthole.serve_pid(),
        porthole.root().display()
    );
    let filling = format!("{disk}/fill");
    let mut file = fs::File::create(&filling).expect("a file on that disk");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let answer = porthole.admin().post("/api/v1/containers", &spec);
    if answer.status == 201 {
        // It could be made, and its start has failed in words.
        assert!(
            answer.json()["error"]
                .as_str()
                .is_some_and(|e| e.contains("space")),
            "{answer}"
        );
        porthole.admin().delete("/api/v1/containers/big").ok();
    } else {
        let error = answer.refused(507);
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|m| m.contains("space")),
            "{error}"
        );
        porthole.admin().get("/api/v1/containers/big").refused(404);
    }
    assert_eq!(
        fs::read_dir(format!("{disk}/keeper/containers")).map_or(0, Iterator::count),
        0
    );
    fs::remove_file(&filling).expect("room again");
    let container = porthole.create(&spec);
    assert_eq!(porthole.sh(&container, "echo fine"), "fine");
    porthole
        .admin()
        .delete(&format!(
            "/api/v1/containers/{}?force=true",
            text(&container["id"])
        ))
        .ok();
}

#[test]
fn a_client_that_sends_nothing_is_not_waited_for() {
    let porthole = Instance::start();
    let mut slow = TcpStream::connect(porthole.address()).expect("connect");
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc")
        .expect("half a request");
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    let mut prompt = TcpStream::connect(porthole.address()).expect("connect");
    prompt
        .write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    prompt.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn who_hangs_up_leaves_no_change_half_done() {
    let porthole = Instance::start();
    let body = json!({"image": "busybox", "command": ["sleep", "infinity"]}).to_string();
    let mut request = format!(
        "POST /api/v1/containers HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        porthole.address(),
        body.len()
    );
    for (name, value) in porthole.admin().headers_for(true) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let request = format!("{request}\r\n{body}");
    // At another moment each time: before it has begun, in its midst, at its end.
    for round in 0..30 {
        let mut client = TcpStream::connect(porthole.address()).expect("connect");
        client.write_all(request.as_bytes()).expect("a request");
        std::thread::sleep(Duration::from_micros(300 * round));
    }
    let all = |path: &str| {
        let list = porthole.admin().get(path).ok();
        list["items"].as_array().expect("a list").clone()
    };
    wait_for("the end of each that was begun", PATIENCE, || {
        let asked = all("/api/v1/audit?act=container_create");
        let begun = asked.len();
        let done = asked.iter().filter(|e| e["result"] == "done").count();
        let containers = all("/api/v1/containers?own=true");
        let running = containers
            .iter()
            .filter(|c| c["state"] == "running")
            .count();
        (begun > 10 && done == begun && running == begun).then_some(())
    });
}

#[test]
fn while_the_keeper_is_away_pages_still_answer() {
    let porthole = Instance::start();
    porthole.sleeper();
    let keeper = porthole.keeper_pid();
    porthole_tests::instance::signal(keeper, rustix::process::Signal::STOP);
    let begun = Instant::now();
    assert_eq!(porthole.admin().get("/healthz").status, 200);
    porthole.admin().get("/api/v1/containers").ok();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    porthole_tests::instance::signal(keeper, rustix::process::Signal::KILL);
    porthole_tests::wait_for("another keeper", porthole_tests::PATIENCE, || {
        (porthole.keeper_pid() != keeper).then_some(())
    });
    porthole.wait_ready();
}
