//! Processes: of the host, searched and bounded, and of one container.

pub mod confinement;
pub mod known;
pub mod listing;
pub mod of_sessions;
pub mod page;
pub mod row;
pub mod tree;

use super::live::{Part, Slot};
use super::words::count;
use super::{Scene, html};
use crate::world::{AnyContainer, World};
use askama::Template;
use known::Known;
use listing::MOST;
use row::{Manner, row, row_id};
pub use tree::{Leaf, tree};

pub use page::{ProcessesPage, region};

#[derive(Template)]
#[template(path = "partials/processes_more.html")]
struct More {
    text: String,
    address: Option<(String, String)>,
}

/// The rows as parts of a slot.
fn parts(leaves: &[Leaf], known: &Known<'_>, manner: impl Fn(&Leaf) -> Manner) -> Vec<Part> {
    leaves
        .iter()
        .map(|leaf| Part {
            id: row_id(&leaf.process),
            html: row(leaf, known, manner(leaf)),
        })
        .collect()
}

/// What is live of a container's processes: rows, what of them is not drawn, and how many there are.
pub fn of_container(
    container: &AnyContainer,
    world: &World,
    scene: Scene<'_>,
) -> (Vec<Slot>, usize) {
    let known = Known::new(world, scene);
    let mut leaves = tree(world.processes_of(container.id()));
    let all = leaves.len();
    leaves.truncate(MOST);
    let parts = parts(&leaves, &known, |_| Manner {
        names_container: false,
        context: false,
        subject: false,
    });
    let more = More {
        text: count(
            all - leaves.len(),
            "more is not drawn",
            "more are not drawn",
        ),
        address: Some((
            format!(
                "{}/processes?container={}",
                scene.base,
                super::reference(world, container)
            ),
            "Search them".to_owned(),
        )),
    };
    let more = if all > leaves.len() {
        html(&more)
    } else {
        String::new()
    };
    let slots = vec![Slot { id: "rows", parts }, Slot::whole("more", more)];
    (slots, all)
}
