//! The machine runs out of something while something is done to a container: it is told in words,
//! and when there is enough again the container is whole or gone.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Answer, Instance, Network, PATIENCE, host, wait_for};

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
    let mut refused = [0; FAULTS.len()];
    for operation in OPERATIONS {
        let word = format!("{operation:?}").to_lowercase();
        let _ = write!(table, "{word:<33}");
        for (number, (fault, called)) in FAULTS.into_iter().enumerate() {
            let runs = [Operation::Join, Operation::Stop, Operation::Remove].contains(&operation);
            let cell = if matches!(fault, Fault::Groups) && !runs {
                Cell::Nobody
            } else {
                let name = format!("{word}-{number}");
                let (cell, is_refused) = meet(&lab, operation, fault, &name);
                refused[number] += usize::from(is_refused);
                cell
            };
            cell.enter(&format!("{word}, {called}"), &mut table, &mut left);
        }
        table.push('\n');
    }
    left.extend(lab.journals());
    let _ = write!(table, "{:<33}", "of these refused");
    for ((fault, called), refused) in FAULTS.into_iter().zip(refused) {
        let _ = write!(table, " {refused:<17}");
        if fault.bites() && refused == 0 {
            left.push(format!("{called}: nobody has met it"));
        }
    }
    table.push_str(
        "\nskipped: a clock that jumps an hour, since CLOCK_REALTIME has no namespace and is the \
         machine's own; the keeper's waits are tested with a clock that is passed in and set back \
         by an hour (ledger::tests::restarts)\n",
    );
    (table, left)
}

/// What came of it, and whether it was refused.
fn meet(lab: &Lab, operation: Operation, fault: Fault, name: &str) -> (Cell, bool) {
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
    let is_refused = answer.as_ref().is_ok_and(|answer| answer.status >= 400);
    let silent = said(answer).or_else(|| {
        // Without its limits nothing new gets into it.
        let (is_join, is_groups) = (operation == Operation::Join, matches!(fault, Fault::Groups));
        (is_join && is_groups && !is_refused).then(|| "a session began".to_owned())
    });
    let mut cell = operation.end(lab, name);
    if let (Cell::Left(_, left), Some(silent)) = (&mut cell, silent) {
        left.push(silent);
    }
    (cell, is_refused)
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
    let vague = words.len() < 20 || words.contains("panicked") || words.contains("Its log says");
    vague.then(|| format!("no words: {answer}"))
}

impl Fault {
    /// Whether something at least must be refused.
    const fn bites(self) -> bool {
        // The others may have to spare what they need.
        matches!(
            self,
            Self::Disk
                | Self::Files(0..=2)
                | Self::FilesOfServer(0..=1)
                | Self::Memory(0..=64)
                | Self::Groups
        )
    }

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
                limit(keeper, "as", &size.to_string());
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
            Self::Files(_) => limit(lab.porthole.keeper_pid(), "nofile", "1024"),
            Self::FilesOfServer(_) => {
                limit(lab.porthole.server_pid(), "nofile", "1024");
            }
            Self::Memory(_) => limit(lab.porthole.keeper_pid(), "as", "unlimited"),
            Self::Groups => {}
        }
    }
}

/// Lets a process open this many files more than it has.
fn limit_files(pid: i32, more: u64) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let numbers = open.flatten().map(|entry| entry.file_name());
    let numbers: Vec<u64> = numbers.filter_map(|n| n.to_str()?.parse().ok()).collect();
    let free = (0..).filter(|number| !numbers.contains(number));
    let next = free.take(1 + usize::try_from(more).expect("few")).last();
    limit(pid, "nofile", &next.expect("a number").to_string());
}

/// The hard limit stays, so that it can be given back. It is set by one of the same user, since
/// root may not everywhere limit others.
fn limit(pid: i32, what: &str, most: &str) {
    let id = |name: &str| {
        let ids = host::status(pid)[name].clone();
        let first = ids.split_whitespace().next().and_then(|id| id.parse().ok());
        first.expect("an id")
    };
    let set = Command::new("prlimit")
        .arg(format!("--pid={pid}"))
        .arg(format!("--{what}={most}:"))
        .uid(id("Uid"))
        .gid(id("Gid"))
        .status();
    assert!(set.expect("prlimit of util-linux").success());
}
