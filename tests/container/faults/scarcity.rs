//! The machine runs out of something while something is done to a container: it is told in words,
//! and when there is enough again the container is whole or gone.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Answer, Instance, Network, PATIENCE, host, wait_for};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::kills::{Cell, Operation, heading};
use super::remains::Lab;

/// What is wrong meanwhile.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// No room on the disk.
    Disk,
    /// The keeper may open this many files more than it has.
    Files(u64),
    /// The server may.
    FilesOfServer(u64),
    /// The keeper, and what it forks, may take this many KiB more than it has.
    Memory(u64),
    /// Somebody has moved a container's processes out of its groups, and removed those.
    Groups,
}

const FAULTS: [(Fault, &str); 10] = [
    (Fault::Disk, "no room on disk"),
    (Fault::Files(0), "EMFILE in keeper"),
    (Fault::Files(2), "after 2 files"),
    (Fault::Files(5), "after 5"),
    (Fault::FilesOfServer(1), "EMFILE in server"),
    (Fault::FilesOfServer(3), "after 3 files"),
    (Fault::Memory(0), "no memory"),
    (Fault::Memory(64), "after 64 KiB"),
    (Fault::Memory(512), "after 512 KiB"),
    (Fault::Groups, "groups removed"),
];

const OPERATIONS: [Operation; 6] = [
    Operation::Create,
    Operation::Start,
    Operation::Join,
    Operation::Stop,
    Operation::Remove,
    Operation::Import,
];

/// Does everything with every fault; the table, and what was left, in words.
pub(super) fn run_out_of_everything() -> (String, Vec<String>) {
    let machine = Network::new();
    machine.enter();
    let porthole = Instance::builder()
        .on_small_disk()
        .with_policy("[network]\nbridge = true\n")
        .start();
    let lab = Lab::of(porthole, machine);
    let mut table = heading("", FAULTS.map(|(_, name)| name));
    let mut left = Vec::new();
    for operation in OPERATIONS {
        let word = format!("{operation:?}").to_lowercase();
        let _ = write!(table, "{word:<33}");
        for (number, (fault, called)) in FAULTS.into_iter().enumerate() {
            let runs = [Operation::Join, Operation::Stop, Operation::Remove].contains(&operation);
            let cell = if matches!(fault, Fault::Groups) && !runs {
                Cell::Nobody
            } else {
                meet(&lab, operation, fault, &format!("{word}-{number}"))
            };
            cell.enter(&format!("{word}, {called}"), &mut table, &mut left);
        }
        table.push('\n');
    }
    left.extend(lab.journals());
    table.push_str(
        "skipped: a clock that jumps an hour, since CLOCK_REALTIME has no namespace and is the \
         machine's own; what waits is tested with a clock that is passed in (ledger::tests)\n",
    );
    (table, left)
}

fn meet(lab: &Lab, operation: Operation, fault: Fault, name: &str) -> Cell {
    operation.prepare(lab, name);
    fault.begin(lab, name);
    let asked = operation.ask(lab.porthole.admin(), name);
    let begun = Instant::now();
    while !asked.is_finished() && begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(5));
    }
    fault.end(lab);
    let answer = asked
        .join()
        .unwrap_or_else(|_| Err("it broke off".to_owned()));
    lab.porthole.wait_ready();
    if matches!(fault, Fault::Groups) {
        // Without its groups it has lost its limits: it is there again when it is started again.
        let path = format!("/api/v1/containers/{name}/stop");
        let body = ("application/json", "{\"timeout\":0}".to_owned());
        let _ = lab.porthole.admin().try_send("POST", &path, Some(body));
    }
    let silent = said(answer);
    let mut cell = operation.end(lab, name);
    if let (Cell::Left(_, left), Some(silent)) = (&mut cell, silent) {
        left.push(silent);
    }
    cell
}

/// What is wrong with an answer.
fn said(answer: Result<Answer, String>) -> Option<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Some(format!("no answer: {error}")),
    };
    if answer.status < 400 {
        return None;
    }
    let words = text(&answer.json()["error"]["message"]);
    (words.len() < 20 || words.contains("panicked")).then(|| format!("no words: {answer}"))
}

impl Fault {
    fn begin(self, lab: &Lab, name: &str) {
        match self {
            Self::Disk => {
                let mut file = File::create(lab.root().join("fill")).expect("a file on that disk");
                while file.write_all(&[0; 4096]).is_ok() {}
            }
            Self::Files(more) => limit_files(lab.porthole.keeper_pid(), more),
            Self::FilesOfServer(more) => limit_files(lab.porthole.server_pid(), more),
            Self::Memory(more) => {
                let keeper = lab.porthole.keeper_pid();
                let size = host::status(keeper)["VmSize"].clone();
                let size = size.split(' ').next().and_then(|n| n.parse::<u64>().ok());
                let size = (size.expect("a size") + more) << 10;
                limit(keeper, Resource::As, Some(size));
            }
            Self::Groups => {
                let id = text(&lab.porthole.container(name)["id"]);
                let groups = host::cgroups(&id);
                assert!(!groups.is_empty());
                for group in groups {
                    let above = group.ancestors().nth(2).expect("above the instance's");
                    let members = fs::read_to_string(group.join("cgroup.procs"));
                    for member in members.unwrap_or_default().lines() {
                        fs::write(above.join("cgroup.procs"), member).expect("moved");
                    }
                    wait_for("the group to be empty", PATIENCE, || {
                        fs::remove_dir(&group).ok()
                    });
                }
            }
        }
    }

    fn end(self, lab: &Lab) {
        match self {
            Self::Disk => {
                let _ = fs::remove_file(lab.root().join("fill"));
            }
            Self::Files(_) => limit(lab.porthole.keeper_pid(), Resource::Nofile, Some(1024)),
            Self::FilesOfServer(_) => {
                limit(lab.porthole.server_pid(), Resource::Nofile, Some(1024));
            }
            Self::Memory(_) => limit(lab.porthole.keeper_pid(), Resource::As, None),
            Self::Groups => {}
        }
    }
}

fn limit_files(pid: i32, more: u64) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let numbers = open.flatten().map(|entry| entry.file_name());
    let last = numbers
        .filter_map(|name| name.to_str()?.parse::<u64>().ok())
        .max();
    limit(pid, Resource::Nofile, Some(last.unwrap_or(0) + 1 + more));
}

/// The hard limit stays, so that it can be given back.
fn limit(pid: i32, what: Resource, current: Option<u64>) {
    let pid = Pid::from_raw(pid);
    let old = rustix::process::getrlimit(what);
    let maximum = old.maximum;
    let _ = prlimit(pid, what, Rlimit { current, maximum });
}
