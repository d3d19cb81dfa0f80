//! A fuzz target for what is read of control groups.

use super::{detect, foreign, memory};
use crate::fuzz::shared::Input;

/// Any `/proc/PID/cgroup` and any file of counters, then any list of mounts.
pub(crate) fn cgroups(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (text, mountinfo) = (input.text(), String::from_utf8_lossy(input.0));
    for membership in foreign::memberships(&text) {
        if let Ok(below) = foreign::below(membership.path) {
            // What is opened beneath a tree stays in it.
            assert!(!below.is_empty() && !below.starts_with('/'));
            assert!(below.split('/').all(|part| part != ".."));
        }
        let base = detect::base_of(membership.path);
        assert!(membership.path.starts_with(base));
    }
    for controller in [None, Some("memory"), Some("name=systemd")] {
        let _ = detect::own_path(&text, controller);
    }
    for name in ["oom_kill", "anon", "max"] {
        let _ = memory::field(&text, name);
    }
    for mounted in detect::mounted(&mountinfo) {
        assert!(mounted.point.len() <= mountinfo.len());
    }
    // What the kernel writes of a mount's place is that place.
    let escaped: String = text.chars().map(escape).collect();
    assert_eq!(detect::unescape(&escaped), text);
}

fn escape(ch: char) -> String {
    match ch {
        ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", ch as u32),
        other => other.to_string(),
    }
}
