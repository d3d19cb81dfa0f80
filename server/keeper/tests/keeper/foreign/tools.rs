//! A part of a container's namespaces, and tools for a container that has none.

use super::{Unshared, place, refusal, run, spec, verdict, with_users};
use crate::place::{IDLE, session, wait_until};
use porthole_protocol::keeper::FailureCode;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::{Aspect, SessionSpec, Toolbox, Verdict, Whose};
use porthole_tests::engines::{DockerDaemon, Runc};
use porthole_tests::host;
use std::path::Path;

#[test]
fn a_subset_is_joined_with_the_machines_tools() {
    let (Some((mut place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    let container = docker.run(&[], &["sleep", "1000000"]);
    let init = docker.init(&container);
    let subset = |kinds: &[NamespaceType], command: &[&str]| SessionSpec {
        join: Some(kinds.to_vec()),
        ..spec(init, command)
    };
    let net = [NamespaceType::Net];
    let failure = refusal(&place, &mut client, subset(&net, &["id"]), 1);
    assert_eq!(failure.code, FailureCode::Forbidden, "{failure}");
    assert!(failure.message.contains("host_namespaces"), "{failure}");
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        "join_foreign = true\nhost_namespaces = true\n",
    )
    .expect("policy");
    place.start();
    let mut client = place.connect();
    let look = [
        "/bin/sh",
        "-c",
        "ip -o addr; readlink /proc/self/ns/net; cat /proc/self/status; head -1 /etc/os-release",
    ];
    let (opened, text) = run(&place, &mut client, subset(&net, &look), 2);
    assert!(
        text.contains(&format!("net:[{}]", host::namespaces(init)["net"])),
        "{text}"
    );
    assert!(
        text.contains("127.0.0.1") && text.contains("PRETTY_NAME"),
        "{text}"
    );
    assert!(
        text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"),
        "{text}"
    );
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
    let joined = opened.joined.expect("told");
    for (kind, namespace) in joined.iter() {
        let whose = if kind == NamespaceType::Net {
            Whose::Container
        } else {
            Whose::Host
        };
        assert_eq!(namespace.whose, whose, "{kind}");
    }
    assert_eq!(
        verdict(&opened.fidelity, Aspect::Namespaces),
        Verdict::Weaker
    );
    assert_eq!(
        verdict(&opened.fidelity, Aspect::Seccomp),
        Verdict::Stronger
    );
    // What the container shares with the machine makes no session in it.
    let failure = refusal(
        &place,
        &mut client,
        subset(&[NamespaceType::User], &["id"]),
        3,
    );
    assert_eq!(
        (failure.code, failure.field.as_deref()),
        (FailureCode::Invalid, Some("join"))
    );
    // The same in a container of Porthole's own.
    let journal = place.journal("container");
    let own = client.create(&crate::place::spec(IDLE));
    let own = client.start(&own.id, &journal);
    let spec = SessionSpec {
        join: Some(net.to_vec()),
        ..session(
            &own.id,
            &[
                "/bin/sh",
                "-c",
                "id -u; readlink /proc/self/ns/net /proc/self/ns/mnt",
            ],
            false,
        )
    };
    let (opened, text) = {
        let journal = place.journal("own-subset");
        let opened = client.open(spec, 4, &journal).expect("opened");
        wait_until("it has written", || {
            journal.text().matches(']').count() == 2
        });
        (opened, journal.text())
    };
    let pid = own.pid.expect("a PID").0;
    assert!(text.starts_with("0\n"), "{text}");
    assert!(
        text.contains(&host::namespaces(pid)["net"].to_string()),
        "{text}"
    );
    assert!(
        !text.contains(&host::namespaces(pid)["mnt"].to_string()),
        "{text}"
    );
    assert_eq!(opened.joined.expect("told").mnt.whose, Whose::Host);
    client.remove(&own.id);
}

#[test]
fn a_toolbox_works_where_there_is_no_shell() {
    let (Some((place, mut client)), Some(docker)) = (place(""), DockerDaemon::start()) else {
        return;
    };
    // One static program, and nothing else: busybox under the name by which it sleeps.
    docker.import("scratch", &[("/sleep", Path::new("/bin/busybox"))]);
    let container = docker.run(&["--image=scratch"], &["/sleep", "1000000"]);
    let init = docker.init(&container);
    let failure = refusal(&place, &mut client, spec(init, &[]), 1);
    assert_eq!(failure.code, FailureCode::CommandNotFound, "{failure}");
    for (number, image) in [(2, "busybox"), (3, "host")] {
        let mut spec = spec(
            init,
            &[
                "sh",
                "-c",
                "pwd; ls /target; ls -d /proc/1; cat /proc/1/comm; hostname; touch /tmp/x && echo writable; cat /proc/self/status; stat -c %t,%T /dev/null; readlink /proc/self/ns/pid",
            ],
        );
        if let Some(foreign) = &mut spec.foreign {
            foreign.toolbox = Some(Toolbox {
                image: image.parse().expect("a name"),
            });
        }
        let (opened, text) = run(&place, &mut client, spec, number);
        assert!(text.starts_with("/target\n"), "{image}: {text}");
        assert!(text.contains("\nsleep\n"), "{image}: {text}");
        assert!(text.contains(&container[..12]), "{image}: {text}");
        assert!(text.contains("writable"), "{image}: {text}");
        assert!(
            text.contains("CapBnd:\t00000000a80425fb"),
            "{image}: {text}"
        );
        assert!(text.contains("Seccomp:\t2"), "{image}: {text}");
        assert!(text.contains("1,3"), "{image}: {text}");
        assert!(
            text.contains(&format!("pid:[{}]", host::namespaces(init)["pid"])),
            "{image}: {text}"
        );
        let joined = opened.joined.expect("told");
        assert_eq!(
            (joined.mnt.whose, joined.pid.whose),
            (Whose::Session, Whose::Container)
        );
        assert_eq!(
            verdict(&opened.fidelity, Aspect::Capabilities),
            Verdict::Equal
        );
    }
}

#[test]
fn a_toolbox_belongs_to_the_containers_own_users() {
    let (Some((place, mut client)), Some(runc)) = (super::place(""), Runc::start()) else {
        return;
    };
    let init = runc.run("users", with_users);
    for (number, image) in [(1, "busybox"), (2, "host")] {
        let look = "id -u; touch /tmp/x /root/y && stat -c %u /tmp/x; ls /target/bin; \
            touch /target/tmp/z || echo kept; cat /proc/1/comm; mount -t tmpfs x /mnt || echo refused";
        let mut spec = spec(init, &["sh", "-c", look]);
        if let Some(foreign) = &mut spec.foreign {
            foreign.toolbox = Some(Toolbox {
                image: image.parse().expect("a name"),
            });
        }
        let (opened, text) = run(&place, &mut client, spec, number);
        let shell = format!("{image}: {text}");
        assert!(text.starts_with("0\n0\n"), "{shell}");
        assert!(
            text.contains("busybox\n") && text.contains("\nsleep\n"),
            "{shell}"
        );
        // Its mounts are not the container's to change, whatever capabilities it has.
        assert!(text.contains("refused"), "{shell}");
        let joined = opened.joined.expect("told");
        assert_eq!(joined.user.whose, Whose::Container, "{shell}");
        assert_eq!(joined.mnt.whose, Whose::Session, "{shell}");
    }
    // What was written into them is gone, the records are not.
    let sessions = place.path("root/keeper/sessions");
    for session in std::fs::read_dir(sessions).expect("sessions").flatten() {
        assert!(!session.path().join("toolbox").exists());
        assert!(session.path().join("session.json").exists());
    }
}

#[test]
fn a_terminal_is_one_of_the_containers() {
    let (Some((place, mut client)), Some(docker), Some(runc)) =
        (super::place(""), DockerDaemon::start(), Runc::start())
    else {
        return;
    };
    let container = docker.run(&["--user", "worker"], &["sleep", "1000000"]);
    let inits = [docker.init(&container), runc.run("users", with_users)];
    for (number, (init, toolbox)) in (1..).zip([
        (inits[0], false),
        (inits[0], true),
        (inits[1], false),
        (inits[1], true),
    ]) {
        let look =
            "tty; stat -c %u $(tty); echo >/dev/tty && echo written; stty size; echo TERM=$TERM";
        let mut spec = SessionSpec {
            tty: true,
            ..spec(init, &["sh", "-c", look])
        };
        if let Some(foreign) = spec.foreign.as_mut().filter(|_| toolbox) {
            foreign.toolbox = Some(Toolbox {
                image: "busybox".parse().expect("a name"),
            });
        }
        let (opened, text) = run(&place, &mut client, spec, number);
        let words = format!("{init} {toolbox}: {text}");
        let user = if init == inits[0] { "1000" } else { "0" };
        assert!(
            text.starts_with(&format!("/dev/pts/0\r\n{user}\r\n")),
            "{words}"
        );
        assert!(text.contains("written"), "{words}");
        assert!(text.contains("TERM=xterm-256color"), "{words}");
        assert_eq!(opened.tty_name.as_deref(), Some("/dev/pts/0"), "{words}");
    }
}

/// As `unshare --map-root-user` makes them: their users may not set groups, not even to none
/// (user_namespaces(7)).
#[test]
fn users_who_may_set_no_groups_are_joined_without_any() {
    let Some((place, mut client)) = place("join_privileged = true") else {
        return;
    };
    let options = [
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--mount-proc",
    ];
    let Unshared(_, init) = &Unshared::new(&options);
    let setgroups = std::fs::read_to_string(format!("/proc/{init}/setgroups")).expect("read");
    assert_eq!(setgroups.trim(), "deny");
    let look = "grep -E '^(Uid|Groups):' /proc/self/status; readlink /proc/self/ns/user";
    let (_, text) = run(&place, &mut client, spec(*init, &["sh", "-c", look]), 1);
    let users = host::namespaces(*init)["user"];
    let words: Vec<_> = text.split_whitespace().collect();
    let expected = format!("Uid: 0 0 0 0 Groups: user:[{users}]");
    assert_eq!(words, expected.split(' ').collect::<Vec<_>>(), "{text}");
}
