//! Processes that are gone or others, namespaces that are none, and what does not answer.

use porthole_protocol::id::{HostPid, NamespaceInode};
use porthole_protocol::inspection::{Document, ProcessIdentity, Subject, What};
use porthole_protocol::keeper::FailureCode;
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::Holder;
use std::os::fd::AsRawFd as _;

use crate::bench::{Room, identity, inode, looked_at, ourselves, refused, try_look};

pub(crate) const ALL: &[crate::Scenario] = &[
    ("who_is_gone_or_another_answers_nothing", gone),
    ("what_is_no_namespace_is_not_opened", no_namespace),
    ("what_cannot_be_known_of_it_is_refused", unfit),
    ("a_visitor_has_nothing_of_the_host", visitor),
    ("what_does_not_answer_is_told_in_words", silent),
];

const ALL_OF_A_PROCESS: [What; 9] = [
    What::Mounts,
    What::Network,
    What::Uts,
    What::Ipc,
    What::User,
    What::Cgroup,
    What::Time,
    What::Pid,
    What::Isolation,
];

fn gone() {
    let room = Room::full();
    let there = identity(room.pid);
    let another = ProcessIdentity {
        start_ticks: there.start_ticks + 1,
        ..there
    };
    drop(room);
    for what in ALL_OF_A_PROCESS {
        for who in [
            there,
            another,
            ProcessIdentity {
                pid: HostPid(0),
                start_ticks: 0,
            },
            ProcessIdentity {
                pid: HostPid(-1),
                start_ticks: 0,
            },
        ] {
            let failure = refused(&Subject::Process(who), what);
            assert_eq!(failure.code, FailureCode::ProcessNotFound, "{failure}");
        }
        // The number is ours, the time another's: as a number that was given again.
        let mut reused = identity(std::process::id().cast_signed());
        reused.start_ticks -= 1;
        let failure = refused(&Subject::Process(reused), what);
        assert_eq!(failure.code, FailureCode::ProcessNotFound, "{failure}");
    }
}

fn no_namespace() {
    let own = HostPid(std::process::id().cast_signed());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pipe");
    let status = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .expect("mkfifo");
    assert!(status.success());
    let held = std::fs::File::open("/proc/self/ns/uts").expect("a namespace");
    let null = std::fs::File::open("/dev/null").expect("a device");
    let (reader, _writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let uts = inode(own.0, NamespaceType::Uts);
    let descriptor = |fd| Holder::Descriptor { pid: own, fd };
    let mount = |path: &str| Holder::Mount {
        pid: own,
        path: path.to_owned(),
    };
    let subject = |kind, inode, holder| Subject::Namespace {
        kind,
        inode,
        holder,
    };
    let control = subject(NamespaceType::Uts, uts, descriptor(held.as_raw_fd()));
    let _ = looked_at!(control, Uts);
    for holder in [
        descriptor(null.as_raw_fd()),
        // Opening either for reading would wait for a writer.
        descriptor(reader.as_raw_fd()),
        mount(&path.display().to_string()),
        descriptor(9999),
        descriptor(-1),
        mount("/proc/self/ns/uts"),
        mount("/dev/null"),
        mount("../../etc/passwd"),
        mount(""),
        mount("/nowhere\0"),
        Holder::Descriptor {
            pid: HostPid(0),
            fd: 0,
        },
    ] {
        let failure = refused(&subject(NamespaceType::Uts, uts, holder.clone()), What::Uts);
        assert_eq!(
            failure.code,
            FailureCode::NamespaceNotFound,
            "{holder:?}: {failure}"
        );
    }
    let wrong = subject(NamespaceType::Net, uts, descriptor(held.as_raw_fd()));
    assert_eq!(
        refused(&wrong, What::Network).code,
        FailureCode::NamespaceNotFound
    );
    let other = NamespaceInode(uts.0 + 1);
    let wrong = subject(NamespaceType::Uts, other, descriptor(held.as_raw_fd()));
    assert_eq!(
        refused(&wrong, What::Uts).code,
        FailureCode::NamespaceNotFound
    );
}

fn unfit() {
    let held = std::fs::File::open("/proc/self/ns/uts").expect("a namespace");
    let own = HostPid(std::process::id().cast_signed());
    let uts = Subject::Namespace {
        kind: NamespaceType::Uts,
        inode: inode(own.0, NamespaceType::Uts),
        holder: Holder::Descriptor {
            pid: own,
            fd: held.as_raw_fd(),
        },
    };
    for what in ALL_OF_A_PROCESS
        .into_iter()
        .filter(|what| *what != What::Uts)
    {
        assert_eq!(refused(&uts, what).code, FailureCode::Invalid, "{what:?}");
        assert_eq!(
            refused(&Subject::Host, what).code,
            FailureCode::Invalid,
            "{what:?}"
        );
    }
    let _ = looked_at!(ourselves(), Network);
}

/// What somebody who is root inside could find of the visitor: seen by a program there that looks
/// for it all the while.
fn visitor() {
    let mut room = Room::full();
    let script = r#"
import os
seen = set()
times = 0
while times < 20:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = open(f"/proc/{pid}/comm").read().strip()
        except OSError:
            continue
        if name != "porthole-visit":
            continue
        for what in ("root", "cwd", "exe"):
            try:
                os.readlink(f"/proc/{pid}/{what}")
                seen.add(what)
            except OSError:
                pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                os.readlink(f"/proc/{pid}/fd/{fd}")
                seen.add("fd")
        except OSError:
            pass
        times += 1
print("seen", *sorted(seen))
"#;
    let directory = tempfile::tempdir().expect("a directory");
    let (program, out) = (
        directory.path().join("look.py"),
        directory.path().join("out"),
    );
    std::fs::write(&program, script).expect("a program");
    room.sh(&format!(
        "python3 {} > {} 2>&1 &",
        program.display(),
        out.display()
    ));
    crate::bench::wait_until("it has been seen often enough", || {
        let looked = try_look(&room.subject(), What::Isolation);
        assert!(looked.document.is_some() && looked.took.as_secs() < 3);
        std::fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n'))
    });
    assert_eq!(
        std::fs::read_to_string(&out).expect("a file").trim(),
        "seen"
    );
}

/// A FUSE file system over a part of `/proc`, as lxcfs is one, that never answers.
fn silent() {
    if !std::path::Path::new("/dev/fuse").exists() {
        println!("SKIPPED: what does not answer: this machine has no /dev/fuse");
        return;
    }
    let mut room = Room::new(&["--mount-proc", "--mount"]);
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("silent_fuse.py");
    std::fs::write(&program, include_str!("silent_fuse.py")).expect("a program");
    let out = directory.path().join("out");
    let control = looked_at!(room.subject(), Isolation);
    assert!(control.covers.items.is_empty());
    room.sh(&format!(
        "python3 {} /proc/uptime > {} 2>&1 &",
        program.display(),
        out.display()
    ));
    crate::bench::wait_until("the file system", || {
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        assert!(said.is_empty() || said == "ready\n", "{said}");
        !said.is_empty()
    });
    let looked = try_look(&room.subject(), What::Isolation);
    let Some(Document::Failed(failure)) = looked.document else {
        panic!("{:?}", looked.document);
    };
    assert_eq!(failure.code, FailureCode::Late, "{failure}");
    assert!(failure.message.contains("FUSE"), "{failure}");
    assert!(
        looked.took < porthole_protocol::inspection::DEADLINE,
        "{:?}",
        looked.took
    );
    // What does not go through it is still told.
    let mounts = looked_at!(room.subject(), Mounts);
    assert!(
        mounts
            .mounts
            .items
            .iter()
            .any(|one| one.path == "/proc/uptime" && one.fstype == "fuse")
    );
    let _ = looked_at!(room.subject(), What::Process { environment: true }, Process);
    let _ = looked_at!(room.subject(), Pid);
}
