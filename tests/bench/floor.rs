//! The floor: `raw.c`, compiled when the benchmark begins.

use std::fs::{Permissions, remove_dir, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use porthole_tests::host;
use tempfile::TempDir;

use crate::report::Samples;

/// The program that busybox is on the host; the floor runs what Porthole's containers run.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// The compiled floor.
pub(crate) struct Floor {
    directory: TempDir,
}

impl Floor {
    /// Compiles it.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("porthole-bench-")
            .tempdir()?;
        // Its containers' users must get through.
        set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
        let compiled = Command::new("cc")
            .args(["-O2", "-o"])
            .arg(directory.path().join("raw"))
            .args(["raw.c", "raw_network.c"].map(|name| sources.join(name)))
            .arg("-lutil")
            .status()
            .context("cc (apt-get install gcc libc6-dev)")?;
        ensure!(compiled.success(), "cc failed");
        Ok(Self { directory })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.directory.path().join("raw"));
        command
            .args(arguments)
            .env("TMPDIR", self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it and returns the columns of numbers that it prints.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<Vec<Vec<f64>>> {
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let groups = format!("porthole-raw-{}", child.id());
        let output = child.wait_with_output()?;
        if !output.status.success() {
            for group in host::cgroups(&groups) {
                let _ = remove_dir(group);
            }
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("raw {}: {}", arguments.join(" "), said.trim());
        }
        let text = String::from_utf8(output.stdout)?;
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for line in text.lines() {
            for (at, number) in line.split(' ').enumerate() {
                if columns.len() <= at {
                    columns.push(Vec::new());
                }
                columns[at].push(number.parse()?);
            }
        }
        Ok(columns)
    }

    /// Times of one kind of work.
    pub(crate) fn times(&self, arguments: &[&str]) -> anyhow::Result<Samples> {
        let columns = self.run(arguments)?;
        let first = columns.into_iter().next().context("raw printed nothing")?;
        Ok(Samples::of_micros(first))
    }

    /// Makes and removes so many containers, after a pause each: until each runs, and until it is
    /// gone. With `rules` for nft(8) each is on the bridge `raw0`, which is there.
    pub(crate) fn create(
        &self,
        times: usize,
        gap: u64,
        layers: usize,
        rules: Option<&str>,
    ) -> anyhow::Result<(Samples, Samples)> {
        let [times, gap, layers] = [times, gap as usize, layers].map(|n| n.to_string());
        let mut arguments = vec!["create", &times, &gap, BUSYBOX, &layers];
        let path = self.directory.path().join("rules");
        if let Some(rules) = rules {
            std::fs::write(&path, rules)?;
            arguments.push(path.to_str().context("a path")?);
        }
        let mut columns = self.run(&arguments)?.into_iter();
        let first = columns.next().context("raw printed nothing")?;
        let second = columns.next().context("raw printed one column")?;
        Ok((Samples::of_micros(first), Samples::of_micros(second)))
    }

    /// A terminal's throughput in bytes a second, and its reader's CPU seconds a gigabyte.
    pub(crate) fn output(&self, mib: u64) -> anyhow::Result<(f64, f64)> {
        let columns = self.run(&["output", &mib.to_string(), BUSYBOX])?;
        let number = |at: usize| columns.get(at).and_then(|column| column.first()).copied();
        let seconds = number(0).context("raw printed nothing")?;
        let cpu = number(1).context("raw printed one column")?;
        let bytes = (mib << 20) as f64;
        Ok((bytes / seconds, cpu / (bytes / 1e9)))
    }

    /// The throughput of so many terminals together in bytes a second.
    pub(crate) fn many(&self, terminals: usize, seconds: u64) -> anyhow::Result<f64> {
        let columns = self.run(&[
            "many",
            &terminals.to_string(),
            &seconds.to_string(),
            BUSYBOX,
        ])?;
        let speed = columns.first().and_then(|column| column.first());
        speed.copied().context("raw printed nothing")
    }

    /// So many sleeping processes more, until the answer is dropped.
    pub(crate) fn crowd(&self, processes: usize) -> anyhow::Result<Crowd> {
        self.until_dropped(&["crowd", &processes.to_string()])
    }

    /// A process born and one ended every so many milliseconds, until the answer is dropped.
    pub(crate) fn churn(&self, gap: u32) -> anyhow::Result<Crowd> {
        self.until_dropped(&["churn", &gap.to_string(), BUSYBOX])
    }

    fn until_dropped(&self, arguments: &[&str]) -> anyhow::Result<Crowd> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("piped")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        ensure!(line == "ready\n", "the crowd did not assemble");
        // The last of them are still on their way to sleep.
        std::thread::sleep(Duration::from_millis(200));
        Ok(Crowd(child))
    }
}

/// Processes that are nothing but there.
pub(crate) struct Crowd(Child);

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
        // They die with their parent, and are reaped by somebody else.
        std::thread::sleep(Duration::from_millis(300));
    }
}
