//! Whose ids a container's processes have outside, and that nothing gives them others. What else
//! they may not do is asked of a whole Porthole, in `tests/container/confinement.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{HOST_SLEEP, SLEEP, Scenario};
use crate::bench::Bench;

pub(super) const ALL: &[Scenario] = &[
    (
        "ids_outside_are_the_containers_own",
        ids_outside_are_the_containers_own,
    ),
    (
        "set_user_id_programs_gain_nothing",
        set_user_id_programs_gain_nothing,
    ),
];

fn ids_outside_are_the_containers_own(bench: &mut Bench) {
    let (one, two) = (bench.create(SLEEP), bench.create(SLEEP));
    let (first, second) = (bench.start(&one), bench.start(&two));
    let apart = one.ids.1.abs_diff(two.ids.1) >= 65_536;
    assert!(apart, "{:?} {:?}", one.ids, two.ids);
    bench.run(&one, &first, &["touch", "/mine"]);
    use std::os::unix::fs::MetadataExt;
    let status = fs::metadata(one.directory.join("upper/root/mine")).expect("the file");
    assert_eq!((status.uid(), status.gid()), (one.ids.1, one.ids.1));
    let status = fs::read_to_string(format!("/proc/{}/status", first.host_pid)).expect("status");
    assert!(
        status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", one.ids.1)),
        "{status}"
    );
    assert!(
        status.contains("Groups:\t \n") || status.contains("Groups:\t\n"),
        "{status}"
    );
    let third = porthole_runtime::allocate_ids(&[one.ids, two.ids]).expect("ids");
    assert!(![one.ids, two.ids].contains(&third));
    bench.end(&one, first);
    bench.end(&two, second);
}

fn set_user_id_programs_gain_nothing(bench: &mut Bench) {
    let made = bench.create(HOST_SLEEP);
    let init = bench.start(&made);
    bench.run(
        &made,
        &init,
        &[
            "bash",
            "-c",
            "cp /usr/bin/id /usr/bin/rise; chmod 4755 /usr/bin/rise",
        ],
    );
    let (text, _) = bench.run_as(&made, &init, Some("user"), &["rise", "-u"]);
    assert_eq!(text, "1000\n");
    bench.end(&made, init);

    let copy = bench.directory.join("rise");
    fs::copy("/usr/bin/id", &copy).expect("copy");
    fs::set_permissions(&bench.directory, PermissionsExt::from_mode(0o755)).expect("mode");
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).expect("mode");
    let outside = Command::new(&copy)
        .arg("-u")
        .uid(1000)
        .gid(1000)
        .output()
        .expect("id");
    assert_eq!(
        String::from_utf8_lossy(&outside.stdout),
        "0\n",
        "the control"
    );
}
