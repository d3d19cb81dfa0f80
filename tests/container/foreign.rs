//! Containers of other engines, made for one test by the real engines.

use porthole_tests::engines::{DockerDaemon, Podman, Runc};
use porthole_tests::host;

#[test]
fn engines_run_for_a_test_leave_nothing() {
    let mut inits = Vec::new();
    let mut groups = Vec::new();
    if let Some(docker) = DockerDaemon::start() {
        let container = docker.run(&[], &["sleep", "1000000"]);
        let init = docker.init(&container);
        assert!(host::runs(init));
        groups.push(docker.group().to_owned());
        inits.extend([init, docker.pid()]);
    }
    if let Some(podman) = Podman::start() {
        let container = podman.run(&[], &["sleep", "1000000"]);
        inits.push(podman.init(&container));
    }
    if let Some(runc) = Runc::start() {
        inits.push(runc.run("one", |_| ()));
    }
    for init in inits {
        assert!(!host::runs(init), "{init} was left");
    }
    for group in groups {
        assert!(host::cgroups(&group).is_empty(), "{group} was left");
    }
}
