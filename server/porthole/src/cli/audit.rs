//! `porthole audit`: works on the database itself, whether the server runs or not.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::admin;
use crate::store::audit::chain::{Broken, Head, Verified, heads_in};
use crate::store::audit::keep;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Follows the trail, and says what was found.
pub(super) fn verify(
    export: Option<&Path>,
    against: Option<&Path>,
    root: Option<PathBuf>,
) -> anyhow::Result<()> {
    let heads = match against {
        Some(path) => heads_of(path)?,
        None => Vec::new(),
    };
    let named = heads.len();
    let found = match export {
        Some(path) if path.as_os_str() == STANDARD_INPUT => {
            keep::verify_file(Path::new("/dev/stdin"), heads)?
        }
        Some(path) => keep::verify_file(path, heads)?,
        None => {
            // The keeper's own records are root's: looked at before this process is the server's.
            let kept = kept_sessions(&admin::state(root.clone())?);
            let database = admin::database(root)?;
            let found = keep::verify(&database, heads)?;
            tell_unknown(&database, &kept?, &found)?;
            found
        }
    };
    say(found, named)
}

fn heads_of(path: &Path) -> anyhow::Result<Vec<Head>> {
    let mut bytes = Vec::new();
    if path.as_os_str() == STANDARD_INPUT {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("reading {}", path.display()))?;
    let mut heads = heads_in(&String::from_utf8_lossy(&bytes));
    heads.sort_by(|a, b| (a.number, &a.hash.0).cmp(&(b.number, &b.hash.0)));
    heads.dedup();
    if heads.is_empty() {
        bail!(
            "{} names no entry: they stand in the log of the server as audit:NUMBER:HASH",
            path.display()
        );
    }
    Ok(heads)
}

fn say(found: Result<Verified, Broken>, named: usize) -> anyhow::Result<()> {
    let verified = found?;
    println!(
        "The audit trail holds: {} entries, none changed, missing or out of place.",
        verified.read
    );
    for (first, last) in &verified.elsewhere {
        println!("Entries {first} to {last} are not here; a checkpoint has closed them.");
    }
    if named > 0 {
        println!(
            "Of {named} entries that the log names, {} are in it.",
            verified.heads
        );
    }
    if let Some(head) = verified.head {
        println!("The last one: {head}");
    }
    Ok(())
}

/// The sessions that the keeper has records of, which the server cannot write. Nothing where this
/// is not root, or nothing was ever opened.
fn kept_sessions(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let directory = root.join("keeper/sessions");
    match std::fs::read_dir(&directory) {
        Ok(found) => Ok(found
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()))
            .collect()),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", directory.display())),
    }
}

/// Compares the keeper's own records with the trail: a session that was opened and is not in it was
/// taken out of it, or was never written into it.
fn tell_unknown(
    database: &Path,
    kept: &BTreeSet<String>,
    found: &Result<Verified, Broken>,
) -> anyhow::Result<()> {
    // Of entries that are elsewhere nobody can say what they hold.
    if !found
        .as_ref()
        .is_ok_and(|verified| verified.elsewhere.is_empty())
    {
        return Ok(());
    }
    let opened = keep::opened_sessions(database)?;
    if let Some(unknown) = kept.iter().find(|id| !opened.contains(*id)) {
        bail!(
            "The keeper has a record of session {unknown}, and no entry of the audit trail says that it was asked for: the trail does not tell everything."
        );
    }
    if !kept.is_empty() {
        println!(
            "Of {} sessions that the keeper has records of, all are in it.",
            kept.len()
        );
    }
    Ok(())
}
