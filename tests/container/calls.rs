//! System calls that no container may make, each made outside too: there it is not refused.

use std::process::{Command, Stdio};

use porthole_tests::Instance;
use serde_json::json;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Calls in Perl with the errno that a container is answered. Outside each is allowed, or fails by
/// its bad arguments.
const REFUSED: [(&str, &str, i32); 22] = [
    (
        "TIOCSTI",
        "my $c = 'x'; ioctl(STDIN, 0x5412, $c) ? 0 : -1",
        EPERM,
    ),
    ("keyctl", "syscall(250, 0, -3, 0)", EPERM),
    ("add_key", "syscall(248, 0, 0, 0, 0, 0)", EPERM),
    ("bpf", "syscall(321, 0, 0, 0)", EPERM),
    ("init_module", "syscall(175, 0, 0, 0)", EPERM),
    ("userfaultfd", "syscall(323, -1)", EPERM),
    ("io_uring_setup", "syscall(425, 0, 0)", EPERM),
    ("unshare(NEWUSER)", "syscall(272, 0x10000000)", EPERM),
    ("unshare(NEWNET)", "syscall(272, 0x40000000)", EPERM),
    (
        "clone(NEWUSER)",
        "my $p = syscall(56, 0x10000011, 0, 0, 0, 0); exit 0 if $p == 0; $p",
        EPERM,
    ),
    // So that a C library takes clone instead.
    ("clone3", "syscall(435, 0, 0)", ENOSYS),
    ("socket(AF_ALG)", "syscall(41, 38, 5, 0)", EPERM),
    ("socket(AF_VSOCK)", "syscall(41, 40, 1, 99)", EPERM),
    ("settimeofday", "syscall(164, -1, 0)", EPERM),
    ("reboot", "syscall(169, 0, 0, 0, 0)", EPERM),
    ("swapon", "syscall(167, 0, 0)", EPERM),
    ("mount", "syscall(165, 0, 0, 0, 0, 0)", EPERM),
    ("pivot_root", "syscall(155, 0, 0)", EPERM),
    ("setns", "syscall(308, -1, 0)", EPERM),
    ("perf_event_open", "syscall(298, 0, 0, 0, 0, 0)", EPERM),
    ("open_by_handle_at", "syscall(304, -1, 0, 0)", EPERM),
    // No kernel has it yet: the filter answers what an old kernel would.
    ("a call of the future", "syscall(999)", ENOSYS),
];

/// The same of calls that a container may make.
const ALLOWED: [(&str, &str, i32); 5] = [
    ("getpid", "syscall(39) > 0 ? 0 : -1", 0),
    ("socket(AF_INET)", "syscall(41, 2, 1, 0)", 0),
    ("socket(AF_UNIX)", "syscall(41, 1, 1, 0)", 0),
    ("unshare(FILES)", "syscall(272, 0x400)", 0),
    ("personality", "syscall(135, 0xffffffff)", 0),
];

#[test]
fn calls_that_no_container_may_make_are_refused() {
    let porthole = Instance::start();
    let container = porthole.create(&json!({"image": "host", "command": ["sleep", "infinity"]}));
    let all = || REFUSED.iter().chain(&ALLOWED);
    // Each in a process of its own: what one has changed is not the next one's.
    let program: String = all()
        .map(|(_, call, _)| {
            format!(
                "if (!fork) {{ $! = 0; $r = do {{ {call} }}; print $r == -1 ? $!+0 : 0, \"\\n\"; exit 0 }} wait;"
            )
        })
        .collect();
    let program = format!("$| = 1; {program}");
    let answers = |text: &str| -> Vec<i32> {
        let lines: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(lines.len(), all().count(), "{text}");
        lines
    };
    let inside = answers(&porthole.exec(&container, &["perl", "-e", &program]).stdout);
    let control = Command::new("perl")
        .args(["-e", &program])
        .stdin(Stdio::null())
        .output()
        .expect("perl");
    let outside = answers(&String::from_utf8_lossy(&control.stdout));
    for ((name, _, expected), (inside, outside)) in all().zip(inside.into_iter().zip(outside)) {
        assert_eq!(inside, *expected, "{name}");
        if outside == ENOSYS {
            eprintln!("{name}: this kernel does not have it; the refusal says nothing here");
        } else if *expected != 0 {
            assert_ne!(outside, *expected, "{name} is refused outside too");
        }
    }
}
