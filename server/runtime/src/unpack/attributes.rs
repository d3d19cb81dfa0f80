//! Extended attributes: what of an archive's is kept.

use super::entries::Kind;

/// What is kept of an extended attribute. `trusted.*` and `user.overlay.*` would speak to overlay,
/// labels and access lists name things of the machine that made the archive.
pub(super) fn kept(name: &[u8], value: &[u8], kind: Kind) -> Option<Vec<u8>> {
    if name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") {
        return Some(value.to_owned());
    }
    (name == b"security.capability" && kind == Kind::File)
        .then(|| capability(value))
        .flatten()
}

/// A file's capabilities without the root that they are for, see capabilities(7): the kernel makes
/// them the unpacker's root's, and so, by way of id-mapped mounts, those of each container's.
fn capability(value: &[u8]) -> Option<Vec<u8>> {
    const REVISION: u32 = 0xff00_0000;
    const REVISION_2: u32 = 0x0200_0000;
    const REVISION_3: u32 = 0x0300_0000;
    let magic = u32::from_le_bytes(value.get(..4)?.try_into().ok()?);
    let sets = match (magic & REVISION, value.len()) {
        (REVISION_2, 20) | (REVISION_3, 24) => &value[4..20],
        _ => return None,
    };
    let mut written = ((magic & !REVISION) | REVISION_2).to_le_bytes().to_vec();
    written.extend_from_slice(sets);
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_speak_to_overlay_are_dropped() {
        let keep = |name: &str| kept(name.as_bytes(), b"y", Kind::File).is_some();
        assert!(keep("user.mime_type"), "control");
        for dropped in [
            "trusted.overlay.opaque",
            "trusted.x",
            "user.overlay.opaque",
            "user.overlay.whiteout",
            "user.overlay.redirect",
            "security.selinux",
            "security.ima",
            "system.posix_acl_access",
            "user",
        ] {
            assert!(!keep(dropped), "{dropped}");
        }
    }

    #[test]
    fn capabilities_lose_the_root_that_they_are_for() {
        let mut third = 0x0300_0001_u32.to_le_bytes().to_vec();
        third.extend([7; 16]);
        third.extend(99_u32.to_le_bytes());
        let written = kept(b"security.capability", &third, Kind::File).expect("kept");
        assert_eq!(written.len(), 20);
        assert_eq!(written[..4], 0x0200_0001_u32.to_le_bytes());
        assert_eq!(written[4..], [7; 16]);
        assert_eq!(capability(&written), Some(written.clone()));
        assert!(kept(b"security.capability", &third, Kind::Directory).is_none());
        assert!(capability(&third[..20]).is_none(), "of another length");
        assert!(capability(b"").is_none());
    }
}
