//! Fuzz targets for the network: what is written for others to read, and what the kernel says.

use std::net::IpAddr;

use porthole_protocol::container::{ContainerName, Hostname, Owner, Publish};
use porthole_protocol::id::ContainerId;

use super::pool::{Pool, parse_range};
use super::registry::Attachment;
use super::ruleset::{OnlyOurs, Ruleset};
use super::watch::Transaction;
use super::{machine, names};
use crate::fuzz::shared::Input;

/// Any names of containers, hosts and owners, any ports: nothing of what people choose becomes a
/// word of nft's or a line of a file.
pub(crate) fn names(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.u8();
    let pool = Pool::new(
        parse_range("10.88.0.0/24").expect("a range"),
        input.u32(),
        flags & 1 != 0,
    );
    let resolv = input.text();
    let mut attached = Vec::new();
    while !input.is_empty() && attached.len() < 100 {
        let number = attached.len() as u32 + 2;
        attached.extend(attachment(&mut input, number));
    }
    let resolvers = names::name_servers(&resolv);
    let text = |attached: &[Attachment]| {
        let ruleset = Ruleset {
            table: "porthole_00000001",
            bridge: "ph-00000001",
            pool: &pool,
            attached,
            resolvers: &resolvers,
            only_ours: OnlyOurs {
                v4: flags & 2 != 0,
                v6: flags & 4 != 0,
            },
        };
        ruleset.text()
    };
    // Other names for the same containers, in the same order of owners, make the same rules.
    let mut owners: Vec<&Owner> = attached.iter().map(|one| &one.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let mut plain = attached.clone();
    for (one, of) in plain.iter_mut().zip(&attached) {
        let place = owners.binary_search(&&of.owner).expect("among them");
        one.owner = format!("o{place:04}").parse().expect("an owner");
        one.name = "c".parse().expect("a name");
        one.hostname = "h".to_owned();
    }
    let written = text(&attached);
    assert_eq!(without_comments(&written), without_comments(&text(&plain)));
    assert!(
        written
            .chars()
            .all(|c| c == '\n' || (' '..='~').contains(&c))
    );
    let (open, close) = (written.matches('{').count(), written.matches('}').count());
    assert_eq!(open, close);

    // Each line of the hosts file is an address and names, as they were given.
    let hosts = names::hosts(&pool, attached.iter());
    let lines: Vec<Vec<&str>> = hosts
        .lines()
        .map(|line| line.split(['\t', ' ']).collect())
        .collect();
    assert!(lines.iter().all(|line| line[0].parse::<IpAddr>().is_ok()));
    let each = pool.addresses(2).len();
    assert_eq!(lines.len(), 4 + attached.len() * each);
    for (lines, one) in lines[4..].chunks(each).zip(&attached) {
        for (line, address) in lines.iter().zip(pool.addresses(one.number)) {
            assert_eq!(line[0], address.to_string());
            assert_eq!(line[1], one.name.as_str());
            assert_eq!(*line.last().expect("a name"), one.hostname);
        }
    }
    let resolver = names::resolver(&[], &resolv);
    for line in resolver.lines().filter(|line| !line.starts_with('#')) {
        let server = line.strip_prefix("nameserver ").expect("a name server");
        assert!(!server.parse::<IpAddr>().expect("an address").is_loopback());
    }
    let _ = machine::hexadecimal(&resolv);
    if let Ok(range) = parse_range(&resolv) {
        let pool = Pool::new(range, 1, true);
        assert!(pool.has(pool.choose(0, |_| false).expect("room")));
        let (base, prefix) = pool.range();
        assert_eq!(parse_range(&format!("{base}/{prefix}")), Ok(range));
    }
}

/// What nft acts by: comments are quoted, and a quotation mark ends them whatever stands before it.
fn without_comments(text: &str) -> String {
    let pieces: Vec<&str> = text.split('"').collect();
    assert!(pieces.len() % 2 == 1, "a quotation mark too many");
    assert!(
        pieces
            .iter()
            .skip(1)
            .step_by(2)
            .all(|comment| comment.len() <= 128)
    );
    pieces.into_iter().step_by(2).collect()
}

/// An attachment with these names, where they are names.
fn attachment(input: &mut Input<'_>, number: u32) -> Option<Attachment> {
    let name: Option<ContainerName> = input.text().parse().ok();
    let hostname: Option<Hostname> = input.text().parse().ok();
    let owner: Option<Owner> = input.text().parse().ok();
    // A list of ports as it is sent.
    let publish: Vec<Publish> = serde_json::from_slice(input.piece()).unwrap_or_default();
    Some(Attachment {
        id: ContainerId::from_bytes([input.u8(); 32]),
        name: name?,
        hostname: hostname?.to_string(),
        owner: owner?,
        number,
        publish,
    })
}

/// Any datagrams of nftables' about any table.
pub(crate) fn watch(bytes: &[u8]) {
    let mut ours = Transaction::of("porthole_00000001".to_owned());
    let mut input = Input(bytes);
    while !input.is_empty() {
        let length = usize::from(input.u16());
        let _ = ours.hear(input.take(length));
    }
    // Whatever was heard, somebody else's change is heard after it: ours forgets nothing for ever.
    let _ = ours.hear(&super::watch::message(15, ""));
    assert!(!ours.hear(&super::watch::message(15, "")));
    let mut theirs = super::watch::message(6, "porthole_00000001");
    theirs.extend(super::watch::message(15, ""));
    assert!(ours.hear(&theirs));
}
