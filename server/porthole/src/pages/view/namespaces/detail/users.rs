//! A user namespace: its maps as ranges, drawn and in words.

use askama::Template;
use porthole_protocol::inspection::{MappedRange, User};

use super::super::super::words::count;
use super::level;

/// A range of ids, drawn: where it begins and how wide it is in the drawing.
struct Range {
    x: usize,
    width: usize,
    inside: String,
    outside: String,
    count: String,
    words: String,
}

struct Map {
    title: &'static str,
    id: &'static str,
    ranges: Vec<Range>,
    width: usize,
}

/// Ranges that are drawn; all are listed.
const DRAWN: usize = 5;

impl Map {
    fn of(title: &'static str, id: &'static str, ranges: &[MappedRange]) -> Self {
        const WHOLE: usize = 900;
        let few = ranges.len().clamp(1, DRAWN);
        let width = (WHOLE - (few - 1) * 10) / few;
        let range = |(place, range): (usize, &MappedRange)| {
            let span = |first: u32| {
                let last = u64::from(first) + u64::from(range.count.max(1)) - 1;
                if range.count <= 1 {
                    first.to_string()
                } else {
                    format!("{first}–{last}")
                }
            };
            let by_parent = range.parent.filter(|parent| *parent != range.outside);
            let parent =
                by_parent.map_or_else(String::new, |p| format!(", {} in its parent", span(p)));
            Range {
                x: place * (width + 10),
                width,
                inside: span(range.inside),
                outside: span(range.outside),
                count: count(range.count as usize, "id", "ids"),
                words: format!(
                    "{} inside {} {} on the host{parent}",
                    span(range.inside),
                    if range.count == 1 { "is" } else { "are" },
                    span(range.outside)
                ),
            }
        };
        Self {
            title,
            id,
            ranges: ranges.iter().enumerate().map(range).collect(),
            width: WHOLE,
        }
    }
}

#[derive(Template)]
#[template(path = "partials/namespace_user.html")]
pub(super) struct UserView {
    facts: Vec<(&'static str, String)>,
    maps: Vec<Map>,
    identical: bool,
}

impl UserView {
    pub(super) fn of(read: &User) -> Self {
        let mut facts = vec![("Level", level(read.level))];
        if let Some(uid) = read.owner_uid {
            facts.push(("Made by", format!("uid {uid} on the host")));
        }
        if let Some(allowed) = read.setgroups {
            let word = if allowed { "allowed" } else { "denied" };
            facts.push(("setgroups", word.to_owned()));
        }
        let mut maps = vec![Map::of("Users", "uid", &read.uid_map)];
        let identical = read.uid_map == read.gid_map;
        if !identical {
            maps.push(Map::of("Groups", "gid", &read.gid_map));
        }
        Self {
            facts,
            maps,
            identical,
        }
    }
}
