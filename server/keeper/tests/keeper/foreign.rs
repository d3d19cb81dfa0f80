//! Sessions in containers of other engines, run here by the real engines, compared with what these
//! engines' own exec starts.

mod alike;
mod allowed;
mod endings;
mod machine;
mod tools;

use std::collections::BTreeMap;

use porthole_protocol::id::{ContainerId, HostPid};
use porthole_protocol::keeper::Failure;
use porthole_protocol::namespace::PerNamespace;
use porthole_protocol::session::{Aspect, FidelityLine, Foreign, Session, SessionSpec, Verdict};
use porthole_tests::host;

use crate::place::{Client, Place, session, wait_until};

/// What every session and exec here runs: all that confines it, as the kernel tells it.
const LOOK: &str = "cat /proc/self/status; echo =; cat /proc/self/cgroup; echo =; \
    cat /proc/self/limits; echo =; cat /proc/self/oom_score_adj; echo =; pwd; umask; echo =; \
    for n in mnt uts ipc pid net user cgroup time; do stat -L -c \"$n %i\" /proc/self/ns/$n; done; \
    echo =; env; echo END-OF-LOOK";

/// A keeper whose root allows it; `lines` are added to its policy.
fn place(lines: &str) -> Option<(Place, Client)> {
    let mut place = Place::new()?;
    // The first one has read no policy.
    place.kill();
    std::fs::write(
        place.path("policy.toml"),
        format!("join_foreign = true\n{lines}"),
    )
    .expect("policy");
    place.start();
    let client = place.connect();
    Some((place, client))
}

fn start_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let (_, rest) = stat.rsplit_once(')').expect("a name");
    rest.split_whitespace()
        .nth(19)
        .expect("a field")
        .parse()
        .expect("ticks")
}

fn foreign(pid: i32) -> Foreign {
    let namespaces = host::namespaces(pid);
    Foreign {
        pid: HostPid(pid),
        start_ticks: start_ticks(pid),
        namespaces: PerNamespace::build(|kind| {
            namespaces
                .get(kind.name())
                .copied()
                .map(porthole_protocol::id::NamespaceInode)
        }),
        env: None,
        accept: Vec::new(),
        toolbox: None,
    }
}

fn spec(pid: i32, command: &[&str]) -> SessionSpec {
    let id: ContainerId = format!("none-{pid}-{}", start_ticks(pid))
        .parse()
        .expect("an id");
    SessionSpec {
        foreign: Some(Box::new(foreign(pid))),
        ..session(&id, command, false)
    }
}

/// Opens a session, waits for its end and answers what it wrote.
fn run(place: &Place, client: &mut Client, spec: SessionSpec, number: u8) -> (Session, String) {
    let journal = place.journal(&format!("session-{number}"));
    let opened = client.open(spec, number, &journal).expect("opened");
    let mut ended = None;
    wait_until("the session ends", || {
        let sessions = client.sessions();
        ended = sessions
            .into_iter()
            .find(|s| s.id == opened.id && s.exit.is_some());
        ended.is_some() && !journal.marks().is_empty() && place.monitors() == 0
    });
    (ended.expect("ended"), journal.text())
}

fn refusal(place: &Place, client: &mut Client, spec: SessionSpec, number: u8) -> Failure {
    let journal = place.journal(&format!("refused-{number}"));
    client.open(spec, number, &journal).expect_err("refused")
}

fn verdict(lines: &[FidelityLine], aspect: Aspect) -> Verdict {
    let line = lines.iter().find(|line| line.aspect == aspect);
    line.unwrap_or_else(|| panic!("no line about {aspect}: {lines:?}"))
        .verdict
}

/// What [`LOOK`] has seen.
#[derive(Debug)]
struct Seen {
    status: BTreeMap<String, String>,
    cgroups: BTreeMap<String, String>,
    rest: Vec<String>,
    environment: Vec<String>,
}

fn seen(text: &str) -> Seen {
    assert!(text.contains("END-OF-LOOK"), "{text}");
    let parts: Vec<&str> = text.split("=\n").collect();
    let status: BTreeMap<_, _> = parts[0]
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| host::CONFINEMENT.contains(field))
        .map(|(field, value)| {
            (
                field.to_owned(),
                value.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect();
    let cgroups = parts[1]
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .map(|(tree, path)| {
            // In the cgroup2 tree a session has a group of its own, below.
            let own = path.find("/porthole-session-").filter(|_| tree.is_empty());
            let path = own.map_or(path, |at| if at == 0 { "/" } else { &path[..at] });
            (tree.to_owned(), path.to_owned())
        })
        .collect();
    let mut environment: Vec<String> = parts[6..]
        .concat()
        .lines()
        .filter(|line| !line.starts_with("END-OF") && !line.starts_with("SHLVL"))
        .map(str::to_owned)
        .collect();
    environment.sort();
    Seen {
        status,
        cgroups,
        rest: parts[2..6].iter().map(|part| (*part).to_owned()).collect(),
        environment,
    }
}

/// Everything that confines, equal but for where a line says so.
fn assert_alike(session: &Session, ours: &str, theirs: &str) {
    let (ours, theirs) = (seen(ours), seen(theirs));
    assert_eq!(ours.status, theirs.status, "status");
    assert_eq!(ours.cgroups, theirs.cgroups, "groups");
    for (ours, theirs) in ours.rest.iter().zip(&theirs.rest) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.environment, theirs.environment, "environment");
    for line in &session.fidelity {
        assert_eq!(line.verdict, Verdict::Equal, "{line:?}");
    }
    assert_eq!(session.fidelity.len(), Aspect::ALL.len());
}

/// `unshare`d processes of a test, gone after it.
struct Unshared(std::process::Child, i32);

impl Unshared {
    fn new(options: &[&str]) -> Self {
        let child = std::process::Command::new("unshare")
            .args(options)
            .args(["--fork", "--kill-child", "sleep", "1000000"])
            .spawn()
            .expect("unshare");
        let outer = child.id().cast_signed();
        let mut inner = 0;
        wait_until("unshare has forked", || {
            inner = host::children(outer).first().copied().unwrap_or(0);
            inner != 0
                && host::arguments(inner)
                    .first()
                    .is_some_and(|word| word == "sleep")
        });
        Self(child, inner)
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With users of its own and, in them, everything that runc's defaults take away.
fn with_users(spec: &mut serde_json::Value) {
    let map = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.push(serde_json::json!({"type": "user"}));
    spec["process"]["noNewPrivileges"] = false.into();
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] =
            serde_json::json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_KILL"]);
    }
}
