//! Network namespaces of a test's own: nothing here touches the machine's interfaces or rules.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{PATIENCE, wait_for};

/// How long somebody is waited for who is not going to answer.
const DEAF: Duration = Duration::from_millis(1500);

/// A network namespace with nothing in it but its loopback interface. What has not left it by then
/// keeps it.
#[derive(Debug)]
pub struct Network {
    holder: Child,
}

impl Network {
    /// Makes one.
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "ip link set lo up && echo && exec sleep infinity",
            ])
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.expect("unshare runs");
        let mut ready = [0];
        let stdout = holder.stdout.as_mut().expect("piped");
        stdout.read_exact(&mut ready).expect("loopback is up");
        Self { holder }
    }

    /// A process that is in it.
    pub fn pid(&self) -> i32 {
        self.holder.id().cast_signed()
    }

    /// Moves this thread into it, for good. What it starts is there too.
    pub fn enter(&self) {
        enter(self.pid());
    }

    /// Runs a command there, which has to succeed.
    pub fn run(&self, command: &str) -> String {
        run_in(self.pid(), command)
    }

    /// Joins two of them by a pair of interfaces, each with its name and addresses.
    pub fn join(&self, name: &str, other: &Self, its_name: &str) {
        let pid = other.pid();
        self.run(&format!(
            "ip link add {name} type veth peer name {its_name} netns {pid} && ip link set {name} up"
        ));
        other.run(&format!("ip link set {its_name} up"));
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Moves this thread into a process's network namespace.
fn enter(pid: i32) {
    let file = File::open(format!("/proc/{pid}/ns/net")).expect("a network namespace");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
}

/// Does something in a process's network namespace.
pub fn within<T: Send + 'static>(
    pid: i32,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        enter(pid);
        work()
    })
}

/// Runs a shell command in a process's network namespace.
pub fn try_in(pid: i32, command: &str) -> Output {
    let command = command.to_owned();
    let ran = within(pid, move || {
        Command::new("sh")
            .args(["-c", &command])
            .output()
            .expect("sh runs")
    });
    ran.join().expect("it ran")
}

/// As [`try_in`]; it has to succeed.
pub fn run_in(pid: i32, command: &str) -> String {
    let output = try_in(pid, command);
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Somebody who listens in a process's network namespace and tells everybody who they are seen as.
/// It goes with the process that the tests run in; one that a test needs no more hurts nobody.
pub fn greet(pid: i32, address: &str) {
    let at: SocketAddr = address.parse().expect("an address");
    let listener = within(pid, move || {
        // A container's address is there a moment after its process.
        wait_for(&format!("to listen on {at}"), PATIENCE, || {
            let tcp = TcpListener::bind(at).ok()?;
            Some((tcp, UdpSocket::bind(at).ok()?))
        })
    });
    let (tcp, udp) = listener.join().expect("it listens");
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { return };
            if let Ok(from) = stream.peer_addr() {
                let _ = write!(stream, "{}", from.ip());
            }
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(from.ip().to_string().as_bytes(), from);
        }
    });
}

/// What somebody in a process's network namespace is greeted with by TCP.
pub fn call(pid: i32, address: &str) -> io::Result<IpAddr> {
    let at: SocketAddr = address.parse().expect("an address");
    let answer = within(pid, move || {
        let mut stream = TcpStream::connect_timeout(&at, DEAF)?;
        stream.set_read_timeout(Some(DEAF))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        text.parse().map_err(io::Error::other)
    });
    answer.join().expect("it called")
}

/// The same by UDP.
pub fn send(pid: i32, address: &str) -> io::Result<IpAddr> {
    let at: SocketAddr = address.parse().expect("an address");
    let answer = within(pid, move || {
        let any: SocketAddr = if at.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(DEAF))?;
        socket.connect(at)?;
        socket.send(b"who am I?")?;
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer)?;
        String::from_utf8_lossy(&buffer[..length])
            .parse()
            .map_err(io::Error::other)
    });
    answer.join().expect("it called")
}
