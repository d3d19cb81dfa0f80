//! The same deeds done by other programs of this machine, in the same run: bubblewrap, runc, Podman
//! and Docker, each with directories of its own and gone afterwards.
//!
//! All run the same static busybox, without a network and, where they know any, with the same
//! limits; in turns, so that whatever disturbs the machine disturbs all. A person who uses Docker or
//! Podman waits for their command line's start too, so it counts; Porthole is asked over HTTP, and
//! so is Docker once more. What is not on this machine, or does not run on it, is named and left out.

mod engines;
mod programs;

use std::time::{Duration, Instant};

use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, host};
use serde_json::{Value, json};

use crate::http::Connection;
use crate::memory::{own_processes, shown};
use crate::report::{Report, Samples, spread};
use crate::{Bench, attempt, image, start};

/// How often each does each, and after how long there is no further round.
const ROUNDS: usize = 20;
const BUDGET: Duration = Duration::from_secs(30);
/// Before each: what the last one has left to be done is done by then.
const PAUSE: Duration = Duration::from_millis(50);
/// So many containers run when memory is read.
const KEPT: usize = 10;
/// What all are given that know limits: bytes, processors, processes.
const MEMORY: u64 = 512 << 20;
const PROCESSORS: f64 = 1.0;
const PROCESSES: u32 = 256;
/// In times of a peer that does as much.
const MOST: f64 = 1.0;

/// Somebody who runs containers.
trait Peer {
    /// A container that runs `true`, from nothing until nothing is left.
    fn whole(&mut self) -> anyhow::Result<Duration>;

    /// `true` in the container that was kept first; `None` where there is no such thing.
    fn exec(&mut self) -> anyhow::Result<Option<Duration>>;

    /// One more container that sleeps: the processes of the host's that are there for it alone.
    fn keep(&mut self) -> anyhow::Result<Vec<i32>>;

    /// The processes that are there for all containers.
    fn together(&self) -> Vec<i32> {
        Vec::new()
    }
}

/// A peer, and what is known of it.
struct Candidate {
    name: &'static str,
    /// How it differs, for whoever reads the lines.
    differs: &'static str,
    /// Whether it does as much as Porthole, so that more would be too much.
    as_much: bool,
    /// Whether what its containers take is its own.
    memory: bool,
    start: fn() -> anyhow::Result<Box<dyn Peer>>,
}

const CANDIDATES: [Candidate; 5] = [
    Candidate {
        name: "bwrap",
        differs: "bwrap has no image, control group or limit, and nobody asks it but who starts it.",
        as_much: false,
        memory: true,
        start: programs::bwrap,
    },
    Candidate {
        name: "runc",
        differs: "runc has no image, user namespace, seccomp filter (in its own specification) or record of output.",
        as_much: true,
        memory: true,
        start: programs::runc,
    },
    Candidate {
        name: "podman",
        differs: "podman (overlay, runc) starts its command line each time; no user namespace.",
        as_much: true,
        memory: true,
        start: engines::podman,
    },
    Candidate {
        name: "docker",
        differs: "docker (overlay2, its own dockerd) starts its command line each time; no user namespace.",
        as_much: true,
        memory: true,
        start: engines::docker,
    },
    Candidate {
        name: "docker's API",
        differs: "docker's API is asked over its socket by the same client as Porthole.",
        as_much: true,
        memory: false,
        start: engines::docker_api,
    },
];

/// What was measured of one.
#[derive(Default)]
struct Numbers {
    whole: Vec<Duration>,
    exec: Vec<Duration>,
    /// Memory in bytes: for one container, and for all of them.
    each: u64,
    together: u64,
}

/// A peer that runs here.
struct Running {
    candidate: &'static Candidate,
    peer: Box<dyn Peer>,
    numbers: Numbers,
}

/// What is done by all in turns.
type Deed = fn(&mut dyn Peer, &mut Numbers) -> anyhow::Result<()>;

/// Each with how often.
const DEEDS: [(usize, Deed); 3] = [
    (ROUNDS, |peer, numbers| {
        numbers.whole.push(peer.whole()?);
        Ok(())
    }),
    (ROUNDS, |peer, numbers| {
        numbers.exec.extend(peer.exec()?);
        Ok(())
    }),
    (1, memory),
];

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let Bench {
        porthole, report, ..
    } = bench;
    let porthole: &Instance = porthole;
    let mut ours = Ours::begin(porthole)?;
    warm(&mut ours)?;
    let mut peers = Vec::new();
    for candidate in &CANDIDATES {
        let begun = attempt(|| {
            let mut peer = (candidate.start)()?;
            warm(&mut *peer)?;
            Ok(peer)
        });
        match begun {
            Ok(peer) => peers.push(Running {
                candidate,
                peer,
                numbers: Numbers::default(),
            }),
            Err(why) => report.skipped(candidate.name, &cause(&why)),
        }
    }
    let mut own = Numbers::default();
    for (times, deed) in DEEDS {
        let begun = Instant::now();
        for _ in 0..times {
            if begun.elapsed() > BUDGET {
                break;
            }
            std::thread::sleep(PAUSE);
            deed(&mut ours, &mut own)?;
            peers.retain_mut(|one| {
                std::thread::sleep(PAUSE);
                let done = attempt(|| deed(&mut *one.peer, &mut one.numbers));
                if let Err(why) = &done {
                    report.skipped(one.candidate.name, &cause(why));
                }
                done.is_ok()
            });
        }
    }
    ours.end()?;
    tell(report, &own, &peers);
    Ok(())
}

/// The first of each kind pays for what is set up once; what does not run here fails now.
fn warm(peer: &mut dyn Peer) -> anyhow::Result<()> {
    peer.whole()?;
    peer.keep()?;
    peer.exec()?;
    peer.whole()?;
    peer.exec()?;
    Ok(())
}

/// What is there for one container, of as many as are kept, and for all.
fn memory(peer: &mut dyn Peer, numbers: &mut Numbers) -> anyhow::Result<()> {
    let kept: Vec<Vec<i32>> = (0..KEPT)
        .map(|_| peer.keep())
        .collect::<anyhow::Result<_>>()?;
    // They have just begun: how they are from then on is what counts.
    std::thread::sleep(Duration::from_millis(500));
    let size = |pids: &[i32]| -> u64 { pids.iter().map(|pid| host::proportional(*pid)).sum() };
    numbers.each = kept.iter().map(|pids| size(pids)).sum::<u64>() / KEPT as u64;
    numbers.together = size(&peer.together());
    Ok(())
}

/// A failure in one line: its end, where programs say what is the matter.
fn cause(why: &anyhow::Error) -> String {
    let text = format!("{why:#}").trim().replace('\n', " ");
    let length = text.chars().count();
    text.chars().skip(length.saturating_sub(200)).collect()
}

/// What a line is called, and which number it shows.
type Times = (&'static str, fn(&Numbers) -> &Vec<Duration>);
type Sizes = (&'static str, fn(&Numbers) -> u64);

fn tell(report: &mut Report, own: &Numbers, peers: &[Running]) {
    let times: [Times; 2] = [
        ("run true to its end and removal", |one| &one.whole),
        ("exec true to its end", |one| &one.exec),
    ];
    for (what, of) in times {
        let ours = Samples::of(of(own).iter().copied());
        for one in peers {
            if of(&one.numbers).is_empty() {
                report.skipped(&format!("{what}, {}", one.candidate.name), "it has none");
                continue;
            }
            let theirs = Samples::of(of(&one.numbers).iter().copied());
            let ratio = ours.median() / theirs.median();
            let what = format!("{what}, {}", one.candidate.name);
            let theirs = Some(spread(&theirs));
            report.line(&what, theirs, spread(&ours), Some(ratio), one.bar(ratio));
        }
    }
    let sizes: [Sizes; 2] = [
        ("memory for one container", |one| one.each),
        ("memory for all of them together", |one| one.together),
    ];
    for (what, of) in sizes {
        for one in peers.iter().filter(|one| one.candidate.memory) {
            if of(&one.numbers) == 0 {
                report.skipped(
                    &format!("{what}, {}", one.candidate.name),
                    "no process of its own",
                );
                continue;
            }
            let what = format!("{what}, {}", one.candidate.name);
            let theirs = of(&one.numbers);
            let ratio = of(own) as f64 / theirs as f64;
            let (raw, ours) = (Some(shown(theirs)), shown(of(own)));
            report.line(&what, raw, ours, Some(ratio), one.bar(ratio));
        }
    }
    for one in peers {
        report.note(one.candidate.differs);
    }
    report.note(&format!(
        "Left is the peer and not the floor; median and worst of {}, in turns. Porthole writes what it does through to the disk.",
        own.whole.len()
    ));
}

impl Running {
    fn bar(&self, ratio: f64) -> Option<(String, bool)> {
        self.candidate
            .as_much
            .then(|| (format!("≤ {MOST}× {}", self.candidate.name), ratio <= MOST))
    }
}

/// Porthole, as a client over HTTP has it.
struct Ours<'a> {
    porthole: &'a Instance,
    api: Connection,
    kept: Vec<String>,
}

impl<'a> Ours<'a> {
    fn begin(porthole: &'a Instance) -> anyhow::Result<Self> {
        let archive = image::plain()?;
        let path = "/api/v1/images?name=peer";
        let answer = porthole.admin().post_bytes(path, &archive[..]);
        anyhow::ensure!(answer.status == 201, "{answer}");
        Ok(Self {
            porthole,
            api: Connection::open(porthole.admin())?,
            kept: Vec::new(),
        })
    }

    fn create(&mut self, command: &[&str]) -> anyhow::Result<Value> {
        let limits = json!({"memory": MEMORY, "cpus": PROCESSORS, "pids": PROCESSES});
        let spec =
            json!({"image": "peer", "command": command, "network": "none", "limits": limits});
        self.api.send("POST", "/api/v1/containers", Some(&spec))
    }

    fn end(mut self) -> anyhow::Result<()> {
        self.kept.iter().try_for_each(|id| self.api.remove(id))
    }
}

impl Peer for Ours<'_> {
    fn whole(&mut self) -> anyhow::Result<Duration> {
        self.api.renew()?;
        let begun = Instant::now();
        let id = text(&self.create(&["true"])?["id"]);
        let wait = format!("/api/v1/containers/{id}/wait");
        let ended = self.api.send("POST", &wait, None)?;
        self.api.remove(&id)?;
        let took = begun.elapsed();
        anyhow::ensure!(ended["exit_code"] == 0, "{ended}");
        Ok(took)
    }

    fn exec(&mut self) -> anyhow::Result<Option<Duration>> {
        self.api.renew()?;
        let container = &self.kept[0];
        let client = self.porthole.admin();
        Ok(Some(start::command(client, &mut self.api, container)?.1))
    }

    fn keep(&mut self) -> anyhow::Result<Vec<i32>> {
        let container = self.create(&["sleep", "1000000"])?;
        self.kept.push(text(&container["id"]));
        anyhow::ensure!(container["state"] == "running", "{}", container["error"]);
        Ok(host::parent(pid(&container["pid"])).into_iter().collect())
    }

    fn together(&self) -> Vec<i32> {
        // A monitor is the parent of a container's first process, and not one of these.
        let mut own = own_processes(self.porthole);
        own.retain(|pid| host::status(*pid)["Name"] != "porthole-monito");
        own
    }
}
