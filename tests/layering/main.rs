//! Which crate may use which, held over `cargo metadata`.
//!
//! Dependencies point one way only, and what runs as root stays small: neither tokio nor anything
//! that compiles C is in the keeper's tree.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A crate with the crates of ours that it may use, in order from the ground up.
const LAYERS: [(&str, &[&str]); 9] = [
    ("porthole-protocol", &[]),
    ("porthole-sys", &[]),
    ("porthole-journal", &["porthole-protocol"]),
    ("porthole-runtime", &["porthole-protocol", "porthole-sys"]),
    ("porthole-discovery", &["porthole-protocol", "porthole-sys"]),
    (
        "porthole-keeper",
        &[
            "porthole-protocol",
            "porthole-sys",
            "porthole-journal",
            "porthole-runtime",
            "porthole-discovery",
        ],
    ),
    (
        "porthole-terminal",
        &["porthole-protocol", "porthole-journal"],
    ),
    ("porthole-engines", &["porthole-protocol"]),
    (
        "porthole",
        &[
            "porthole-protocol",
            "porthole-sys",
            "porthole-journal",
            "porthole-terminal",
            "porthole-engines",
        ],
    ),
];

/// Crates whose build scripts compile C or another language.
const COMPILERS: [&str; 3] = ["cc", "cmake", "bindgen"];

struct Workspace {
    /// Package id → its name.
    names: BTreeMap<String, String>,
    /// Package id → ids of what it uses, in builds of the product (not of its tests).
    uses: BTreeMap<String, Vec<String>>,
    /// Ids of the packages of this workspace.
    members: Vec<String>,
    /// Name of a package of this workspace, and the first file of its library or a program.
    roots: Vec<(String, String)>,
}

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-musl"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();

    let names = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let uses = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let product = list(&node["deps"])
                .iter()
                .filter(|dep| {
                    list(&dep["dep_kinds"])
                        .iter()
                        .any(|kind| kind["kind"] != "dev")
                })
                .map(|dep| text(&dep["pkg"]))
                .collect();
            (text(&node["id"]), product)
        })
        .collect();
    let members: Vec<String> = list(&metadata["workspace_members"])
        .iter()
        .map(text)
        .collect();
    let roots = list(&metadata["packages"])
        .iter()
        .filter(|package| members.contains(&text(&package["id"])))
        .flat_map(|package| {
            let name = text(&package["name"]);
            let targets = list(&package["targets"]);
            targets
                .iter()
                .filter(|target| {
                    let kinds = list(&target["kind"]);
                    kinds.iter().any(|kind| kind == "lib" || kind == "bin")
                })
                .map(|target| (name.clone(), text(&target["src_path"])))
                .collect::<Vec<_>>()
        })
        .collect();
    Workspace {
        names,
        uses,
        members,
        roots,
    }
}

impl Workspace {
    fn id(&self, name: &str) -> &str {
        self.members
            .iter()
            .find(|id| self.names[*id] == name)
            .unwrap_or_else(|| panic!("{name} is a crate of this workspace"))
    }

    /// The names of everything that a crate's build takes, build scripts with theirs.
    fn tree(&self, name: &str) -> BTreeSet<&str> {
        let mut open = vec![self.id(name)];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.uses[id].iter().map(String::as_str));
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_use_only_what_lies_below_them() {
    let workspace = workspace();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in LAYERS {
        let used: BTreeSet<&str> = workspace.uses[workspace.id(name)]
            .iter()
            .map(|id| workspace.names[id].as_str())
            .filter(|used| ours.contains(used))
            .collect();
        let allowed = allowed.iter().copied().collect();
        let forbidden: Vec<_> = used.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
    for id in &workspace.members {
        let name = workspace.names[id].as_str();
        assert!(
            ours.contains(name) || name == "porthole-tests",
            "{name} has no place in the table of layers"
        );
    }
}

#[test]
fn the_keeper_has_no_tokio_and_builds_no_c() {
    let workspace = workspace();
    let keeper = workspace.tree("porthole-keeper");
    for forbidden in COMPILERS.iter().chain(&["tokio", "mio", "async-io"]) {
        assert!(
            !keeper.contains(forbidden),
            "the keeper's tree holds {forbidden}"
        );
    }
    // The same look finds both in the server, so it can see them.
    let server = workspace.tree("porthole");
    assert!(server.contains("tokio") && server.contains("cc"));
}

#[test]
fn unsafe_code_is_in_one_crate() {
    let workspace = workspace();
    let without: Vec<_> = workspace
        .roots
        .iter()
        .filter(|(name, _)| name != "porthole-sys")
        .filter(|(_, root)| {
            let source = std::fs::read_to_string(root).expect("a source file");
            !source.contains("#![forbid(unsafe_code)]")
        })
        .collect();
    assert!(
        without.is_empty(),
        "without forbid(unsafe_code): {without:?}"
    );
    assert!(workspace.roots.len() > LAYERS.len());
}
