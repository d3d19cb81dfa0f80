//! Every network namespace with its interfaces, and the wires between them, as a drawing.
//!
//! Read by a child of the keeper's when the page is open already, as what is inside one namespace.

mod layout;
mod plan;

use std::collections::{HashMap, HashSet};

use askama::Template;
use porthole_protocol::id::NamespaceInode;
use porthole_protocol::inspection::{Inspected, Interface, WiredNamespace, Wiring};
use porthole_protocol::namespace::NamespaceType;

use super::super::html;
use super::super::list;
use super::super::processes::row::cut;
use super::super::words::{count, visible};
use super::detail;
use super::listing::{Listing, View};
use super::page::More;
use super::survey::{Link, Survey};
use layout::{Area, Layout, Spot};
use plan::{End, Plan};

/// Boxes of a drawing unless all are asked for.
const BOXES: usize = 60;
/// Names in a line unless it is opened.
const NAMES: usize = 24;
/// Pixels that a letter of a box's title and of an interface take at most.
const LETTER: usize = 8;
const MONO: usize = 7;

struct Card {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    to: String,
    title: String,
    whole: String,
    sub: String,
}

struct Row {
    x: usize,
    y: usize,
    width: usize,
    up: bool,
    name: String,
    more: String,
    title: String,
    /// The wire that pointing at it lights.
    wire: Option<usize>,
    loose: bool,
}

struct Wire {
    number: usize,
    path: String,
    pair: bool,
    title: String,
}

#[derive(Template)]
#[template(path = "partials/namespaces_wires.html")]
struct Drawing {
    sentence: String,
    again: String,
    width: usize,
    height: usize,
    cards: Vec<Card>,
    rows: Vec<Row>,
    buses: Vec<String>,
    wires: Vec<Wire>,
    list: Vec<String>,
    loose: bool,
    bare: Option<String>,
    bare_names: Vec<Link>,
    bare_more: Vec<Link>,
    notes: Vec<String>,
    more: String,
}

#[derive(Template)]
#[template(
    source = "<i data-wirings=\"{{ wirings }}\" data-read=\"{{ read }}\"></i>",
    ext = "html"
)]
struct Pulse {
    read: String,
    wirings: u64,
}

/// Where the drawing is read.
pub fn address(base: &str, listing: &Listing) -> String {
    let asked = Listing {
        q: listing.q.clone(),
        all: listing.all.clone(),
        ..Listing::default()
    };
    format!("{base}/namespaces/wires{}", list::query(&asked))
}

/// What makes an open page read the drawing anew: its script does when the number is another.
pub fn pulse(base: &str, listing: &Listing, wirings: u64) -> String {
    html(&Pulse {
        read: address(base, listing),
        wirings,
    })
}

/// A line in place of the drawing.
pub fn unread(base: &str, listing: &Listing, message: &str) -> String {
    detail::unread(message, Some(address(base, listing)))
}

/// What was read, drawn.
pub fn drawn(survey: &Survey<'_>, listing: &Listing, read: &Inspected) -> String {
    match read {
        Inspected::Wiring(wiring) => html(&Drawing::of(survey, listing, wiring)),
        _ => unread(
            survey.scene.base,
            listing,
            "What was read is not what was asked for",
        ),
    }
}

/// Whose a network namespace is, and where that is shown.
fn whose(survey: &Survey<'_>, space: &WiredNamespace) -> Link {
    let to = survey.address(NamespaceType::Net, space.inode);
    let containers: Vec<_> = survey
        .containers_in(space.inode)
        .map(|c| survey.container_link(c))
        .collect();
    let process = space.process.and_then(|pid| survey.process(pid));
    let text = match (containers.as_slice(), process, &space.mount) {
        _ if space.host => "The host".to_owned(),
        ([one], _, _) => return one.clone(),
        ([_, ..], _, _) => {
            let names: Vec<_> = containers.iter().map(|c| c.text.as_str()).collect();
            names.join(", ")
        }
        ([], _, Some(path)) => visible(path),
        ([], Some(process), None) => {
            format!("{} {}", visible(&process.command), process.host_pid)
        }
        ([], None, None) => format!("net:[{}]", space.inode),
    };
    Link { to, text }
}

/// An interface in a sentence.
fn sentence(interface: &Interface) -> String {
    let kind = interface.kind.as_deref().unwrap_or("hardware");
    let mut all = vec![visible(kind), state(interface)];
    let addresses = interface.addresses.iter();
    all.extend(addresses.map(|a| format!("{}/{}", a.address, a.prefix)));
    all.extend(interface.mac.as_deref().map(visible));
    all.push(format!("MTU {}", interface.mtu));
    format!("{}: {}", visible(&interface.name), all.join(", "))
}

fn state(interface: &Interface) -> String {
    match (interface.up, interface.state.as_str()) {
        (false, _) => "down".to_owned(),
        (true, "up" | "unknown") => "up".to_owned(),
        (true, other) => format!("up, but {}", visible(other)),
    }
}

/// An interface and where it is.
fn named(survey: &Survey<'_>, plan: &Plan<'_>, end: End) -> String {
    let port = plan.master(end).map_or_else(String::new, |master| {
        format!(", port of {},", visible(&plan.interface(master).name))
    });
    let whose = whose(survey, plan.spaces[end.0]).text;
    let whose = if whose == "The host" {
        "the host".to_owned()
    } else {
        whose
    };
    format!("{}{port} in {whose}", visible(&plan.interface(end).name))
}

fn row(plan: &Plan<'_>, layout: &Layout, end: End, spot: Spot, wire: Option<usize>) -> Row {
    let interface = plan.interface(end);
    // What every interface with IPv6 has tells nothing in a drawing.
    let addresses = interface.addresses.iter().filter(|a| a.scope != "link");
    let mut more: Vec<String> = addresses
        .map(|a| format!("{}/{}", a.address, a.prefix))
        .collect();
    let master = plan.master(end);
    let beside = master.and_then(|m| layout.spots.get(&m));
    // Its bridge is to its left where there is a line to it.
    if let Some(master) = master
        && beside.is_none_or(|b| b.right() >= spot.x)
    {
        let name = visible(&plan.interface(master).name);
        more.push(format!("port of {name}"));
    }
    if !interface.up {
        more.insert(0, "down".to_owned());
    } else if interface.state == "lowerlayerdown" || interface.state == "down" {
        more.insert(0, "no carrier".to_owned());
    }
    let name = visible(&interface.name);
    let room = (spot.width - 26) / MONO;
    let name = cut(&name, room);
    let left = room.saturating_sub(name.chars().count() + 1);
    Row {
        x: spot.x,
        y: spot.y,
        width: spot.width,
        up: interface.up,
        more: if left > 3 {
            cut(&more.join(" "), left)
        } else {
            String::new()
        },
        name,
        title: sentence(interface),
        wire,
        loose: plan.loose.contains(&end),
    }
}

fn card(survey: &Survey<'_>, space: &WiredNamespace, area: &Area) -> Card {
    let link = whose(survey, space);
    let mut sub = format!("net:[{}]", space.inode);
    if space.interfaces.left_out > 0 {
        let more = usize::try_from(space.interfaces.left_out).unwrap_or(usize::MAX);
        sub += &format!(", and {}", count(more, "more interface", "more interfaces"));
    }
    if space.cut {
        let left_out = usize::try_from(space.interfaces.left_out).unwrap_or(usize::MAX);
        let read = space.interfaces.items.len().saturating_add(left_out);
        sub += &format!(", more than {read} interfaces: these are the first");
    }
    Card {
        x: area.x,
        y: area.y,
        width: area.width,
        height: area.height,
        to: link.to,
        title: cut(&link.text, (area.width - 28) / LETTER),
        whole: link.text,
        sub,
    }
}

/// What is not in the drawing, a sentence each.
fn notes(wiring: &Wiring) -> Vec<String> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut notes = Vec::new();
    let unread = wiring.unread.items.len() + number(wiring.unread.left_out);
    let left_out = number(wiring.namespaces.left_out);
    if left_out > 0 {
        notes.push(format!(
            "{} left out: there are too many for one reading, or you may not look into them.",
            count(left_out, "network namespace is", "network namespaces are")
        ));
    }
    if unread > 0 {
        notes.push(format!(
            "{} not be entered.",
            count(
                unread,
                "network namespace could",
                "network namespaces could"
            )
        ));
    }
    notes
}

impl Drawing {
    fn of(survey: &Survey<'_>, listing: &Listing, wiring: &Wiring) -> Self {
        let narrowed = !listing.q.is_empty();
        let meant: HashSet<NamespaceInode> = if narrowed {
            listing.select(survey).iter().map(|n| n.inode).collect()
        } else {
            HashSet::new()
        };
        let plan = Plan::new(wiring, |inode| !narrowed || meant.contains(&inode));
        let layout = Layout::new(&plan, listing.limit(BOXES));
        let mut lit: HashMap<End, usize> = HashMap::new();
        let mut wires = Vec::new();
        let mut list = Vec::new();
        for (number, link) in plan.links.iter().enumerate() {
            let Some(path) = layout.paths.get(&number) else {
                continue;
            };
            let (a, b) = link.ends;
            lit.entry(a).or_insert(number);
            lit.entry(b).or_insert(number);
            let between = if link.pair { "to" } else { "on top of" };
            let title = format!(
                "{} {between} {}",
                named(survey, &plan, a),
                named(survey, &plan, b)
            );
            list.push(title.clone());
            wires.push(Wire {
                number,
                path: path.clone(),
                pair: link.pair,
                title,
            });
        }
        let rows: Vec<_> = layout
            .spots
            .iter()
            .map(|(end, spot)| row(&plan, &layout, *end, *spot, lit.get(end).copied()))
            .collect();
        let areas = layout.areas.iter();
        let cards: Vec<_> = areas
            .map(|area| card(survey, plan.spaces[area.space], area))
            .collect();
        let total: usize = plan.clusters.iter().map(|c| 1 + c.around.len()).sum();
        let mut bare: Vec<_> = plan.bare.iter().map(|s| whose(survey, s)).collect();
        let bare_more = bare.split_off(bare.len().min(NAMES));
        Self {
            sentence: format!(
                "{} with {} between interfaces.",
                count(total, "network namespace", "network namespaces"),
                count(plan.links.len(), "wire", "wires")
            ),
            again: address(survey.scene.base, listing),
            width: layout.width,
            height: layout.height,
            loose: rows.iter().any(|r| r.loose),
            more: more(survey, listing, cards.len(), total),
            cards,
            rows,
            buses: layout.buses,
            wires,
            list,
            bare: (!plan.bare.is_empty()).then(|| {
                count(
                    plan.bare.len(),
                    "network namespace has only loopback",
                    "network namespaces have only loopback",
                )
            }),
            bare_names: bare,
            bare_more,
            notes: notes(wiring),
        }
    }
}

fn more(survey: &Survey<'_>, listing: &Listing, shown: usize, total: usize) -> String {
    if shown >= total {
        return String::new();
    }
    let to = listing.with(|l| {
        View::Wires.name().clone_into(&mut l.view);
        "on".clone_into(&mut l.all);
    });
    html(&More {
        to: format!("{}/namespaces{to}", survey.scene.base),
        shown,
        total,
        what: "boxes",
    })
}
