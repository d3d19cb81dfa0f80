//! Two instances on one machine, each with a bridge: neither is in the other's way, and what is the
//! machine's is set back by the last.

use porthole_tests::network::{call, greet};

use super::*;

/// That a container reaches the peer in both families.
#[track_caller]
fn gets_out(container: &Container) {
    for address in addresses(PEER, 7000) {
        call(container.pid, &address).expect("the way out");
    }
}

#[test]
fn two_instances_keep_out_of_each_others_way() {
    let lab = Lab::new("");
    let side = Network::new();
    lab.machine.join("side0", &side, "in0");
    lab.machine.run("ip address add 198.51.100.1/24 dev side0");
    side.run("ip address add 198.51.100.2/24 dev in0; ip route add default via 198.51.100.1");
    lab.peer.run("ip route add 198.51.100.0/24 via 192.0.2.1");
    greet(side.pid(), "198.51.100.2:7000");
    for address in addresses(PEER, 7000) {
        greet(lab.peer.pid(), &address);
    }
    let no_router = || {
        call(lab.peer.pid(), "198.51.100.2:7000").expect_err("the machine is no router");
    };

    let one = lab.container("one", json!({}));
    let mine = bridge(&lab);
    let other = Instance::builder()
        .with_policy("[network]\nbridge = true\n")
        .start();
    let two = Container::of(other.create(&spec("two", json!({}))));
    for container in [&one, &two] {
        gets_out(container);
    }
    no_router();
    // Each is somebody else to the other.
    for (from, to) in [(&one, &two), (&two, &one)] {
        for address in to.at(7000) {
            greet(to.pid, &address);
            call(from.pid, &address).expect_err("another instance's");
        }
    }
    // The control: a table that judges what is not its own is in the other's way.
    let stopped = Stopped::keeper(lab.porthole());
    lab.machine.run(&format!(
        "nft insert rule inet porthole_{} forward iifname != {mine} oifname != {mine} drop",
        &mine[3..]
    ));
    call(two.pid, &addresses(PEER, 7000)[0]).expect_err("control");
    drop(stopped);
    wait_for("the rule to go", PATIENCE, || {
        call(two.pid, &addresses(PEER, 7000)[0]).ok()
    });

    // Whoever was the first has forwarding on; the other still needs it, and still hides it.
    lab.remove(&one);
    wait_seen(&lab, "ip -o link", &mine, false);
    gets_out(&two);
    no_router();
    let one = lab.container("one", json!({}));
    other
        .admin()
        .delete(&format!("/api/v1/containers/{}?force=true", two.id));
    let theirs = format!("pv{}", &two.id[..12]);
    wait_seen(&lab, "ip -o link", &theirs, false);
    gets_out(&one);
    no_router();
    lab.remove(&one);
    lab.machine.run("ip link delete side0");
    lab.is_clean();
}
