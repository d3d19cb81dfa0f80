//! How fast a session's hub is, beside the bare system calls in the same run.
//!
//! `cargo run --release -p porthole-terminal --example measure [MEGABYTES]`
//!
//! One line a measure: what, raw, hub, ratio. The viewer is in the same process and thread, as
//! a socket's task is in the server; sockets and frames' masking are not measured.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use porthole_journal::{Limit, create};
use porthole_protocol::frame::{ClientFrame, OUTPUT_HEADER};
use porthole_protocol::id::Seq;
use porthole_protocol::session::Size;
use porthole_terminal::{
    Descriptors, Hub, HubHandle, Message, Opening, Permission, Subscription, SystemClock, Viewer,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

type Failure = Box<dyn std::error::Error>;

const ECHOES: usize = 2000;

fn main() -> Result<(), Failure> {
    let megabytes = std::env::args()
        .nth(1)
        .map_or(Ok(200), |text| text.parse())?;
    let bytes = megabytes * 1024 * 1024;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{:34} {:>10} {:>10} {:>7}", "", "raw", "hub", "ratio");
    let (raw, hub) = (raw_flood(bytes)?, runtime.block_on(flood(bytes))?);
    line("one session's output, MB/s", raw.rate, hub.rate);
    line("the same, CPU s/GB", raw.cpu, hub.cpu);
    let (mut raw, mut hub) = (raw_echo()?, runtime.block_on(echo(0))?);
    line("echo, idle, p50 µs", at(&mut raw, 50), at(&mut hub, 50));
    line("echo, idle, p99 µs", at(&mut raw, 99), at(&mut hub, 99));
    let mut beside = runtime.block_on(echo(1))?;
    line(
        "echo beside a flood, p50 µs",
        at(&mut raw, 50),
        at(&mut beside, 50),
    );
    line(
        "echo beside a flood, p99 µs",
        at(&mut raw, 99),
        at(&mut beside, 99),
    );
    let all = runtime.block_on(many(20, bytes / 10))?;
    line("20 sessions flooding, MB/s in all", 0.0, all);
    Ok(())
}

fn line(what: &str, raw: f64, hub: f64) {
    println!("{what:34} {raw:>10.2} {hub:>10.2} {:>7.2}", hub / raw);
}

struct Pty {
    master: OwnedFd,
    slave: File,
}

/// A terminal in raw mode, that echoes or does not.
fn pty(echo: bool) -> Result<Pty, Failure> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let flags = fcntl_getfl(&master)?;
    fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str()?)?;
    let mut raw = tcgetattr(&slave)?;
    raw.make_raw();
    if echo {
        raw.local_modes |= rustix::termios::LocalModes::ECHO;
    }
    tcsetattr(&slave, OptionalActions::Now, &raw)?;
    Ok(Pty { master, slave })
}

fn producer(slave: &File, bytes: usize) -> Result<Child, Failure> {
    Ok(Command::new("head")
        .args(["-c", &bytes.to_string(), "/dev/zero"])
        .stdout(Stdio::from(slave.try_clone()?))
        .spawn()?)
}

struct Flood {
    rate: f64,
    cpu: f64,
}

impl Flood {
    fn of(bytes: usize, began: Instant, cpu: f64) -> Result<Self, Failure> {
        Ok(Self {
            rate: bytes as f64 / 1e6 / began.elapsed().as_secs_f64(),
            cpu: (cpu_seconds()? - cpu) / (bytes as f64 / 1e9),
        })
    }
}

/// Seconds of processor time that this process has used, user and system.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
    let ticks = |n: usize| fields.get(n).map_or(Ok(0.0), |text| text.parse::<f64>());
    Ok((ticks(12)? + ticks(13)?) / 100.0)
}

fn raw_flood(bytes: usize) -> Result<Flood, Failure> {
    let Pty { master, slave } = pty(false)?;
    let mut child = producer(&slave, bytes)?;
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let (mut left, mut buffer) = (bytes, [0; 4096]);
    while left > 0 {
        match rustix::io::read(&master, &mut buffer) {
            Ok(count) => left -= count,
            Err(rustix::io::Errno::AGAIN) => {
                poll(&mut [PollFd::new(&master, PollFlags::IN)], None)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    let flood = Flood::of(bytes, began, cpu);
    child.wait()?;
    flood
}

fn raw_echo() -> Result<Vec<f64>, Failure> {
    let Pty {
        master,
        slave: _slave,
    } = pty(true)?;
    let (mut times, mut buffer) = (Vec::new(), [0; 64]);
    for _ in 0..ECHOES {
        let began = Instant::now();
        rustix::io::write(&master, b"x")?;
        poll(&mut [PollFd::new(&master, PollFlags::IN)], None)?;
        rustix::io::read(&master, &mut buffer)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(times)
}

/// A session and one who looks at it.
struct Session {
    _directory: tempfile::TempDir,
    _hub: HubHandle,
    slave: File,
    viewer: Subscription,
    received: u64,
    acked: u64,
}

impl Session {
    async fn new(echo: bool) -> Result<Self, Failure> {
        let Pty { master, slave } = pty(echo)?;
        let directory = tempfile::tempdir()?;
        let files = create(directory.path())?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let clone = files.try_clone()?;
        let fds = vec![
            master,
            read,
            write,
            clone.journal.into(),
            clone.index.into(),
        ];
        let hub = Hub::spawn(Opening {
            files,
            screen: None,
            tty: true,
            size: Size::DEFAULT,
            recorded: true,
            exit: None,
            limit: Limit::default(),
            clock: Arc::new(SystemClock),
        })?;
        hub.attach(Descriptors { tty: true, fds }).await?;
        let viewer = hub
            .subscribe(Viewer {
                user: "measure".to_owned(),
                id: None,
                resume: Some(Seq(0)),
                permission: Permission::Write,
            })
            .await?;
        Ok(Self {
            _directory: directory,
            _hub: hub,
            slave,
            viewer,
            received: 0,
            acked: 0,
        })
    }

    /// Takes output until so many bytes have come.
    async fn receive(&mut self, to: u64) -> Result<(), Failure> {
        while self.received < to {
            let Some(Message::Frame(frame)) = self.viewer.outgoing.next().await else {
                return Err("the hub closed".into());
            };
            if frame.first() == Some(&0x81) {
                self.received += (frame.len() - OUTPUT_HEADER) as u64;
            }
            if self.received - self.acked > 32 * 1024 {
                self.acked = self.received;
                let frame = ClientFrame::Acknowledge(Seq(self.acked)).encode();
                self.viewer.incoming.send(Bytes::from(frame)).await?;
            }
        }
        Ok(())
    }
}

async fn flood(bytes: usize) -> Result<Flood, Failure> {
    let mut session = Session::new(false).await?;
    let mut child = producer(&session.slave, bytes)?;
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    session.receive(bytes as u64).await?;
    let flood = Flood::of(bytes, began, cpu);
    child.wait()?;
    flood
}

async fn echo(floods: usize) -> Result<Vec<f64>, Failure> {
    let mut children = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..floods {
        let mut session = Session::new(false).await?;
        children.push(producer(&session.slave, 1 << 40)?);
        tasks.push(tokio::task::spawn(async move {
            // It ends when it is aborted.
            let _ = session
                .receive(u64::MAX)
                .await
                .map_err(|error| error.to_string());
        }));
    }
    let mut session = Session::new(true).await?;
    let mut times = Vec::new();
    for typed in 0..ECHOES as u64 {
        let began = Instant::now();
        let frame = ClientFrame::Input {
            seq: typed,
            bytes: b"x",
        };
        session.viewer.incoming.send(frame.encode().into()).await?;
        session.receive(typed + 1).await?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    for task in tasks {
        task.abort();
    }
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(times)
}

/// Sessions that flood at the same time; megabytes a second of all together.
async fn many(count: usize, bytes: usize) -> Result<f64, Failure> {
    let mut tasks = Vec::new();
    let began = Instant::now();
    for _ in 0..count {
        let mut session = Session::new(false).await?;
        let mut child = producer(&session.slave, bytes)?;
        tasks.push(tokio::task::spawn(async move {
            let received = session.receive(bytes as u64).await;
            let waited = child.wait();
            received
                .map_err(|error| error.to_string())
                .and(waited.map_err(|e| e.to_string()))
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok((count * bytes) as f64 / 1e6 / began.elapsed().as_secs_f64())
}

fn at(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
