//! `/namespaces/{type}/{inode}`: one namespace, what is in it, what hangs from it, what keeps it.

use std::sync::Arc;

use askama::Template;
use porthole_protocol::id::{NamespaceInode, SessionId};
use porthole_protocol::namespace::NamespaceType;
use porthole_protocol::observation::{Holder, Namespace, Process};

use super::super::live::{Part, Region, Slot};
use super::super::processes::known::Known;
use super::super::processes::row::{Manner, row, row_id};
use super::super::processes::tree;
use super::super::shell::Shell;
use super::super::words::{count, visible};
use super::super::{Scene, commands, html};
use super::survey::{Link, Survey};
use super::table;
use crate::api::inspect::Sight;
use crate::world::World;

/// Processes and namespaces that are listed unless all are asked for.
const ROWS: usize = 100;

/// What the address of a namespace's page says.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default)]
pub struct Shown {
    /// `on`: every process, however many there are.
    pub all: String,
}

#[derive(Template)]
#[template(path = "partials/namespace_facts.html")]
struct Facts {
    kind: NamespaceType,
    sentence: String,
    owner: Option<Link>,
    owner_uid: Option<u32>,
    owner_user: Option<String>,
    netnsid: Option<i32>,
    parent: Option<Link>,
    ancestors: Vec<Link>,
    nests: bool,
    path: Option<String>,
    nsenter: Option<String>,
    lsns: Option<String>,
    containers: Vec<Link>,
}

struct Kept {
    what: &'static str,
    who: Option<Link>,
    text: String,
    path: String,
    nsenter: String,
}

#[derive(Template)]
#[template(path = "partials/namespace_kept.html")]
struct KeptBy {
    sentence: String,
    rows: Vec<Kept>,
    more: u32,
    sessions: Vec<(Option<Link>, String)>,
}

struct Child {
    link: Link,
    kind: NamespaceType,
    how: &'static str,
    processes: u32,
    leader: String,
}

#[derive(Template)]
#[template(path = "partials/namespace_children.html")]
struct Children {
    rows: Vec<Child>,
    more: usize,
    all: String,
}

/// The page.
#[derive(Template)]
#[template(path = "namespace.html")]
pub struct NamespacePage {
    shell: Shell,
    kind: NamespaceType,
    inode: NamespaceInode,
    may_inspect: bool,
    detail: String,
    region: Region,
}

impl NamespacePage {
    /// The page of a namespace that is there.
    pub fn new(
        world: &World,
        scene: Scene<'_>,
        namespace: &Namespace,
        shown: &Shown,
        shell: Shell,
    ) -> Self {
        let survey = Survey::new(world, scene);
        let region = region_of((&survey, &Known::new(world, scene)), namespace, shown);
        Self {
            shell: shell.around(&region),
            kind: namespace.kind,
            inode: namespace.inode,
            may_inspect: Sight::in_world(world, scene.who).covers(namespace.inode),
            detail: format!("{}/detail", survey.address(namespace.kind, namespace.inode)),
            region,
        }
    }
}

/// What of the page is live. Of one that has gone it says so, and leaves what was last known.
pub fn region(
    world: &World,
    scene: Scene<'_>,
    (kind, inode): (NamespaceType, NamespaceInode),
    shown: &Shown,
) -> Region {
    let survey = Survey::new(world, scene);
    match survey.namespace(inode).filter(|n| n.kind == kind) {
        Some(namespace) => region_of((&survey, &Known::new(world, scene)), namespace, shown),
        None => Region {
            slots: vec![Slot::whole("gone", GONE.to_owned())],
        },
    }
}

const GONE: &str = "<div class=\"notice warn\"><strong>It is gone.</strong> Nothing was in it or held it any more, so the kernel took it away. What you see is what was last known of it.</div>";

fn region_of(
    (survey, known): (&Survey<'_>, &Known<'_>),
    namespace: &Namespace,
    shown: &Shown,
) -> Region {
    let members = survey.members(namespace);
    let limit = if shown.all.is_empty() {
        ROWS
    } else {
        usize::MAX
    };
    let manner = Manner {
        names_container: true,
        context: false,
        subject: false,
    };
    let parts: Vec<_> = tree(members.clone())
        .iter()
        .take(limit)
        .map(|leaf| Part {
            id: row_id(&leaf.process),
            html: row(leaf, known, manner),
        })
        .collect();
    let number = if parts.len() == members.len() {
        count(members.len(), "process", "processes")
    } else {
        format!("{} of {} processes", parts.len(), members.len())
    };
    let here = survey.address(namespace.kind, namespace.inode);
    let more = if parts.len() < members.len() {
        format!(
            "<p class=\"more-rows\"><a class=\"btn small\" href=\"{here}?all=on\">Show all {}</a></p>",
            members.len()
        )
    } else {
        String::new()
    };
    let none = if members.is_empty() {
        "<div class=\"empty\"><p>No process is in it. What keeps it is listed above.</p></div>"
            .to_owned()
    } else {
        String::new()
    };
    Region {
        slots: vec![
            Slot::whole("gone", String::new()),
            Slot::whole("facts", html(&facts(survey, namespace))),
            Slot::whole("kept", html(&kept(survey, namespace, &members))),
            Slot::whole("children", html(&children(survey, namespace, limit, &here))),
            Slot::whole("count", number),
            Slot { id: "rows", parts },
            Slot::whole("more", more),
            Slot::whole("empty", none),
        ],
    }
}

fn facts(survey: &Survey<'_>, namespace: &Namespace) -> Facts {
    let mut ancestors = Vec::new();
    let mut above = namespace.parent;
    // The kernel nests 32 deep; a circle would be a torn reading.
    while let Some(inode) = above.filter(|_| ancestors.len() < 40) {
        ancestors.push(survey.link(inode, namespace.kind));
        above = survey.namespace(inode).and_then(|n| n.parent);
    }
    ancestors.reverse();
    Facts {
        kind: namespace.kind,
        sentence: sentence(survey, namespace),
        owner: namespace
            .owner
            .map(|inode| survey.link(inode, NamespaceType::User)),
        owner_uid: namespace.owner_uid,
        owner_user: namespace
            .owner_uid
            .and_then(|uid| survey.user(uid))
            .map(str::to_owned),
        netnsid: namespace.netnsid,
        parent: namespace
            .parent
            .map(|inode| survey.link(inode, namespace.kind)),
        ancestors,
        nests: matches!(namespace.kind, NamespaceType::Pid | NamespaceType::User),
        path: survey.path(namespace).map(|path| visible(&path)),
        nsenter: survey.nsenter(namespace),
        lsns: table::lsns(namespace),
        containers: survey
            .containers_in(namespace.inode)
            .map(|c| survey.container_link(c))
            .collect(),
    }
}

/// What it is, in one sentence.
fn sentence(survey: &Survey<'_>, namespace: &Namespace) -> String {
    let kind = namespace.kind;
    let isolates = kind.isolates();
    if namespace.initial {
        return format!(
            "The host's own {kind} namespace, which it began with ({isolates}). {} in it.",
            are(namespace.processes)
        );
    }
    let names: Vec<_> = survey
        .containers_in(namespace.inode)
        .map(|c| visible(c.name()))
        .collect();
    let whose = match names.as_slice() {
        [] if namespace.processes == 0 => "that no process is in".to_owned(),
        [] => "outside every container".to_owned(),
        [one] => format!("of the container {one}"),
        [one, other] => format!("that the containers {one} and {other} share"),
        [one, rest @ ..] => format!("that the container {one} and {} others share", rest.len()),
    };
    let article = if kind == NamespaceType::Ipc {
        "An"
    } else {
        "A"
    };
    format!(
        "{article} {kind} namespace {whose} ({isolates}). {} in it.",
        are(namespace.processes)
    )
}

fn are(processes: u32) -> String {
    match processes {
        0 => "No process is".to_owned(),
        1 => "One process is".to_owned(),
        many => format!("{many} processes are"),
    }
}

fn kept(survey: &Survey<'_>, namespace: &Namespace, members: &[Arc<Process>]) -> KeptBy {
    let rows = namespace.holders.iter().map(|holder| {
        let path = survey.holder_path(namespace.kind, holder);
        let pid = holder.pid();
        let (what, text) = match holder {
            Holder::Descriptor { fd, .. } => ("open file", format!("descriptor {fd} of")),
            Holder::Thread { tid, .. } => ("thread", format!("thread {tid} of")),
            Holder::Children { .. } => ("for children", "what is started by".to_owned()),
            Holder::Mount { path, .. } => ("mount", format!("{} as seen by", visible(path))),
        };
        let name = survey
            .process(pid)
            .map_or_else(String::new, |p| visible(&p.command));
        Kept {
            what,
            who: Some(Link {
                to: survey.process_address(pid),
                text: format!("{pid} {name}").trim_end().to_owned(),
            }),
            text,
            nsenter: commands::nsenter_file(namespace.kind, &path),
            path: visible(&path),
        }
    });
    let mut parts = Vec::new();
    if namespace.initial {
        parts.push("the kernel, for good".to_owned());
    }
    if namespace.processes > 0 {
        parts.push(count(namespace.processes as usize, "process", "processes"));
    }
    let holders = namespace.holders.len() + namespace.more_holders as usize;
    if holders > 0 {
        parts.push(count(
            holders,
            "holder that is listed here",
            "holders that are listed here",
        ));
    }
    if namespace.children > 0 {
        let children = namespace.children as usize;
        parts.push(count(
            children,
            "namespace that hangs from it",
            "namespaces that hang from it",
        ));
    }
    KeptBy {
        sentence: match parts.as_slice() {
            [] => "Nothing that was seen keeps it: it may be about to go.".to_owned(),
            parts => format!("Kept alive by {}.", parts.join(", ")),
        },
        rows: rows.collect(),
        more: namespace.more_holders,
        sessions: survey
            .sessions_in(namespace.inode)
            .map(|session| kept_session(survey, session, members))
            .collect(),
    }
}

fn kept_session(
    survey: &Survey<'_>,
    session: &SessionId,
    members: &[Arc<Process>],
) -> (Option<Link>, String) {
    let of = members
        .iter()
        .filter(|p| p.session.as_ref() == Some(session));
    let of: Vec<_> = of.collect();
    let may = of.iter().all(|p| survey.may_look(p));
    let link = may.then(|| Link {
        to: format!("{}/sessions/{session}", survey.scene.base),
        text: session.as_str().chars().take(12).collect(),
    });
    (link, count(of.len(), "process", "processes"))
}

fn children(survey: &Survey<'_>, namespace: &Namespace, limit: usize, here: &str) -> Children {
    let inode = namespace.inode;
    let below = survey.below(inode).map(|n| (n, "below it"));
    let owned = survey
        .owned_by(inode)
        .filter(|n| n.parent != Some(inode))
        .map(|n| (n, "owned by it"));
    let all: Vec<_> = below.chain(owned).collect();
    Children {
        more: all.len().saturating_sub(limit),
        all: format!("{here}?all=on"),
        rows: all
            .into_iter()
            .take(limit)
            .map(|(child, how)| Child {
                link: survey.link(child.inode, child.kind),
                kind: child.kind,
                how,
                processes: child.processes,
                leader: survey.leader(child).map_or_else(String::new, |p| {
                    format!("{} {}", p.host_pid, visible(&p.command))
                }),
            })
            .collect(),
    }
}
