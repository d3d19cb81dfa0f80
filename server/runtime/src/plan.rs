//! What a container's namespaces are going to be: worked out from its spec before anything is
//! done.

use porthole_protocol::container::{ContainerSpec, NamespaceChoice, TimeOffset};
use porthole_protocol::namespace::{NamespaceType, PerNamespace};

/// Where a namespace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It is made.
    Own,
    /// The machine's is kept.
    Host,
    /// Another container's is entered.
    Shared,
}

/// A container's namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sources: PerNamespace<Source>,
    /// The clocks of a time namespace of its own.
    pub(crate) clocks: Option<TimeOffset>,
}

impl Plan {
    pub(crate) fn of(spec: &ContainerSpec) -> Self {
        let sources = PerNamespace::build(|kind| match spec.namespace(kind) {
            NamespaceChoice::Own => Source::Own,
            NamespaceChoice::Host => Source::Host,
            NamespaceChoice::Container(_) => Source::Shared,
        });
        let clocks = (sources.time == Source::Own).then(|| spec.time_offset.unwrap_or_default());
        Self { sources, clocks }
    }

    /// Whether a namespace of this type is made for it.
    pub(crate) fn own(&self, kind: NamespaceType) -> bool {
        *self.sources.get(kind) == Source::Own
    }

    /// Whether the machine's namespace of this type is kept.
    pub(crate) fn host(&self, kind: NamespaceType) -> bool {
        *self.sources.get(kind) == Source::Host
    }

    /// Those that clone3(2) makes, in the order in which they are shown.
    ///
    /// Not the control group namespace, whose root is the group that its maker is in, so that it
    /// comes after joining; nor the time namespace, whose clocks can be set only before anybody is
    /// in it.
    pub(crate) fn born_into(&self) -> Vec<NamespaceType> {
        NamespaceType::ALL
            .into_iter()
            .filter(|kind| {
                self.own(*kind) && !matches!(kind, NamespaceType::Cgroup | NamespaceType::Time)
            })
            .collect()
    }

    /// Those of other containers, in the order in which they are entered: the user namespace after
    /// all others, which take the machine's root to enter, and the mount namespace before it, since
    /// it moves the root directory.
    pub(crate) fn entered(&self) -> Vec<NamespaceType> {
        use NamespaceType::{Cgroup, Ipc, Mnt, Net, Pid, Time, User, Uts};
        [Uts, Ipc, Pid, Net, Cgroup, Time, Mnt, User]
            .into_iter()
            .filter(|kind| *self.sources.get(*kind) == Source::Shared)
            .collect()
    }

    /// Whether a process between the monitor and init is needed, that enters namespaces which the
    /// monitor must stay out of.
    pub(crate) fn needs_starter(&self) -> bool {
        self.clocks.is_some() || !self.entered().is_empty()
    }
}

/// The sum of their flags.
pub(crate) fn flags(kinds: &[NamespaceType]) -> u64 {
    kinds.iter().map(|kind| kind.clone_flag()).sum()
}

/// Their flags by name.
pub(crate) fn flag_names(kinds: &[NamespaceType]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.clone_flag_name()).collect();
    names.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use NamespaceType::{Ipc, Mnt, Net, Pid, User, Uts};

    fn plan(json: &str) -> Plan {
        Plan::of(&serde_json::from_str(json).expect("a spec"))
    }

    #[test]
    fn all_but_time_are_made_unless_asked_otherwise() {
        let plan = plan(r#"{"image":"host"}"#);
        assert_eq!(plan.born_into(), [Mnt, Uts, Ipc, Pid, Net, User]);
        assert!(plan.own(NamespaceType::Cgroup) && !plan.own(NamespaceType::Time));
        assert!(!plan.needs_starter());
    }

    #[test]
    fn the_user_namespace_is_entered_last() {
        let plan = plan(
            r#"{"image":"host","namespaces":{"user":"container:a","net":"container:a","uts":"host"}}"#,
        );
        assert_eq!(plan.entered(), [Net, User]);
        assert_eq!(plan.born_into(), [Mnt, Ipc, Pid]);
        assert!(plan.needs_starter());
    }

    #[test]
    fn clocks_need_a_time_namespace() {
        let plan = plan(r#"{"image":"host","time_offset":{"boottime":100}}"#);
        assert_eq!(plan.clocks.map(|clocks| clocks.boottime), Some(100));
        assert!(plan.needs_starter());
    }
}
