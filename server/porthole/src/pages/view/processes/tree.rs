//! Processes as a tree: each after its parent, with the branches drawn before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use porthole_protocol::id::HostPid;
use porthole_protocol::observation::Process;

/// Deeper than so many characters nobody looks: the tree goes straight down from there.
const DEEPEST: usize = 60;

/// A process with the branches that lead to it.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// What stands before it.
    pub twig: String,
    /// What stands before a second line of it, so that the branches go on.
    pub below: String,
    /// The process.
    pub process: Arc<Process>,
}

impl Leaf {
    /// One outside any tree.
    pub const fn alone(process: Arc<Process>) -> Self {
        Self {
            twig: String::new(),
            below: String::new(),
            process,
        }
    }
}

/// A process that is still to be put into the rows.
struct Growing {
    process: Arc<Process>,
    twig: String,
    below: String,
}

/// The processes as a tree.
pub fn tree(processes: Vec<Arc<Process>>) -> Vec<Leaf> {
    let known: BTreeSet<HostPid> = processes.iter().map(|p| p.host_pid).collect();
    let mut children: BTreeMap<Option<HostPid>, Vec<Arc<Process>>> = BTreeMap::new();
    for process in processes {
        let parent = process
            .parent
            .filter(|parent| known.contains(parent) && *parent != process.host_pid);
        children.entry(parent).or_default().push(process);
    }
    let mut rows = Vec::with_capacity(known.len());
    // No recursion: a program can make a chain of processes as long as it likes.
    let mut growing: Vec<Growing> = Vec::new();
    for process in children.remove(&None).unwrap_or_default().into_iter().rev() {
        growing.push(Growing {
            process,
            twig: String::new(),
            below: String::new(),
        });
    }
    while let Some(next) = growing.pop() {
        let own = children
            .remove(&Some(next.process.host_pid))
            .unwrap_or_default();
        let has_children = !own.is_empty();
        let last = own.len().saturating_sub(1);
        for (index, child) in own.into_iter().enumerate().rev() {
            let deep = next.below.chars().count() >= DEEPEST;
            let (branch, beneath) = match (deep, index == last) {
                (true, _) => ("", ""),
                (false, true) => ("└─ ", "   "),
                (false, false) => ("├─ ", "│  "),
            };
            growing.push(Growing {
                process: child,
                twig: format!("{}{branch}", next.below),
                below: format!("{}{beneath}", next.below),
            });
        }
        rows.push(Leaf {
            twig: next.twig,
            below: format!("{}{}", next.below, if has_children { "│ " } else { "  " }),
            process: next.process,
        });
    }
    // Parents in a circle: a reading torn by a reused PID. They are shown all the same.
    for (_, rest) in children {
        rows.extend(rest.into_iter().map(Leaf::alone));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::*;

    #[test]
    fn each_process_stands_below_its_parent() {
        let world = sample::world();
        let web = world.find("web").expect("there");
        let rows: Vec<_> = tree(world.processes_of(&web.id))
            .into_iter()
            .map(|leaf| (leaf.twig, leaf.process.host_pid.0))
            .collect();
        assert_eq!(
            rows,
            [
                (String::new(), 7548),
                ("└─ ".to_owned(), 7561),
                ("   └─ ".to_owned(), 7563),
                (String::new(), 7604),
            ]
        );
    }

    #[test]
    fn a_circle_of_parents_loses_nobody() {
        let one = |pid, parent| {
            let mut process = sample::process(pid, parent, &[pid], "a");
            process.parent = Some(HostPid(parent));
            Arc::new(process)
        };
        assert_eq!(tree(vec![one(5, 6), one(6, 5)]).len(), 2);
    }

    #[test]
    fn a_long_chain_is_no_deep_call() {
        let chain = (1..20_000).map(|pid| Arc::new(sample::process(pid, pid - 1, &[pid], "a")));
        let rows = tree(chain.collect());
        assert_eq!(rows.len(), 19_999);
        assert!(rows.iter().all(|leaf| leaf.twig.chars().count() < 70));
    }
}
