//! Fuzz targets, see `porthole_protocol`'s: each takes any bytes and panics where what it tries
//! does not hold.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a target says what it has found"
)]

use std::collections::BTreeMap;

use porthole_protocol::container::{ContainerSpec, Publish, Timestamp};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use serde_json::{Value, json};

use crate::access::limits::Said;
use crate::api::list::{Cursor, Listed};
use crate::api::{body, lines, output};
use crate::pages::view::processes::listing::{self, Listing, Term};
use crate::pages::view::typed::Typed;
use crate::pages::view::{connection, list, words};
use crate::settings::{Given, PublicUrl, given, user_limits};
use crate::store::audit::chain::{Chain, Hash, Head, Record, heads_in};
use crate::{compare, pages};

#[path = "../../../tests/fuzz/shared.rs"]
mod shared;
use shared::{Input, Target, same};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("requests", requests),
    ("queries", queries),
    ("forms", forms),
    ("settings", settings),
    ("audit", audit),
    ("output", text),
];

/// Any body of a request.
fn requests(bytes: &[u8]) {
    match body::parse::<ContainerSpec>(bytes) {
        Ok(spec) => {
            let written = serde_json::to_vec(&spec).expect("JSON");
            let again = body::parse::<ContainerSpec>(&written).ok();
            same("a request", &Some(spec), &again);
        }
        Err(refusal) => is_told(&refusal.message),
    }
    let said = body::parse::<Said>(bytes);
    if let Ok(said) = said {
        let written = serde_json::to_vec(&said).expect("JSON");
        same("limits", &Some(said), &body::parse::<Said>(&written).ok());
        let text = user_limits::text(&said);
        let again = user_limits::parse(&text).map_err(|why| why.to_string());
        same("limits in a line", &Ok(said), &again);
    }
}

/// A refusal is a sentence of bounded length that can be shown.
fn is_told(message: &str) {
    assert!(!message.is_empty() && message.len() <= 2000, "{message:?}");
    assert!(
        !message.chars().any(|c| c.is_control() && c != '\n'),
        "{message:?}"
    );
}

const LIST: Listed = Listed {
    fields: &["id", "name", "size", "labels"],
    key: "id",
    sort: "name",
};

/// Any query of an address: of output, of a list, of the search for processes.
fn queries(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(wanted) = serde_urlencoded::from_str::<output::Wanted>(&text) {
        assert!(wanted.tail.is_none_or(|lines| lines <= 100_000));
    }
    // A number of seconds, and the moment that it is, mean the same; later is never earlier.
    let seconds = Input(bytes).u64();
    let since = |text: &str| {
        let query = serde_urlencoded::to_string([("since", text)]).expect("a query");
        let wanted = serde_urlencoded::from_str::<output::Wanted>(&query);
        wanted.map(|wanted| wanted.since)
    };
    let told = since(&seconds.to_string()).expect("seconds");
    assert!(told >= Some(seconds), "{seconds} s is {told:?}");
    let short = seconds % 200_000_000_000;
    let moment = Timestamp(short * 1000).to_string();
    assert_eq!(since(&short.to_string()), since(&moment), "{moment}");

    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes).unwrap_or_default();
    let items = || (0..7).map(|id| json!({"id": id, "name": format!("n{}", id % 3), "size": [id]}));
    match LIST.page(items(), pairs) {
        Ok(page) => {
            assert!(page.items.len() <= 7);
            if let Some(next) = page.next {
                assert!(Cursor::read(&next).is_some());
            }
        }
        Err(refusal) => is_told(&refusal.message),
    }
    if let Some(cursor) = Cursor::read(&text) {
        same(
            "a cursor",
            &Some(&cursor),
            &Cursor::read(&cursor.write()).as_ref(),
        );
    }

    for word in text.split_whitespace() {
        match Term::parse(word) {
            Term::Pids(pids) => assert!(pids.len() > 1 && pids.iter().all(|pid| *pid > 0)),
            Term::Number(pid, text) => {
                assert!(pid > 0 && listing::whole_number(&format!("x {text} y"), &text));
                let longer = format!("1{}", text.trim_start_matches('+'));
                assert!(
                    !listing::whole_number(&longer, text.trim_start_matches('+'))
                        || longer.len() > text.len() * 2
                );
            }
            Term::Word(small) => {
                assert!(listing::holds_in_small(word, &small), "{word:?}");
                assert!(
                    listing::holds_in_small(&format!("é{word}"), &small),
                    "{word:?}"
                );
            }
        }
    }
    if let Ok(listing) = serde_urlencoded::from_str::<Listing>(&text) {
        let query = list::query(&listing);
        let again = serde_urlencoded::from_str::<Listing>(query.trim_start_matches('?'));
        same("a list's address", &Some(listing.clone()), &again.ok());
        assert!((listing::STEP..=listing::MOST).contains(&listing.rows()));
    }
    if let Some((pid, start)) = compare::pid(&text) {
        let written = match start {
            Some(start) => format!("{pid}@{start}"),
            None => pid.to_string(),
        };
        assert_eq!(compare::pid(&written), Some((pid, start)));
    }
    let _ = pages::day(&text);
}

/// Any form that was filled in.
fn forms(bytes: &[u8]) {
    if let Ok(typed) = serde_urlencoded::from_bytes::<Typed>(bytes) {
        match typed.parse() {
            Ok(spec) => assert!(spec.check().is_ok()),
            Err(errors) => {
                assert!(!errors.is_empty());
                errors.values().for_each(|why| is_seen(why));
            }
        }
    }
    let text = String::from_utf8_lossy(bytes);
    let mut errors = BTreeMap::new();
    let ports = connection::parse_ports(&text, &mut errors);
    assert!(ports.len() <= text.lines().count());
    for port in ports {
        let Publish {
            host,
            host_port,
            container_port,
            protocol,
        } = port;
        let at = std::net::SocketAddr::new(host, host_port.get());
        let line = format!("{at}:{container_port}/{}", protocol.name());
        assert_eq!(connection::parse_port(&line), Some(port), "{line}");
    }
    if let Some(size) = words::parse_bytes(&text) {
        assert_eq!(words::parse_bytes(&size.to_string()), Some(size));
        is_seen(&words::bytes(size));
    }
    is_seen(&words::visible(&text));
    is_seen(&words::sentence(&text));
    let arguments: Vec<&str> = text.split(',').collect();
    let line = shell_words::join(&arguments);
    let split = shell_words::split(&line).expect("what was put together");
    assert_eq!(split, arguments);
    is_seen(&words::command_line(&arguments));
}

/// Nothing of it is invisible, or moves what stands beside it.
fn is_seen(text: &str) {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    assert!(
        !text
            .chars()
            .any(|c| c != '\n' && (c.is_control() || hides(c))),
        "{text:?}"
    );
}

/// Any settings that somebody may have written.
fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(url) = text.parse::<PublicUrl>() {
        let written = url.to_string();
        let plain = text.trim_end_matches('/');
        // A port may be written with more zeros than it needs.
        let same_text = written.eq_ignore_ascii_case(plain) || plain.contains(":0");
        assert!(same_text, "{plain:?} becomes {written:?}");
        same("an address", &Some(url), &written.parse().ok());
    }
    if let Ok(listen) = given::parse_listen(&text) {
        let again = given::parse_listen(&listen.to_string());
        same("an address", &Some(listen), &again.ok());
    }
    if let Ok(said) = user_limits::parse(&text) {
        let again = user_limits::parse(&user_limits::text(&said));
        same("limits", &Some(said), &again.ok());
    }
    if let Ok(given) = toml::from_str::<Given>(&text) {
        let _ = format!("{given:?}");
    }
}

/// Any export of the audit trail, and any change to one that holds: what is changed, then how.
fn audit(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (place, field, begin) = (usize::from(input.u8() % 4), input.u8(), input.u64());
    let (one, other) = (input.text(), input.text());

    // Entries that hold together, from any number on, of any form, with any words.
    let format = i64::from(field % 2) + 1;
    let mut trail: Vec<Record> = Vec::new();
    for at in 0..4 {
        let mut record = Record {
            number: at + 1,
            format,
            at: Timestamp(begin % (Timestamp::LAST.0 + 1)),
            account: one.clone(),
            via: String::new(),
            address: String::new(),
            act: "sign_in".into(),
            object: other.clone(),
            result: "asked".into(),
            of: 0,
            detail: json!({ "a": one }),
            previous: trail
                .last()
                .map(|last| last.hash.clone())
                .unwrap_or_default(),
            hash: Hash::default(),
        };
        record.hash = record.digest();
        trail.push(record);
    }
    let line = serde_json::to_string(&trail[place]).expect("JSON");
    let read: Record = serde_json::from_str(&line).expect("what was written");
    same("an entry", &trail[place], &read);
    let head = trail[3].head();
    assert_eq!(heads_in(&format!("x audit: {head} {one}"))[0], head);
    let verified = follow(&trail, vec![head.clone()]).expect("nothing was changed");
    assert_eq!((verified.read, verified.heads), (4, 1));

    // Whatever is changed in one of them is noticed.
    let mut changed = trail.clone();
    let record = &mut changed[place];
    let word = input.text();
    match field / 2 % 9 {
        0 => record.account = word,
        1 => record.via = word,
        2 => record.address = word,
        3 => record.act = word,
        4 => record.object = word,
        5 => record.result = word,
        6 => record.of = input.u64().cast_signed(),
        7 => record.at = Timestamp(input.u64() % Timestamp::LAST.0),
        _ => record.detail = serde_json::from_str(&word).unwrap_or(Value::Null),
    }
    if changed != trail {
        let found = follow(&changed, vec![head]);
        assert!(found.is_err(), "{:?}\n{:?}", trail[place], changed[place]);
    }

    // An export may say anything, with hashes that are right.
    let mut chain = Chain::default();
    let lines = String::from_utf8_lossy(bytes);
    for (at, line) in lines.lines().enumerate() {
        if let Ok(mut record) = serde_json::from_str::<Record>(line) {
            record.hash = record.digest();
            let _ = chain.follow(&record, at.is_multiple_of(2));
        }
    }
    let mut numbered = trail[0].clone();
    numbered.number = begin.cast_signed();
    numbered.hash = numbered.digest();
    let _ = chain.follow(&numbered, true);
    numbered.number = numbered.number.wrapping_add(1);
    numbered.previous = numbered.hash.clone();
    numbered.hash = numbered.digest();
    let _ = chain.follow(&numbered, false);
    let _ = chain.finish();
}

fn follow(
    trail: &[Record],
    heads: Vec<Head>,
) -> Result<crate::store::audit::chain::Verified, crate::store::audit::chain::Broken> {
    let mut chain = Chain::with_heads(heads);
    for (at, record) in trail.iter().enumerate() {
        chain.follow(record, at == 0)?;
    }
    chain.finish()
}

/// Any output, as plain text and as events, however it is cut.
fn text(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cut = usize::from(input.u8()).min(input.0.len());
    let output = input.0;
    let mut plain = lines::Plain::default();
    let whole = plain.text(output);
    let mut plain = lines::Plain::default();
    let mut parts = plain.text(&output[..cut]);
    parts.extend(plain.text(&output[cut..]));
    assert_eq!(parts, whole);
    let allowed = |b: &u8| matches!(b, b'\n' | b'\t' | 0x20..=0x7e | 0x80..);
    assert!(whole.iter().all(allowed));

    let events = |pieces: &[&[u8]]| {
        let (mut lines, mut all, mut at) = (lines::Lines::default(), Vec::new(), 0);
        for piece in pieces {
            all.extend(lines.events(Seq(at), Stream::Stdout, piece));
            at += piece.len() as u64;
        }
        all.extend(lines.rest(Seq(at)));
        all
    };
    let all = events(&[output]);
    assert_eq!(all, events(&[&output[..cut], &output[cut..]]));
    // No program writes a field of an event.
    let all = String::from_utf8(all).expect("text");
    assert!(!all.contains('\r'));
    for event in all.split_terminator("\n\n") {
        let fields: Vec<&str> = event.split('\n').collect();
        assert_eq!(fields.len(), 3, "{event:?}");
        assert_eq!(fields[0], "event: stdout");
        assert!(fields[1].starts_with("id: ") && fields[2].starts_with("data: "));
    }
}

#[cfg(test)]
#[test]
fn corpora() {
    shared::replay(TARGETS);
}
