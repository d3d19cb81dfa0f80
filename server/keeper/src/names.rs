//! Names for containers that were given none.

use porthole_protocol::container::ContainerName;

const ADJECTIVES: [&str; 64] = [
    "amber", "ample", "autumn", "azure", "brave", "breezy", "brisk", "bronze", "calm", "candid",
    "clear", "copper", "coral", "cosy", "crisp", "dapper", "deft", "eager", "early", "fabled",
    "fair", "fleet", "frosty", "gentle", "gilded", "glad", "golden", "hardy", "hazel", "honest",
    "humble", "ivory", "jolly", "keen", "kind", "lively", "lucid", "lunar", "mellow", "merry",
    "mild", "misty", "neat", "nimble", "noble", "ochre", "olive", "patient", "placid", "plucky",
    "polar", "quick", "quiet", "rapid", "rosy", "rustic", "silver", "steady", "stout", "sunny",
    "tidal", "vivid", "warm", "witty",
];

const NOUNS: [&str; 64] = [
    "anchor", "atlas", "badger", "bay", "beacon", "bight", "birch", "bosun", "brook", "buoy",
    "cabin", "cape", "cedar", "cliff", "clipper", "compass", "coot", "cove", "crane", "cutter",
    "delta", "dinghy", "dory", "dune", "eddy", "egret", "ferry", "finch", "fjord", "galley",
    "gannet", "gull", "harbor", "haven", "helm", "heron", "inlet", "island", "jetty", "kayak",
    "keel", "ketch", "lagoon", "lantern", "lark", "ledge", "lock", "mast", "otter", "pier",
    "plover", "puffin", "quay", "raft", "reef", "rudder", "sail", "sextant", "shoal", "skiff",
    "sloop", "tern", "tide", "wharf",
];

/// A name made of these random bytes that `taken` does not know.
pub(crate) fn make_up(
    random: [u8; 2],
    taken: impl Fn(&ContainerName) -> bool,
) -> Option<ContainerName> {
    let adjective = ADJECTIVES[usize::from(random[0]) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(random[1]) % NOUNS.len()];
    let plain = std::iter::once(format!("{adjective}-{noun}"));
    let numbered = (2..100_000).map(|number| format!("{adjective}-{noun}-{number}"));
    plain
        .chain(numbered)
        .filter_map(|name| name.parse().ok())
        .find(|name| !taken(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_a_name_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for a in 0..64 {
            for b in 0..64 {
                let name = make_up([a, b], |_| false).expect("a name");
                assert!(seen.insert(name.to_string()), "{name} twice");
            }
        }
        assert_eq!(seen.len(), 64 * 64);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = ["amber-anchor", "amber-anchor-2"];
        let name = make_up([0, 0], |name| taken.contains(&name.as_str()));
        assert_eq!(
            name.as_ref().map(ContainerName::as_str),
            Some("amber-anchor-3")
        );
    }
}
