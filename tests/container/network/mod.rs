//! What containers reach and who reaches them: each test has a machine of its own, which is a
//! network namespace with one interface, and a peer at its other end that plays the world.

mod apt;
mod faults;
mod instances;
mod isolation;
mod ports;
mod reach;
mod sharing;

use std::net::IpAddr;

use porthole_tests::instance::{pid, text};
use porthole_tests::{Builder, Client, Instance, Network, PATIENCE, wait_for};
use serde_json::{Value, json};

/// The machine's addresses, as its peer sees them.
const MACHINE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// The peer's.
const PEER: [&str; 2] = ["192.0.2.254", "2001:db8::fe"];

/// A machine with a peer, and a Porthole on it.
struct Lab {
    porthole: Option<Instance>,
    machine: Network,
    peer: Network,
    before: String,
}

impl Lab {
    /// With a bridge, and this in the policy's table `network` too.
    fn new(network: &str) -> Self {
        Self::start(&format!("[network]\nbridge = true\n{network}"), "")
    }

    /// With this policy, on a machine that was prepared by this command.
    fn start(policy: &str, prepare: &str) -> Self {
        Self::with(Instance::builder().with_policy(policy), prepare)
    }

    /// With what is told by this builder.
    fn with(porthole: Builder, prepare: &str) -> Self {
        let (machine, peer) = (Network::new(), Network::new());
        machine.join("up0", &peer, "down0");
        for (network, link, address) in [(&machine, "up0", MACHINE), (&peer, "down0", PEER)] {
            let [v4, v6] = address;
            // No address that takes a moment to be sure of itself, and no router.
            network.run(&format!(
                "ip link set {link} addrgenmode none; ip address flush dev {link}; \
                 echo 0 > /proc/sys/net/ipv4/ip_forward; ip address add {v4}/24 dev {link} && ip address add {v6}/64 dev {link} nodad"
            ));
        }
        let [v4, v6] = PEER;
        machine.run(&format!(
            "ip route add default via {v4} && ip route add default via {v6}"
        ));
        machine.run(&format!("true; {prepare}"));
        machine.enter();
        let before = look(&machine);
        Self {
            porthole: Some(porthole.start()),
            machine,
            peer,
            before,
        }
    }

    fn porthole(&self) -> &Instance {
        self.porthole.as_ref().expect("it runs")
    }

    /// A container of the administrator's that sleeps, and more of its specification.
    fn container(&self, name: &str, more: Value) -> Container {
        self.container_of(self.porthole().admin(), name, more)
    }

    fn container_of(&self, who: &Client, name: &str, more: Value) -> Container {
        let answer = who.post("/api/v1/containers", &spec(name, more));
        assert_eq!(answer.status, 201, "{answer}");
        Container::of(answer.json())
    }

    /// Everything is as it was before Porthole came.
    fn is_clean(&self) {
        let begun = std::time::Instant::now();
        loop {
            let now = look(&self.machine);
            if now == self.before {
                return;
            }
            let monitors = self.porthole().root().join("keeper/monitors.log");
            assert!(
                begun.elapsed() < PATIENCE / 3,
                "{now}\n--- instead of\n{}\n---\n{}",
                self.before,
                std::fs::read_to_string(monitors).unwrap_or_default()
            );
        }
    }

    /// Removes a container.
    fn remove(&self, container: &Container) {
        let path = format!("/api/v1/containers/{}?force=true", container.id);
        let answer = self.porthole().admin().delete(&path);
        assert_eq!(answer.status, 204, "{answer}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // While it runs, so that what it says of it can be read.
        let admin = self.porthole().admin();
        let all = admin.get("/api/v1/containers?own=true").ok();
        for container in all["items"].as_array().into_iter().flatten() {
            let path = format!("/api/v1/containers/{}?force=true", text(&container["id"]));
            admin.delete(&path);
        }
        self.is_clean();
        drop(self.porthole.take());
    }
}

/// What there is on a machine of interfaces, addresses, routes, rules and settings.
fn look(machine: &Network) -> String {
    machine.run(
        "ip -o link; ip -o address; ip route; ip -6 route; nft list ruleset; \
         cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \
             /proc/sys/net/ipv6/conf/up0/forwarding /proc/sys/net/ipv6/conf/up0/accept_ra",
    )
}

fn spec(name: &str, more: Value) -> Value {
    let mut spec = json!({"image": "busybox", "name": name, "command": ["sleep", "infinity"]});
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    spec
}

/// A container that was started.
struct Container {
    id: String,
    pid: i32,
    v4: IpAddr,
    v6: IpAddr,
    json: Value,
}

impl Container {
    #[track_caller]
    fn of(json: Value) -> Self {
        assert_eq!(json["state"], "running", "{json}");
        let address = |index: usize| {
            let text = json["addresses"][index].as_str();
            text.unwrap_or_else(|| panic!("{json}"))
                .parse()
                .expect("an address")
        };
        Self {
            id: text(&json["id"]),
            pid: pid(&json["pid"]),
            v4: address(0),
            v6: address(1),
            json,
        }
    }

    fn at(&self, port: u16) -> [String; 2] {
        [
            format!("{}:{port}", self.v4),
            format!("[{}]:{port}", self.v6),
        ]
    }
}

fn addresses([v4, v6]: [&str; 2], port: u16) -> [String; 2] {
    [format!("{v4}:{port}"), format!("[{v6}]:{port}")]
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The bridge's name.
fn bridge(lab: &Lab) -> String {
    let links = lab.machine.run("ip -o link");
    let mut names = links.lines().filter_map(|line| line.split(": ").nth(1));
    let name = names
        .find(|name| name.starts_with("ph-"))
        .expect("a bridge");
    name.to_owned()
}

/// Waits until a command on the machine answers with something that has this in it, or not.
fn wait_seen(lab: &Lab, command: &str, wanted: &str, there: bool) {
    wait_for(&format!("{command}: {wanted} {there}"), PATIENCE, || {
        (lab.machine.run(command).contains(wanted) == there).then_some(())
    });
}

/// A process that stands still until this is dropped.
struct Stopped(i32);

impl Stopped {
    fn keeper(porthole: &Instance) -> Self {
        let pid = porthole.keeper_pid();
        porthole_tests::instance::signal(pid, rustix::process::Signal::STOP);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        porthole_tests::instance::signal(self.0, rustix::process::Signal::CONT);
    }
}
