//! The frame around every page: where one is, who one is, which host this is, and what is wrong.

use askama::Template;

use super::live::{Region, Slot};
use super::{Scene, html, words};
use crate::access::Identity;
use crate::world::World;

/// The machine that Porthole runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its kernel's release.
    pub kernel: String,
}

/// A page's frame.
#[derive(Debug, Clone)]
pub struct Shell {
    /// What addresses begin with.
    pub base: String,
    /// Scheme, host and base path, as the reader's browser has them: for commands to copy.
    pub origin: String,
    /// The part of the site: `containers`, `sessions`, `settings` or nothing.
    pub section: &'static str,
    /// Who looks; nobody before signing in.
    pub who: Option<Identity>,
    /// What to follow for live changes: this page's own address. Empty: nothing here is live.
    pub follow: String,
    /// What the page shows already when it begins to follow.
    pub have: String,
    /// The host's pill and the banner.
    pub region: Region,
}

#[derive(Template)]
#[template(path = "partials/host.html")]
struct HostPill<'a> {
    host: &'a Host,
    containers: String,
}

#[derive(Template)]
#[template(path = "partials/banner.html")]
struct Banner {
    keeper_away: bool,
    notice: Option<String>,
    lacking: Vec<String>,
}

impl Shell {
    /// The frame for somebody who is signed in.
    pub fn new(world: &World, host: &Host, scene: Scene<'_>, section: &'static str) -> Self {
        Self {
            base: scene.base.to_owned(),
            origin: String::new(),
            section,
            who: Some(scene.who.clone()),
            follow: String::new(),
            have: String::new(),
            region: region(world, host, scene),
        }
    }

    /// The frame for nobody.
    pub fn outside(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            origin: String::new(),
            section: "",
            who: None,
            follow: String::new(),
            have: String::new(),
            region: Region::default(),
        }
    }

    /// The same, following this address for changes.
    #[must_use]
    pub fn following(mut self, address: impl Into<String>) -> Self {
        self.follow = address.into();
        self
    }
}

impl Shell {
    /// The same around a page that shows this.
    #[must_use]
    pub fn around(mut self, page: &Region) -> Self {
        self.have = Region::digest([&self.region, page]);
        self
    }
}

/// What of the frame is live.
pub fn region(world: &World, host: &Host, scene: Scene<'_>) -> Region {
    let keeper = world.keeper();
    let pill = HostPill {
        host,
        containers: words::count(world.any_containers().len(), "container", "containers"),
    };
    let banner = Banner {
        keeper_away: !keeper.present,
        notice: world.notice().map(|text| words::visible(&text)),
        lacking: match keeper.hello {
            Some(hello) if scene.who.is_admin() => hello.lacking,
            _ => Vec::new(),
        },
    };
    Region {
        slots: vec![
            Slot::whole("host", html(&pill)),
            Slot::whole("banner", html(&banner)),
        ],
    }
}
