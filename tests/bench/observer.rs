//! What the observer costs while much happens, and how soon it tells what: a process of its own, as
//! the keeper has one, on a crowded host.

use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use porthole_discovery::{Settings, observe as observe_host, scan_once};
use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Update;

use crate::Bench;
use crate::floor::BUSYBOX;
use crate::report::{Samples, ms};

/// The argument by which this program is the observer that is measured.
pub(crate) const ALONE: &str = "--observe";

/// So many processes the machine is filled up to.
const PROCESSES: usize = 3000;
/// Every so many milliseconds one is born and one ends: 200 changes a second.
const GAP: u32 = 10;
/// How long is measured: some corrections are among it.
const SECONDS: u64 = 25;
const TIMES: usize = 20;
/// The share of a processor, and the time from a change to its update.
const MOST_SHARE: f64 = 0.05;
const MOST_MS: f64 = 50.0;

/// Observes and tells it over standard input, which is a socket.
pub(crate) fn observe() -> anyhow::Result<()> {
    let stream: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(observe_host(
        stream,
        &Settings::new(Some("/porthole-bench".to_owned())),
    )?)
}

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let there = scan_once(&Settings::new(None))?.processes();
    let _crowd = (PROCESSES > there)
        .then(|| bench.floor.crowd(PROCESSES - there))
        .transpose()?;
    let mut observer = Observer::start()?;
    observer.settle()?;
    for (what, gap) in [
        ("nothing happens", None),
        ("200 changes a second", Some(GAP)),
    ] {
        let _churn = gap.map(|gap| bench.floor.churn(gap)).transpose()?;
        let share = observer.share(Duration::from_secs(SECONDS))?;
        let bar = gap.map(|_| {
            (
                format!("≤ {:.0} % of a core", MOST_SHARE * 100.0),
                share <= MOST_SHARE,
            )
        });
        let what = format!("observer of {PROCESSES} processes, {what}");
        let share = format!("{:.1} %", share * 100.0);
        bench.report.line(&what, None, share, None, bar);
        let (born, ended) = observer.times()?;
        for (what, times) in [("born", born), ("ended", ended)] {
            let what = format!("  a process {what}, told (median, worst)");
            let worst = times.quantile(1.0);
            let both = format!("{}, {}", ms(times.median()), ms(worst));
            bench
                .report
                .number(&what, both, &format!("≤ {MOST_MS} ms"), worst <= MOST_MS);
        }
    }
    Ok(())
}

struct Observer {
    child: Child,
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Observer {
    fn start() -> anyhow::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        let child = Command::new(std::env::current_exe()?)
            .arg(ALONE)
            .stdin(OwnedFd::from(its))
            .spawn()?;
        Ok(Self {
            child,
            stream,
            bytes: Vec::new(),
        })
    }

    /// Takes what it tells until there is nothing more.
    fn settle(&mut self) -> anyhow::Result<()> {
        while self.next(Duration::from_secs(2))?.is_some() {}
        Ok(())
    }

    /// The next update within this time.
    fn next(&mut self, within: Duration) -> anyhow::Result<Option<Update>> {
        let until = Instant::now() + within;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(header) = self.bytes.first_chunk() {
                let end = 4 + u32::from_le_bytes(*header) as usize;
                if let Some(message) = self.bytes.get(4..end) {
                    let update = serde_json::from_slice(message)?;
                    self.bytes.drain(..end);
                    return Ok(Some(update));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => anyhow::bail!("the observer has ended"),
                Ok(length) => self.bytes.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The share of a processor that it has in this time, with its helper.
    fn share(&mut self, time: Duration) -> anyhow::Result<f64> {
        let before = self.ran()?;
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.next(time.saturating_sub(begun.elapsed()))?;
        }
        let ran = self.ran()?.saturating_sub(before);
        Ok(ran.as_secs_f64() / begun.elapsed().as_secs_f64())
    }

    /// How long it has run on a processor.
    fn ran(&self) -> anyhow::Result<Duration> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let mut total = Duration::ZERO;
        for pid in children.split_whitespace().chain([&*pid.to_string()]) {
            let path = format!("/proc/{pid}/schedstat");
            let text = std::fs::read_to_string(&path).context(path)?;
            let ran = text.split(' ').next().context("proc(5)")?;
            total += Duration::from_nanos(ran.parse()?);
        }
        Ok(total)
    }

    /// From the start of a process, and from its end, until that is told.
    fn times(&mut self) -> anyhow::Result<(Samples, Samples)> {
        let (mut born, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let begun = Instant::now();
            let mut child = Command::new(BUSYBOX)
                .args(["sleep", "1000"])
                .stdin(Stdio::null())
                .spawn()?;
            let pid = HostPid(child.id().cast_signed());
            self.until(|update| update.processes.iter().any(|p| p.host_pid == pid))?;
            born.push(begun.elapsed());
            let begun = Instant::now();
            child.kill()?;
            child.wait()?;
            self.until(|update| update.processes_gone.contains(&pid))?;
            ended.push(begun.elapsed());
        }
        Ok((Samples::of(born), Samples::of(ended)))
    }

    fn until(&mut self, condition: impl Fn(&Update) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "it was never told"
            );
            if let Some(update) = self.next(Duration::from_secs(10))?
                && condition(&update)
            {
                return Ok(());
            }
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
