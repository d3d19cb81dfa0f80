//! A container with everything on: an image of several layers, limits, the bridge and a published
//! port; beside one with nothing of it, and beside a floor that makes the same calls.
//!
//! It all happens in network namespaces made for it, the floor's in one of its own: the machine's
//! interfaces, routes and rules stay as they are.

use std::sync::LazyLock;

use anyhow::{Context, anyhow};
use porthole_tests::instance::text;
use porthole_tests::{Instance, Network};
use serde_json::{Value, json};

use crate::echo::{self, ECHOING};
use crate::floor::Floor;
use crate::http::Connection;
use crate::report::Samples;
use crate::start::{self, containers, made};
use crate::viewer::Viewer;
use crate::{Bench, attempt, image, output};

/// Of the image.
const LAYERS: usize = 5;
/// Of the ports that are published, one after the other: who comes next does not wait for the last.
const FIRST_PORT: usize = 20_000;
/// The number of the one that stays, which none of the others has.
const RESIDENT: usize = 1000;

pub(crate) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let machine = Network::new();
    let ours = LazyLock::new(
        (|| {
            let policy = "[network]\nbridge = true\n";
            Instance::builder().with_policy(policy).start()
        }) as fn() -> Instance,
    );
    let others = std::mem::replace(&mut bench.porthole, ours);
    let measured = inside(&machine, || {
        let measured = attempt(|| with_bridge(bench, &machine));
        bench.end_porthole("the end of Porthole with a bridge");
        measured
    });
    bench.porthole = others;
    measured
}

/// Does something in a network namespace. What it starts is there too.
fn inside<T: Send>(
    network: &Network,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            network.enter();
            work()
        });
        there
            .join()
            .map_err(|_| anyhow!("the thread in the network namespace panicked"))?
    })
}

fn with_bridge(bench: &mut Bench, machine: &Network) -> anyhow::Result<()> {
    let archive = image::layered("layered", LAYERS)?;
    let path = "/api/v1/images?name=layered";
    let answer = bench.porthole.admin().post_bytes(path, &archive[..]);
    anyhow::ensure!(answer.status == 201, "{answer}");
    let mut api = Connection::open(bench.porthole.admin())?;
    // The first on the bridge makes it and the last takes it away: this one stays.
    let resident = api.send("POST", "/api/v1/containers", Some(&full(RESIDENT)))?;
    anyhow::ensure!(resident["state"] == "running", "{}", resident["error"]);
    for (pace, times, gap) in start::PACES {
        let found = containers(&mut api, times, gap, &plain)?;
        let floor = bench.floor.create(times, gap, 1, None)?;
        made(
            &mut bench.report,
            &format!("nothing on, {pace}"),
            &floor,
            &found,
        );
        let found = containers(&mut api, times, gap, &layered)?;
        let floor = bench.floor.create(times, gap, LAYERS, None)?;
        let what = format!("{LAYERS} layers, {pace}");
        made(&mut bench.report, &what, &floor, &found);
        let found = containers(&mut api, times, gap, &full)?;
        let floor = floor_on_bridge(&bench.floor, &rules(machine)?, times, gap)?;
        let what = format!("everything on, {pace}");
        made(&mut bench.report, &what, &floor, &found);
    }
    typed(bench, &resident)?;
    output::compare(bench, &resident, "output, everything on")?;
    api.remove(&text(&resident["id"]))
}

/// Keys and output go another way than packets: nothing of it is to be felt.
fn typed(bench: &mut Bench, container: &Value) -> anyhow::Result<()> {
    let spec = json!({"command": ["sh", "-c", ECHOING]});
    let session = bench.porthole.session(container, &spec);
    let mut viewer = Viewer::attach(bench.porthole.admin(), &text(&session["id"]))?;
    viewer.line()?;
    let [pace, _] = echo::PACES;
    echo::idle(bench, &mut viewer, "key echo, everything on", pace)
}

fn plain(_: usize) -> Value {
    json!({"image": "busybox", "command": ["sleep", "infinity"], "network": "none"})
}

fn layered(_: usize) -> Value {
    let limits = json!({"memory": 512 << 20, "swap": 0, "cpus": 2.0, "pids": 256});
    let command = ["sleep", "infinity"];
    json!({"image": "layered", "command": command, "network": "none", "limits": limits})
}

fn full(number: usize) -> Value {
    let mut spec = layered(number);
    spec["network"] = "bridge".into();
    spec["publish"] = json!([{"host_port": FIRST_PORT + number, "container_port": 80}]);
    spec
}

/// The rules that Porthole has set, for a bridge of the floor's.
fn rules(machine: &Network) -> anyhow::Result<String> {
    let tables = machine.run("nft list tables");
    let table = tables
        .split_whitespace()
        .find(|w| w.starts_with("porthole_"));
    let table = table.context("Porthole has set no rules")?;
    let mark = table.trim_start_matches("porthole_");
    let text = machine.run(&format!("nft list table inet {table}"));
    let text = text
        .replace(table, "raw")
        .replace(&format!("ph-{mark}"), "raw0");
    Ok(format!("table inet raw\ndelete table inet raw\n{text}"))
}

fn floor_on_bridge(
    floor: &Floor,
    rules: &str,
    times: usize,
    gap: u64,
) -> anyhow::Result<(Samples, Samples)> {
    let network = Network::new();
    network.run(
        "ip link add raw0 address 02:00:00:09:00:01 type bridge mcast_snooping 0 \
         && ip link set raw0 addrgenmode none && ip address add 10.9.9.1/32 dev raw0 \
         && ip address add fd70:9::1/128 dev raw0 nodad && ip link set raw0 up",
    );
    inside(&network, || floor.create(times, gap, LAYERS, Some(rules)))
}
