//! The broker's process: what it may do, and what its end costs.

use super::*;

#[test]
fn a_killed_broker_is_started_again_and_nothing_is_harmed() {
    let Some(docker) = DockerDaemon::start() else {
        return;
    };
    let porthole = with_engines(&format!("{}\nmanage = true", docker_at(&docker)));
    let at = socket(&porthole);
    let mut broker = Broker::follow(&at);
    broker.answers(0);
    let id = docker.run(&[], &["sleep", "1000"]);
    broker.wait("running", |b| {
        (b.container(&id)?.state == RunState::Running).then_some(())
    });
    let init = docker.init(&id);
    let there = |log: &str| log.matches("the engines broker is there").count();
    for round in 1..=3 {
        let server = wait_for("the server's connection", PATIENCE, || {
            // One line of the broker's own, one of the server's.
            (there(&porthole.log()) >= 2 * round).then_some(porthole.server_pid())
        });
        let before = Broker::follow(&at);
        signal(before.hello.pid.0, Signal::KILL);
        let mut after = wait_for("another broker", PATIENCE, || {
            let after = Broker::follow(&at);
            (after.hello.pid != before.hello.pid).then_some(after)
        });
        after.answers(0);
        assert_eq!(after.containers, broker.containers);
        assert_eq!(porthole.server_pid(), server, "the server is the same");
        let said = "the engines broker was ended by signal 9; it is started again";
        assert_eq!(porthole.log().matches(said).count(), round);
    }
    assert_eq!(docker.init(&id), init);
    assert!(porthole.log().contains("the engines broker is away"));
}

#[test]
fn the_broker_has_no_rights_and_is_for_the_server_alone() {
    let porthole = with_engines("docker = \"/run/no/such.sock\"");
    let at = socket(&porthole);
    let broker = Broker::follow(&at);
    let status = host::status(broker.hello.pid.0);
    let passwd = std::fs::read_to_string("/etc/passwd").expect("accounts");
    let account = |name: &str| -> Vec<String> {
        let line = passwd
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        let fields = line
            .unwrap_or_else(|| panic!("{name}: run `make setup`"))
            .split(':');
        fields.skip(2).take(2).map(str::to_owned).collect()
    };
    let (own, server) = (account("porthole-engines"), account("porthole"));
    assert_eq!(status["Uid"], [&*own[0]; 4].join("\t"));
    assert_eq!(status["Gid"], [&*own[1]; 4].join("\t"));
    assert_eq!(status["Groups"], "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0".repeat(16), "{set}");
    }
    assert_eq!(
        (status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()),
        ("1", "2")
    );
    assert_eq!(
        host::environment(broker.hello.pid.0)
            .iter()
            .filter(|v| v.contains("PASSWORD"))
            .count(),
        0
    );

    // Whoever is only in the server's group, as local users of the API are.
    let connects = |uid: &str, gid: &str| {
        let uid = format!("--reuid={uid}");
        let gid = format!("--regid={gid}");
        let mut command = Command::new("setpriv");
        command.args([
            &*uid,
            &*gid,
            "--clear-groups",
            "/usr/bin/perl",
            "-MSocket",
            "-e",
        ]);
        command
            .arg("socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un(shift)) || exit 1");
        let status = command
            .arg(&at)
            .stderr(Stdio::null())
            .status()
            .expect("setpriv");
        status.success()
    };
    assert!(
        connects(&server[0], &server[1]),
        "control: the server itself"
    );
    assert!(!connects("65534", &server[1]));
    assert!(!connects(&own[0], &own[1]));
}
