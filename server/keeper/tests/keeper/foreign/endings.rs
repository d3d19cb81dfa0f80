//! How a session ends, and what it leaves.

use super::{place, refusal, spec};
use crate::place::{session_id, wait_until};
use porthole_protocol::keeper::{FailureCode, Reply, Request};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{ExitKind, SessionSpec, Target};
use porthole_tests::engines::DockerDaemon;
use porthole_tests::host;

#[test]
fn a_session_ends_with_its_container_and_hinders_nothing() {
    let (Some((place, mut client)), Some(docker)) =
        (place("host_namespaces = true\n"), DockerDaemon::start())
    else {
        return;
    };
    for (number, join) in [(1, None), (2, Some(vec![NamespaceType::Net]))] {
        let container = docker.run(&[], &["sleep", "1000000"]);
        let init = docker.init(&container);
        let late = spec(init, &["id"]);
        let journal = place.journal(&format!("session-{number}"));
        let spec = SessionSpec {
            join,
            tty: true,
            ..spec(init, &["/bin/sh", "-c", "sleep 1000000 & sleep 1000000"])
        };
        let opened = client.open(spec, number, &journal).expect("opened");
        let shell = opened.host_pid.expect("a PID").0;
        assert!(host::runs(shell));
        let group = std::fs::read_to_string(format!("/proc/{shell}/cgroup")).expect("groups");
        assert!(group.contains("/porthole-session-"), "{group}");
        docker.docker(&["rm", "--force", &container]);
        wait_until("the session has ended", || {
            client
                .sessions()
                .iter()
                .any(|s| s.id == opened.id && s.exit.is_some())
        });
        let sessions = client.sessions();
        let ended = sessions.iter().find(|s| s.id == opened.id).expect("kept");
        let exit = ended.exit.as_ref().expect("ended");
        assert_eq!(exit.reason, "its container has ended");
        assert!(!host::runs(shell));
        assert!(host::cgroups(&container).is_empty(), "its groups are gone");
        let failure = refusal(&place, &mut client, late, 9);
        assert_eq!(failure.code, FailureCode::WrongState, "{failure}");
    }
}

#[test]
fn a_killed_keeper_and_monitor_leave_no_session_behind() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    let journal = place.journal("session");
    let opened = client
        .open(
            spec(init, &["sh", "-c", "sleep 1000000 & sleep 1000000"]),
            1,
            &journal,
        )
        .expect("opened");
    let shell = opened.host_pid.expect("a PID").0;
    drop(client);
    place.kill();
    place.start();
    let mut client = place.connect();
    let mut sessions = Vec::new();
    wait_until("it is adopted", || {
        sessions = client.sessions();
        !sessions.is_empty()
    });
    assert_eq!(sessions, vec![opened.clone()]);
    assert!(host::runs(shell));
    let monitor = place.monitor(&Target::Session(opened.id.clone()));
    let monitor = rustix::process::Pid::from_raw(monitor).expect("a PID");
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).expect("kill");
    wait_until("it is lost", || {
        client.sessions().iter().any(|s| {
            s.exit
                .as_ref()
                .is_some_and(|exit| exit.kind == ExitKind::Lost)
        })
    });
    wait_until("what was left of it is killed", || !host::runs(shell));
    assert_eq!(
        client.ask(Request::ForgetSession {
            session: session_id(1)
        }),
        Reply::Done
    );
    let name = format!("porthole-session-{}", session_id(1));
    wait_until("its group is gone", || host::cgroups(&name).is_empty());
    assert!(host::runs(init));
}
