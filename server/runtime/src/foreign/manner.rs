//! How a session in another engine's container is to be confined: as its init is, or, where it
//! leaves namespaces out, as strictly as Porthole confines its own and as init is.

use std::collections::BTreeMap;

use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::session::SessionSpec;
use porthole_sys::seccomp::Filter;
use rustix::process::{Rlimit, getrlimit};

use super::facts::{Facts, Label, Status};
use super::filters::Unread;
use super::limits::{self, Limit};
use crate::confinement;

/// What a session gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) bounding: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
    pub(crate) no_new_privs: bool,
    /// In the order in which they are loaded.
    pub(crate) filters: Vec<Filter>,
    /// Whether Porthole's own filter is loaded on top.
    pub(crate) own_filter: bool,
    pub(crate) limits: Vec<Limit>,
    pub(crate) oom_score_adj: i32,
    pub(crate) label: Option<String>,
    pub(crate) umask: u32,
    /// Init's user, group and groups, where nobody asked for another; all as its user namespace
    /// numbers them.
    pub(crate) user: Option<(u32, u32, Vec<u32>)>,
    /// Whether a user's own group is among the supplementary ones too, as newer engines have it.
    pub(crate) own_group_too: bool,
    /// The container's variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether these are as the engine has configured them.
    pub(crate) configured: bool,
    pub(crate) workdir: Option<String>,
    /// Namespaces that are left out.
    pub(crate) left_out: Vec<NamespaceType>,
    pub(crate) toolbox: bool,
}

/// What the monitor may do, and so the session.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) status: Status,
    pub(crate) oom_score_adj: i32,
    pub(crate) label: Label,
    pub(crate) limit: fn(rustix::process::Resource) -> Rlimit,
}

/// CAP_SYS_RESOURCE, see capabilities(7).
const SYS_RESOURCE: u64 = 1 << 24;

impl Own {
    /// This process.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self {
            status: facts.status.clone(),
            oom_score_adj: facts.oom_score_adj,
            label: facts.label.clone(),
            limit: getrlimit,
        }
    }

    fn may_raise(&self) -> bool {
        self.status.effective & SYS_RESOURCE != 0
    }
}

impl Manner {
    /// Decides. `filters` are init's, oldest first; `left_out` are the namespaces of the container's
    /// own that the session is not to be in.
    pub(crate) fn of(
        facts: &Facts,
        filters: &Result<Vec<Filter>, Unread>,
        spec: &SessionSpec,
        left_out: Vec<NamespaceType>,
        own: &Own,
    ) -> Self {
        let status = &facts.status;
        let foreign = spec.foreign.as_deref();
        let partial = !left_out.is_empty();
        let most = own.status.bounding
            & if partial {
                confinement::CAPABILITIES.bits()
            } else {
                !0
            };
        let bounding = status.bounding & most;
        let inheritable = if partial {
            0
        } else {
            status.inheritable & most
        };
        let toolbox = foreign.is_some_and(|foreign| foreign.toolbox.is_some());
        let has_files = !left_out.contains(&NamespaceType::Mnt);
        let has_users = !left_out.contains(&NamespaceType::User);
        let given = foreign.and_then(|foreign| foreign.env.as_ref());
        // What the container's programs are told is nothing to other tools.
        let tools = toolbox || !has_files;
        let environment = match given {
            Some(given) => given
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
                .collect(),
            None => facts
                .environment
                .as_ref()
                .map(|variables| variables.values.clone())
                .unwrap_or_default(),
        };
        Self {
            bounding,
            inheritable,
            ambient: status.ambient & inheritable,
            no_new_privs: status.no_new_privs || partial,
            filters: filters.clone().unwrap_or_default(),
            own_filter: partial || filters.is_err() || status.seccomp == 1,
            limits: facts
                .limits
                .iter()
                .map(|limit| {
                    limits::attainable(limit, (own.limit)(limit.resource), own.may_raise())
                })
                .collect(),
            oom_score_adj: if own.may_raise() {
                facts.oom_score_adj
            } else {
                facts.oom_score_adj.max(own.oom_score_adj)
            },
            label: match &facts.label {
                Label::Is(label) if facts.label != own.label => Some(label.clone()),
                Label::Is(_) | Label::None | Label::Unreadable => None,
            },
            umask: if partial { 0o022 } else { status.umask },
            user: (spec.user.is_none() && has_files && has_users).then(|| {
                (
                    facts.uid_inside(),
                    facts.gid_inside(),
                    facts.groups_inside(),
                )
            }),
            own_group_too: status.groups.contains(&status.gid),
            environment: if tools { BTreeMap::new() } else { environment },
            configured: given.is_some() || tools,
            workdir: match &spec.workdir {
                Some(path) if toolbox => Some(format!("{}{path}", super::toolbox::TARGET)),
                Some(path) => Some(path.as_str().to_owned()),
                None if toolbox => Some(super::toolbox::TARGET.to_owned()),
                None if has_files => facts.workdir.as_ref().map(|path| path.as_str().to_owned()),
                None => None,
            },
            left_out,
            toolbox,
        }
    }
}
