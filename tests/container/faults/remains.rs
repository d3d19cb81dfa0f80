//! Everything of a Porthole that the machine has: what is left of a container shows here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use porthole_tests::instance::text;
use porthole_tests::{Instance, Network, PATIENCE, host, wait_for};
use serde_json::json;

/// A Porthole in a network namespace of its own, and what there is of it without containers.
pub(super) struct Lab {
    pub(super) porthole: Instance,
    machine: Network,
    /// The control group of all its containers, by its name.
    base: String,
    /// Where that is while there are any.
    trees: Vec<PathBuf>,
    before: Vec<String>,
}

impl Lab {
    pub(super) fn start() -> Self {
        let machine = Network::new();
        machine.enter();
        let porthole = Instance::builder()
            .with_policy("[network]\nbridge = true\n")
            .start();
        Self::of(porthole, machine)
    }

    pub(super) fn of(porthole: Instance, machine: Network) -> Self {
        // The first one makes what all of them stand on, which stays.
        let first = porthole.create(&spec("first"));
        assert_eq!(first["state"], "running", "{first}");
        let group = text(&first["cgroup"]);
        let base = group.split('/').find(|part| part.starts_with("porthole-"));
        let base = base.expect("a group of its own").to_owned();
        let trees = host::cgroups(&base);
        assert!(!trees.is_empty(), "no group is called {base}");
        let mut lab = Self {
            porthole,
            machine,
            base,
            trees,
            before: Vec::new(),
        };
        lab.remove("first");
        // So does the first image.
        let admin = lab.porthole.admin();
        let imported = admin.post_bytes("/api/v1/images?name=first", &archive()[..]);
        assert_eq!(imported.status, 201, "{imported}");
        assert!(lab.forget_image("first"));
        // What is removed goes a moment after the answer: as it was twice in a row.
        let begun = Instant::now();
        while lab.before.is_empty() || lab.now() != lab.before {
            assert!(begun.elapsed() < PATIENCE, "{:#?}", lab.before);
            lab.before = lab.now();
            std::thread::sleep(Duration::from_millis(300));
        }
        // The last one takes the filter's rules away, which is nobody else's doing.
        let log = lab.porthole.log();
        assert!(!log.contains("rules about containers were changed"));
        lab
    }

    /// Its state, also on a disk that only its own processes see.
    pub(super) fn root(&self) -> PathBuf {
        let serve = self.porthole.serve_pid();
        format!("/proc/{serve}/root{}", self.porthole.root().display()).into()
    }

    /// Removes a container, if it is there.
    pub(super) fn remove(&self, name: &str) {
        let path = format!("/api/v1/containers/{name}?force=true");
        porthole_tests::wait_for(&format!("{name} to go"), PATIENCE, || {
            let answer = self.porthole.admin().try_send("DELETE", &path, None).ok()?;
            [204, 404].contains(&answer.status).then_some(())
        });
    }

    /// Removes an image; whether it was there.
    fn forget_image(&self, name: &str) -> bool {
        let path = format!("/api/v1/images/{name}");
        let answer = self.porthole.admin().try_send("DELETE", &path, None);
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Removes an image also where its import goes on without whoever asked for it; whether it was
    /// there.
    pub(super) fn forget_imported(&self, name: &str) -> bool {
        let begun = Instant::now();
        let mut there = false;
        while begun.elapsed() < PATIENCE / 3 {
            there |= self.forget_image(name);
            if self.now() == self.before {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        there
    }

    /// What is there and was not before any container, or was and is not, once it stays so.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let now = self.now();
            if now == self.before {
                return Vec::new();
            }
            if begun.elapsed() > PATIENCE / 3 {
                let more = now.iter().filter(|line| !self.before.contains(line));
                let less = self.before.iter().filter(|line| !now.contains(line));
                let all = more
                    .cloned()
                    .chain(less.map(|line| format!("gone: {line}")));
                let mut all: Vec<_> = all.collect();
                if all.is_empty() {
                    all.push("one thing twice".to_owned());
                }
                return all;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn now(&self) -> Vec<String> {
        let porthole = &self.porthole;
        let mut all: Vec<String> = porthole
            .processes()
            .into_iter()
            .filter(|&pid| host::runs(pid))
            .map(|pid| format!("process {}", host::status(pid)["Name"]))
            .collect();
        all.extend(host::mounts_below(&porthole.root()));
        let table = format!("/proc/{}/mountinfo", porthole.keeper_pid());
        let root = porthole.root();
        let root = root.to_string_lossy();
        all.extend(
            lines(&fs::read_to_string(table).unwrap_or_default())
                .filter(|line| line.contains(&*root)),
        );
        for group in host::cgroups(&self.base) {
            walk(&group, 3, &|path| path.is_dir(), &mut all);
            all.push(group.display().to_string());
        }
        // What root's own part holds says which ids are taken, too: a record each.
        let root = self.root();
        let log = root.join("keeper/monitors.log");
        walk(&root.join("keeper"), 3, &|path| path != log, &mut all);
        walk(&porthole.run(), 2, &|_| true, &mut all);
        // Where that is seen changes with the process by which it is.
        let seen = root.to_string_lossy();
        for line in &mut all {
            *line = line.replace(&*seen, "ROOT");
        }
        let network = "ip -o link; ip -o address; ip route; ip -6 route; nft list ruleset; \
            cat /proc/sys/net/ipv4/ip_forward";
        all.extend(lines(&self.machine.run(network)));
        all.sort();
        all
    }

    /// A journal is made before its session is, and so is one that nothing came of: the server
    /// deletes it when it is old. All that are left are made old here; which then stay.
    pub(super) fn journals(&self) -> Vec<String> {
        let directory = self.root().join("server/journals");
        let listed = || {
            let mut all = Vec::new();
            walk(&directory, 1, &|_| true, &mut all);
            all
        };
        for journal in listed() {
            let hour = std::time::SystemTime::now() - Duration::from_secs(3600);
            let opened = fs::File::open(&journal).expect("a journal");
            opened.set_modified(hour).expect("made old");
        }
        let server = self.porthole.server_pid();
        porthole_tests::instance::signal(server, rustix::process::Signal::KILL);
        let begun = Instant::now();
        while !listed().is_empty() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.porthole.wait_ready();
        listed()
    }

    /// A container's directory, a group of each tree, a socket, an interface and a process are
    /// seen, each by itself: the check can fail.
    pub(super) fn control(&self) {
        // A process that was just started has no environment yet by which it is known.
        let seen = |what: &str| {
            wait_for(what, PATIENCE, || (self.now() != self.before).then_some(()));
        };
        let root = self.root();
        let directories = [
            root.join("keeper/containers/left"),
            root.join("keeper/sessions/left"),
            root.join("keeper/images/layers/left"),
            root.join("keeper/images/staging/left"),
            self.porthole.run().join("m/left"),
        ];
        for path in directories.iter().chain(&self.trees) {
            fs::create_dir(path).expect("planted");
            seen(&path.display().to_string());
            fs::remove_dir(path).expect("taken away");
        }
        self.machine.run("ip link add left type veth peer right");
        seen("an interface");
        self.machine.run("ip link delete left");
        self.machine.run("nft add table inet left");
        seen("a table");
        self.machine.run("nft delete table inet left");
        let mut process = std::process::Command::new("sleep")
            .arg("1000")
            .env("PORTHOLE_RUN", self.porthole.run())
            .spawn()
            .expect("sleep");
        seen("a process");
        process.kill().expect("killed");
        process.wait().expect("reaped");
        assert!(self.leftovers().is_empty());
    }
}

/// A container that sleeps, connected to the bridge.
pub(super) fn spec(name: &str) -> serde_json::Value {
    json!({"image": "busybox", "name": name, "network": "bridge", "command": ["sleep", "infinity"]})
}

/// A root file system that holds hardly anything.
pub(super) fn archive() -> Vec<u8> {
    let mut tape = tar::Builder::new(Vec::new());
    for name in ["etc", "usr"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        tape.append_data(&mut header, name, &[][..])
            .expect("a directory");
    }
    tape.into_inner().expect("an archive")
}

fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().map(str::to_owned)
}

fn walk(directory: &Path, depth: usize, wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&path) {
            found.push(path.display().to_string());
        }
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, depth - 1, wanted, found);
        }
    }
}
