//! How a container's end is told: a command that a signal ended is no command that chose 128 + n,
//! whoever PID 1 is.

use porthole_tests::instance::{pid, signal, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Everything that is told of the end.
fn end_of(porthole: &Instance, container: &Value) -> (Value, String, String) {
    let ended = porthole.wait_state(&text(&container["id"]), "exited");
    (
        ended["exit_code"].clone(),
        text(&ended["exit_kind"]),
        text(&ended["exit_reason"]),
    )
}

fn exited(code: i32) -> (Value, String, String) {
    (
        json!(code),
        "exited".to_owned(),
        format!("exited with code {code}"),
    )
}

fn ended_by(number: i32, name: &str) -> (Value, String, String) {
    (
        json!(128 + number),
        "signal".to_owned(),
        format!("ended by signal {number} ({name})"),
    )
}

fn container(porthole: &Instance, init: bool, command: &[&str]) -> Value {
    porthole.create(&json!({"image": "busybox", "init": init, "command": command}))
}

/// The command: init's only child, or init where that is the command itself.
fn command_of(container: &Value, init: bool) -> i32 {
    let first = pid(&container["pid"]);
    if !init {
        return first;
    }
    wait_for("the command", PATIENCE, || {
        let child = host::children(first).first().copied()?;
        // Until exec it is a copy of init.
        (host::arguments(child).first()? == "sleep").then_some(child)
    })
}

#[test]
fn a_signal_is_told_from_a_code_that_looks_like_one() {
    let porthole = Instance::start();
    for (script, told) in [
        ("kill -SEGV $$", ended_by(11, "SIGSEGV")),
        ("exit 139", exited(139)),
        ("kill -KILL $$", ended_by(9, "SIGKILL")),
        ("exit 137", exited(137)),
        ("kill -TERM $$", ended_by(15, "SIGTERM")),
        ("exit 3", exited(3)),
        ("exit 255", exited(255)),
        // A child's end is not the command's.
        ("sh -c 'kill -SEGV $$'; exit 139", exited(139)),
    ] {
        let container = container(&porthole, true, &["sh", "-c", script]);
        assert_eq!(end_of(&porthole, &container), told, "{script}");
    }
    // As PID 1 a command ends itself by no signal; by a code it does.
    let container = container(&porthole, false, &["sh", "-c", "exit 139"]);
    assert_eq!(end_of(&porthole, &container), exited(139), "the control");
}

#[test]
fn a_command_that_is_killed_is_told_alike_with_init_and_without() {
    let porthole = Instance::start();
    let sleep = ["sleep", "infinity"];
    for init in [true, false] {
        let container = container(&porthole, init, &sleep);
        signal(command_of(&container, init), Signal::KILL);
        let told = end_of(&porthole, &container);
        assert_eq!(told, ended_by(9, "SIGKILL"), "from outside, init {init}");
    }
    let inside = container(&porthole, true, &sleep);
    command_of(&inside, true);
    porthole.sh(&inside, "kill -ABRT $(pidof sleep)");
    assert_eq!(
        end_of(&porthole, &inside),
        ended_by(6, "SIGABRT"),
        "from inside"
    );
    let stopped = container(&porthole, true, &sleep);
    command_of(&stopped, true);
    let path = format!("/api/v1/containers/{}/stop", text(&stopped["id"]));
    porthole.admin().post(&path, &json!({"timeout": 20})).ok();
    assert_eq!(
        end_of(&porthole, &stopped),
        ended_by(15, "SIGTERM"),
        "forwarded by init"
    );
    // Init itself has no last word.
    let beheaded = container(&porthole, true, &sleep);
    signal(pid(&beheaded["pid"]), Signal::KILL);
    assert_eq!(end_of(&porthole, &beheaded), ended_by(9, "SIGKILL"));
}

#[test]
fn a_signal_is_told_of_one_that_ended_while_nobody_was_there() {
    let mut porthole = Instance::start();
    let sleep = ["sleep", "infinity"];
    let containers = [(); 2].map(|()| container(&porthole, true, &sleep));
    let commands = [0, 1].map(|which| command_of(&containers[which], true));
    signal(porthole.keeper_pid(), Signal::KILL);
    signal(porthole.server_pid(), Signal::KILL);
    signal(commands[0], Signal::SEGV);
    porthole.wait_ready();
    assert_eq!(end_of(&porthole, &containers[0]), ended_by(11, "SIGSEGV"));
    porthole.kill_serve();
    signal(commands[1], Signal::SEGV);
    wait_for("its end", PATIENCE, || {
        (!host::runs(commands[1])).then_some(())
    });
    porthole.serve();
    assert_eq!(end_of(&porthole, &containers[1]), ended_by(11, "SIGSEGV"));
}

/// The kinds of things that a process has open above its standard descriptors, as the host sees it.
fn sockets_of(pid: i32) -> Vec<i32> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process")
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
        })
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

#[test]
fn nobody_in_the_container_says_it_for_init() {
    let porthole = Instance::start();
    let script = "trap 'exit 139' USR1; touch /ready; while :; do sleep 0.05; done";
    let container = container(&porthole, true, &["sh", "-c", script]);
    let init = pid(&container["pid"]);
    let command = wait_for("the command", PATIENCE, || {
        let ready = porthole.sh(&container, "cat /ready && echo yes");
        (ready == "yes")
            .then(|| host::children(init).first().copied())
            .flatten()
    });
    assert_eq!(sockets_of(command), Vec::<i32>::new(), "the command's");
    let [socket] = sockets_of(init)[..] else {
        panic!("the control: init has one, {:?}", sockets_of(init));
    };
    let say = |number: i32| {
        let script =
            format!("(printf '\\013' > /proc/1/fd/{number}) 2>&1 && echo said || echo refused");
        porthole.sh(&container, &script)
    };
    assert_eq!(say(0), "said", "the control: its others can be opened");
    let answer = say(socket);
    assert!(answer.ends_with("refused"), "{answer}");
    signal(command, Signal::USR1);
    assert_eq!(end_of(&porthole, &container), exited(139));
}
