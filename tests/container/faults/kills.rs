//! Every process of Porthole's is killed at every stage of what is done to a container.

use std::fmt::Write as _;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::libc::{
    SYS_bind, SYS_clone3, SYS_execve, SYS_execveat, SYS_fsmount, SYS_mkdir, SYS_mkdirat, SYS_open,
    SYS_pidfd_send_signal, SYS_pivot_root, SYS_rename, SYS_rmdir, SYS_seccomp, SYS_sendmsg,
    SYS_sendto, SYS_setns, SYS_setsid, SYS_unlink, SYS_unlinkat,
};
use porthole_tests::instance::{pid, signal, text};
use porthole_tests::{Answer, Client, PATIENCE, host, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::halt::{Depth, HELPER, Halt, KEEPER, Moment, Standing, WORKER, moment};
use super::remains::{Lab, archive, spec};

/// What is done to a container while something is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Start,
    Join,
    Stop,
    Remove,
    Import,
}

const CREATE: &[Moment] = &[
    moment("a worker was forked", KEEPER, SYS_clone3, "", 1),
    moment("the directory is made", WORKER, SYS_mkdir, "containers/", 1),
    moment("the layers are made", WORKER, SYS_mkdir, "root/etc", 1),
    moment("the record is written", WORKER, SYS_rename, "config.new", 1),
    moment("the worker has reported", WORKER, SYS_sendmsg, "", 1),
];

const START: &[Moment] = &[
    moment("the state is written", KEEPER, SYS_rename, "state.new", 1),
    moment("the socket is bound", KEEPER, SYS_bind, "", 1),
    moment("a monitor was forked", KEEPER, SYS_clone3, "", 1),
    moment("the monitor is alone", WORKER, SYS_setsid, "", 1),
    moment("one group is made", WORKER, SYS_mkdirat, "", 2),
    moment("more groups are made", WORKER, SYS_mkdirat, "", 4),
    moment("the bridge is made", WORKER, SYS_sendto, "", 4),
    moment("nft was started", HELPER, SYS_execve, "nft", 1),
    moment("an init was cloned", WORKER, SYS_clone3, "", 1),
    moment("ids are mapped", WORKER, SYS_open, "gid_map", 1),
    moment("an overlay is mounted", WORKER, SYS_fsmount, "", 1),
    moment("interfaces are made", WORKER, SYS_sendto, "", 10),
    moment("init was let go", WORKER, SYS_sendmsg, "", 1),
    moment("the root is changed", HELPER, SYS_pivot_root, "", 1),
    moment("init is confined", HELPER, SYS_seccomp, "", 1),
    moment("init was executed", HELPER, SYS_execveat, "", 1),
    moment("the trace is written", WORKER, SYS_rename, "trace.new", 1),
    moment("the monitor has told", WORKER, SYS_sendmsg, "", 2),
    moment("the run is written", KEEPER, SYS_rename, "state.new", 2),
];

const JOIN: &[Moment] = &[
    moment("the directory is made", KEEPER, SYS_mkdir, "sessions/", 1),
    moment("a monitor was forked", KEEPER, SYS_clone3, "", 1),
    moment("the group is made", WORKER, SYS_mkdirat, "", 1),
    moment("a joiner was cloned", WORKER, SYS_clone3, "", 1),
    moment("namespaces are entered", HELPER, SYS_setns, "", 1),
    moment("the terminal was handed", HELPER, SYS_sendmsg, "", 2),
    moment("the joiner is confined", HELPER, SYS_seccomp, "", 1),
    moment("the joiner has told", HELPER, SYS_sendmsg, "", 3),
    moment("the trace is written", WORKER, SYS_rename, "trace.new", 1),
    moment("the session is kept", KEEPER, SYS_rename, "session.new", 1),
];

const STOP: &[Moment] = &[
    moment("the wish is written", KEEPER, SYS_rename, "state.new", 1),
    moment("the monitor was told", KEEPER, SYS_sendmsg, "", 1),
    moment("the signal was sent", WORKER, SYS_pidfd_send_signal, "", 1),
    moment("the end is written", WORKER, SYS_rename, "exit.new", 1),
    moment("the state is written", KEEPER, SYS_rename, "state.new", 2),
    moment("a group is removed", WORKER, SYS_unlinkat, "", 1),
];

const REMOVE: &[Moment] = &[
    moment("the monitor was told", KEEPER, SYS_sendmsg, "", 1),
    moment("the end is written", WORKER, SYS_rename, "exit.new", 1),
    moment("a group is removed", WORKER, SYS_unlinkat, "", 1),
    moment("the record goes", WORKER, SYS_unlink, "config.json", 1),
    moment("a layer goes", WORKER, SYS_unlinkat, "upper", 1),
    moment("the directory goes", WORKER, SYS_rmdir, "containers/", 1),
];

const IMPORT: &[Moment] = &[
    moment("an importer was forked", KEEPER, SYS_clone3, "", 1),
    moment("the directory is made", WORKER, SYS_mkdir, "staging/", 1),
    moment("an unpacker was cloned", WORKER, SYS_clone3, "", 1),
    moment("the root is changed", HELPER, SYS_pivot_root, "", 1),
    moment("it is confined", HELPER, SYS_seccomp, "", 1),
    moment("the layer is kept", WORKER, SYS_rename, "layers/", 1),
    moment("the list is written", WORKER, SYS_rename, "index.new", 1),
];

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Forked(Depth),
    Server,
    Serve,
}

const VICTIMS: [(Victim, &str); 5] = [
    (Victim::Forked(KEEPER), "keeper"),
    (Victim::Forked(WORKER), "monitor or worker"),
    (Victim::Forked(HELPER), "its child"),
    (Victim::Server, "server"),
    (Victim::Serve, "serve"),
];

/// What came of it.
#[derive(Debug)]
pub(super) enum Cell {
    /// There is no such process at that moment.
    Nobody,
    /// The moment did not come.
    Never,
    /// Whether it is there afterwards, and what was left when it was removed.
    Left(bool, Vec<String>),
}

impl Cell {
    /// Writes it into a table, and what is wrong with it, in words, to `left`.
    pub(super) fn enter(self, place: &str, table: &mut String, left: &mut Vec<String>) {
        let told = match &self {
            Self::Nobody => "·".to_owned(),
            Self::Never => "never".to_owned(),
            Self::Left(true, left) => format!("{} there", left.len()),
            Self::Left(false, left) => format!("{} gone", left.len()),
        };
        let _ = write!(table, " {told:<17}");
        match self {
            Self::Left(_, lines) => {
                left.extend(lines.into_iter().map(|line| format!("{place}: {line}")));
            }
            Self::Never => left.push(format!("{place}: the moment did not come")),
            Self::Nobody => {}
        }
    }
}

impl Operation {
    fn moments(self) -> &'static [Moment] {
        match self {
            Self::Create => CREATE,
            Self::Start => START,
            Self::Join => JOIN,
            Self::Stop => STOP,
            Self::Remove => REMOVE,
            Self::Import => IMPORT,
        }
    }

    /// Makes what it is done to; who is to be watched beside the keeper.
    pub(super) fn prepare(self, lab: &Lab, name: &str) -> Vec<(i32, Depth)> {
        let mut roots = vec![(lab.porthole.keeper_pid(), KEEPER)];
        let mut spec = spec(name);
        match self {
            Self::Create | Self::Import => {}
            Self::Start => {
                spec["start"] = json!(false);
                lab.porthole.create(&spec);
            }
            Self::Join | Self::Stop | Self::Remove => {
                let container = lab.porthole.create(&spec);
                assert_eq!(container["state"], "running", "{container}");
                if self != Self::Join {
                    let init = pid(&container["pid"]);
                    let monitor = host::parent(init).expect("a monitor");
                    roots.extend([(monitor, WORKER), (init, HELPER)]);
                }
            }
        }
        roots
    }

    /// Whether it is whole afterwards, and what is left when it was removed.
    pub(super) fn end(self, lab: &Lab, name: &str) -> Cell {
        let there = match self {
            Self::Import => Ok(lab.forget_imported(name)),
            _ => is_whole(lab, name),
        };
        lab.remove(name);
        let mut left = lab.leftovers();
        let there = there.unwrap_or_else(|half| {
            left.push(half);
            true
        });
        Cell::Left(there, left)
    }

    /// Asks for it.
    pub(super) fn ask(self, client: &Client, name: &str) -> JoinHandle<Result<Answer, String>> {
        let (client, container) = (client.clone(), format!("/api/v1/containers/{name}"));
        let mut spec = spec(name);
        spec["start"] = json!(false);
        let name = name.to_owned();
        std::thread::spawn(move || {
            let post = |path: &str, body: Value| client.try_post(path, &body);
            match self {
                Self::Create => post("/api/v1/containers", spec),
                Self::Start => post(&format!("{container}/start"), json!({})),
                Self::Join => post(&format!("{container}/sessions"), json!({"command": ["sh"]})),
                Self::Stop => post(&format!("{container}/stop"), json!({"timeout": 5})),
                Self::Remove => client.try_send("DELETE", &format!("{container}?force=true"), None),
                Self::Import => {
                    let path = format!("/api/v1/images?name={name}");
                    client.try_post_bytes(&path, &archive()[..])
                }
            }
        })
    }
}

/// Kills everybody at every stage of these; the table, and what was left, in words.
pub(super) fn kill_at_every_stage(operations: &[Operation]) -> (String, Vec<String>) {
    let mut lab = Lab::start();
    lab.control();
    let mut table = heading("SIGKILL to", VICTIMS.map(|(_, name)| name));
    let mut left = Vec::new();
    for &operation in operations {
        let word = format!("{operation:?}").to_lowercase();
        let mut count = 0;
        for moment in operation.moments() {
            let _ = write!(table, "{word:<7} {:<25}", moment.stage);
            let mut there: Option<Standing> = None;
            for (victim, called) in VICTIMS {
                let cell = match (victim, &there) {
                    (Victim::Forked(depth), Some(standing)) if !standing.contains_key(&depth) => {
                        Cell::Nobody
                    }
                    _ => {
                        count += 1;
                        let name = format!("{word}-{count}");
                        let (cell, standing) = kill(&mut lab, operation, *moment, victim, &name);
                        there.get_or_insert(standing);
                        cell
                    }
                };
                let place = format!("{word}, {}, {called}", moment.stage);
                cell.enter(&place, &mut table, &mut left);
            }
            let _ = writeln!(table);
        }
    }
    left.extend(lab.journals());
    (table, left)
}

/// The first line of a table of faults.
pub(super) fn heading(what: &str, names: impl IntoIterator<Item = &'static str>) -> String {
    let what = format!("leftovers after {what}");
    let mut line = format!("\n{what:<33}");
    for name in names {
        let _ = write!(line, " {name:<17}");
    }
    line + "\n"
}

/// One cell of the table, and who stood still there.
fn kill(
    lab: &mut Lab,
    operation: Operation,
    moment: Moment,
    victim: Victim,
    name: &str,
) -> (Cell, Standing) {
    let roots = operation.prepare(lab, name);
    let (keeper, server) = (lab.porthole.keeper_pid(), lab.porthole.server_pid());
    let halt = Halt::at(moment, &roots);
    let asked = operation.ask(lab.porthole.admin(), name);
    let standing = halt.wait(&asked);
    let running = |&(_, &pid): &(&Depth, &i32)| host::runs(pid);
    let standing: Option<Standing> = standing.map(|all| {
        let all = all.iter().filter(running);
        all.map(|(depth, pid)| (*depth, *pid)).collect()
    });
    let mut killed = None;
    match (&standing, victim) {
        (None, _) => {}
        (Some(standing), Victim::Forked(depth)) => killed = standing.get(&depth).copied(),
        (Some(_), Victim::Server) => killed = Some(server),
        (Some(_), Victim::Serve) => lab.porthole.kill_serve(),
    }
    // It does nothing more, though an init has ended only when those in its namespace have.
    if let Some(pid) = killed {
        signal(pid, Signal::KILL);
    }
    halt.release();
    if let Some(pid) = killed {
        wait_for("its end", PATIENCE, || (!host::runs(pid)).then_some(()));
    }
    if standing.is_some() {
        match victim {
            Victim::Forked(KEEPER) => wait_for("another keeper", PATIENCE, || {
                (lab.porthole.keeper_pid() != keeper).then_some(())
            }),
            Victim::Server => wait_for("another server", PATIENCE, || {
                (lab.porthole.server_pid() != server).then_some(())
            }),
            Victim::Serve => lab.porthole.serve(),
            Victim::Forked(_) => {}
        }
        lab.porthole.wait_ready();
    }
    let _ = asked.join();
    let cell = operation.end(lab, name);
    let cell = standing.as_ref().map_or(Cell::Never, |_| cell);
    (cell, standing.unwrap_or_default())
}

/// Whether a container is there: then it can be started, and a session in it works.
fn is_whole(lab: &Lab, name: &str) -> Result<bool, String> {
    let admin = lab.porthole.admin();
    let path = format!("/api/v1/containers/{name}");
    let begun = Instant::now();
    loop {
        let why = match tries(admin, &path) {
            Ok(there) => return Ok(there),
            Err(why) => why,
        };
        if begun.elapsed() > PATIENCE / 3 {
            return Err(format!("{name} is neither whole nor gone: {why}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn tries(admin: &Client, path: &str) -> Result<bool, String> {
    let found = admin.try_send("GET", path, None)?;
    if found.status == 404 {
        return Ok(false);
    }
    let post = |path: &str, body: Value| admin.try_post(path, &body);
    if found.status != 200 {
        return Err(found.to_string());
    }
    if found.json()["state"] != "running" {
        let started = post(&format!("{path}/start"), json!({}))?;
        if started.status != 200 {
            return Err(started.to_string());
        }
    }
    let command = json!({"command": ["sh", "-c", "exit 7"], "tty": false});
    let session = post(&format!("{path}/sessions"), command)?;
    if session.status != 201 {
        return Err(session.to_string());
    }
    let session = format!("/api/v1/sessions/{}", text(&session.json()["id"]));
    let begun = Instant::now();
    loop {
        let ended = admin.try_send("GET", &session, None)?;
        if ended.status == 200 && ended.json()["exit_code"] == 7 {
            return Ok(true);
        }
        if begun.elapsed() > Duration::from_secs(5) {
            return Err(ended.to_string());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
