//! A session beside what the engine's own exec starts in the same moment.

use super::{LOOK, assert_alike, place, run, seen, spec};
use porthole_protocol::session::ExitKind;
use porthole_tests::engines::{DockerDaemon, Podman, Runc};
use porthole_tests::host;

#[test]
fn a_session_in_docker_is_what_docker_exec_is() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let custom = place.path("seccomp.json");
    std::fs::write(
        &custom,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )
    .expect("a profile");
    let custom = format!("--security-opt=seccomp={}", custom.display());
    let cases: [(&[&str], &[&str], Option<&str>); 6] = [
        (&[], &[], None),
        (&["--env", "A=b c", "--workdir", "/tmp"], &[], None),
        (&["--user", "worker"], &[], None),
        (&["--user", "worker"], &["--user", "0"], Some("0")),
        (
            &[
                "--cap-drop=ALL",
                "--cap-add=NET_RAW",
                "--security-opt=no-new-privileges",
                // Equal, since runc's exec sometimes gives the hard one as the soft one (Go does).
                "--ulimit=nofile=200:200",
                "--memory=64m",
                "--oom-score-adj=500",
                "--read-only",
            ],
            &["--user", "worker"],
            Some("worker"),
        ),
        (&[&custom, "--cap-drop=MKNOD"], &[], None),
    ];
    for (number, (options, exec, user)) in (1..).zip(cases) {
        let container = docker.run(options, &["sleep", "1000000"]);
        let init = docker.init(&container);
        let arguments: Vec<&str> = ["exec"]
            .iter()
            .chain(exec)
            .copied()
            .chain([container.as_str(), "sh", "-c", LOOK])
            .collect();
        let theirs = docker.docker(&arguments);
        let mut spec = spec(init, &["sh", "-c", LOOK]);
        spec.user = user.map(|user| user.parse().expect("a user"));
        let (opened, ours) = run(&place, &mut client, spec, number);
        assert_alike(&opened, &ours, &theirs);
        let exit = opened.exit.expect("ended");
        assert_eq!((exit.kind, exit.code), (ExitKind::Exited, 0));
        assert!(host::runs(init), "it goes on");
        // Control: what is compared is not what every process has.
        let own = std::fs::read_to_string("/proc/self/status").expect("status");
        assert_ne!(
            seen(&ours).status["CapBnd"],
            own.lines()
                .find_map(|l| l.strip_prefix("CapBnd:"))
                .expect("a field")
                .trim()
        );
        docker.docker(&["rm", "--force", &container]);
    }
    assert!(host::cgroups("porthole-session").is_empty());
}

#[test]
fn a_session_in_podman_is_what_podman_exec_is() {
    let (Some((place, mut client)), Some(podman)) = (place(""), Podman::start()) else {
        return;
    };
    let container = podman.run(&["--env", "A=b"], &["sleep", "1000000"]);
    let init = podman.init(&container);
    let theirs = podman.podman(&["exec", &container, "sh", "-c", LOOK]);
    let (opened, ours) = run(&place, &mut client, spec(init, &["sh", "-c", LOOK]), 1);
    // Podman's exec forgets the groups that /etc/group gives its own init.
    let groups = host::status(init)["Groups"].clone();
    let theirs = theirs.replace("Groups:\t ", &format!("Groups:\t{groups}"));
    // And the host name, which its init has in the environment too.
    let ours = ours.replace(&format!("HOSTNAME={}\n", &container[..12]), "");
    assert_alike(&opened, &ours, &theirs);
}

/// A filter of system calls for runc's specification.
fn filtered(spec: &mut serde_json::Value) {
    spec["linux"]["seccomp"] = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["unshare", "mount"], "action": "SCMP_ACT_ERRNO"}],
    });
}

#[test]
fn a_session_in_runc_is_what_runc_exec_is() {
    let (Some((place, mut client)), Some(runc)) = (place(""), Runc::start()) else {
        return;
    };
    let init = runc.run("one", |spec| {
        filtered(spec);
        spec["process"]["oomScoreAdj"] = 300.into();
    });
    let theirs = runc.runc(&["exec", "one", "/bin/sh", "-c", LOOK]);
    let (opened, ours) = run(&place, &mut client, spec(init, &["sh", "-c", LOOK]), 1);
    assert_alike(&opened, &ours, &theirs);
    let status = seen(&ours).status;
    assert_eq!(
        (status["Seccomp"].as_str(), status["NoNewPrivs"].as_str()),
        ("2", "1")
    );
    // What the filter refuses, it refuses here: with the control beside it.
    let mount = [
        "sh",
        "-c",
        "mount -t tmpfs x /tmp; unshare -n true; echo END",
    ];
    let (_, refused) = run(&place, &mut client, spec(init, &mount), 2);
    assert!(
        refused.contains("END") && refused.contains("permitted"),
        "{refused}"
    );
    // Init was stopped once only: what it is filtered by is kept.
    let kept = std::fs::read_dir(place.path("run/filters")).expect("kept");
    assert_eq!(kept.count(), 1);
}
