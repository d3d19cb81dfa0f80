//! How much an account may have in all: containers, sessions, and what its containers are given.
//!
//! Pure: amounts, what of them is allowed, and the words for it. Counting and enforcing is
//! [`actions::limits`](crate::actions::limits).

use std::fmt;

use porthole_protocol::container::{Invalid, Limits};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Containers, whether they run or not.
    Containers,
    /// Sessions that run.
    Sessions,
    /// Bytes of memory that its containers may use together, swapped out or not.
    Memory,
    /// Thousandths of a core that its containers may use together.
    Cpus,
    /// Processes that its containers may have together.
    Pids,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::Containers,
        Self::Sessions,
        Self::Memory,
        Self::Cpus,
        Self::Pids,
    ];

    /// Its word in JSON, in forms and in the file of settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Sessions => "sessions",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Pids => "pids",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The number as JSON has it: bytes, cores with fractions, a count.
    pub fn json(self, amount: u64) -> serde_json::Number {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "thousandths of at most 4096 cores"
            )]
            Self::Cpus if !amount.is_multiple_of(1000) => {
                serde_json::Number::from_f64(amount as f64 / 1000.0).unwrap_or_else(|| 0.into())
            }
            Self::Cpus => (amount / 1000).into(),
            _ => amount.into(),
        }
    }

    fn amount(self, number: f64) -> Result<u64, Invalid> {
        const WHY: Invalid = Invalid("a limit is a number, \"unlimited\", or null for the default");
        let scaled = if self == Self::Cpus {
            (number * 1000.0).round()
        } else {
            number
        };
        // 2^53: whole numbers up to there are exact.
        if !(0.0..=9_007_199_254_740_992.0).contains(&scaled) || scaled.fract() != 0.0 {
            return Err(WHY);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be whole, not negative and below 2^53"
        )]
        let amount = scaled as u64;
        Ok(amount)
    }
}

/// The most of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ceiling {
    /// There is none.
    Unlimited,
    /// This much.
    Most(u64),
}

/// How the absence of a ceiling is written.
pub const UNLIMITED: &str = "unlimited";

/// An amount of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts([u64; 5]);

impl Amounts {
    /// One session.
    pub const fn of_session() -> Self {
        Self([0, 1, 0, 0, 0])
    }

    /// What a container with these limits counts as, whether it runs or not: it may be started at
    /// any time, by a restart policy too.
    pub fn of_container(limits: &Limits) -> Self {
        let cpus = limits.cpus.unwrap_or(Limits::DEFAULT_CPUS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a specification has between 0.01 and 1024 cores"
        )]
        let cpus = (cpus * 1000.0).round() as u64;
        // What is swapped out is memory that is used all the same, on a disk that is everybody's.
        let memory = limits.memory.unwrap_or(Limits::DEFAULT_MEMORY);
        Self([
            1,
            0,
            memory.saturating_add(limits.swap.unwrap_or(0)),
            cpus,
            u64::from(limits.pids.unwrap_or(Limits::DEFAULT_PIDS)),
        ])
    }

    /// What this is more than the other, of each kind.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut more = *self;
        for (own, other) in more.0.iter_mut().zip(other.0) {
            *own = own.saturating_sub(other);
        }
        more
    }

    /// Of this kind.
    pub const fn get(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }
}

impl std::ops::AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What is said of each kind, where anything is: an account's own limits, or the defaults of
/// whoever operates Porthole. As JSON an object of numbers and `"unlimited"`; what is left out or
/// null is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said([Option<Ceiling>; 5]);

impl Said {
    /// Of this kind.
    pub const fn get(&self, kind: Kind) -> Option<Ceiling> {
        self.0[kind as usize]
    }

    /// The same, but for this kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, ceiling: Option<Ceiling>) -> Self {
        self.0[kind as usize] = ceiling;
        self
    }

    /// This, and where it says nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut said = self;
        for (own, other) in said.0.iter_mut().zip(other.0) {
            *own = own.or(other);
        }
        said
    }
}

/// What of an account's limits is to be changed; `Some(None)` gives the default back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change([Option<Option<Ceiling>>; 5]);

impl Change {
    /// All of them at once.
    pub fn to(said: Said) -> Self {
        Self(said.0.map(Some))
    }

    /// What it makes of these.
    pub fn apply(&self, to: Said) -> Said {
        let mut said = to;
        for (own, change) in said.0.iter_mut().zip(self.0) {
            *own = change.unwrap_or(*own);
        }
        said
    }
}

impl Serialize for Said {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for kind in Kind::ALL {
            match self.get(kind) {
                Some(Ceiling::Most(amount)) => {
                    map.serialize_entry(kind.name(), &kind.json(amount))?;
                }
                Some(Ceiling::Unlimited) => map.serialize_entry(kind.name(), UNLIMITED)?,
                None => {}
            }
        }
        map.end()
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Change;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("limits by their names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Change, A::Error> {
                let names = &["containers", "sessions", "memory", "cpus", "pids"];
                let mut change = Change::default();
                while let Some(name) = map.next_key::<String>()? {
                    let kind =
                        Kind::named(&name).ok_or_else(|| A::Error::unknown_field(&name, names))?;
                    let ceiling = match map.next_value::<Option<Written>>()? {
                        None => None,
                        Some(Written::Word(word)) if word == UNLIMITED => Some(Ceiling::Unlimited),
                        Some(Written::Word(_)) => {
                            return Err(A::Error::custom(
                                "a limit is a number, \"unlimited\", or null for the default",
                            ));
                        }
                        Some(Written::Number(number)) => Some(Ceiling::Most(
                            kind.amount(number).map_err(A::Error::custom)?,
                        )),
                    };
                    change.0[kind as usize] = Some(ceiling);
                }
                Ok(change)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Change::deserialize(deserializer)?.apply(Self::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_they_are_read() {
        let text = r#"{"containers":3,"memory":"unlimited","cpus":1.5,"pids":0}"#;
        let said: Said = serde_json::from_str(text).expect("read");
        assert_eq!(said.get(Kind::Cpus), Some(Ceiling::Most(1500)));
        assert_eq!(said.get(Kind::Sessions), None);
        assert_eq!(said.get(Kind::Pids), Some(Ceiling::Most(0)));
        assert_eq!(serde_json::to_string(&said).expect("written"), text);
        let whole: Said = serde_json::from_str(r#"{"cpus":2}"#).expect("read");
        assert_eq!(
            serde_json::to_string(&whole).expect("written"),
            r#"{"cpus":2}"#
        );
        for bad in [
            r#"{"disk":1}"#,
            r#"{"memory":-1}"#,
            r#"{"memory":1.5}"#,
            r#"{"memory":"much"}"#,
            r#"{"memory":1e300}"#,
            r#"{"memory":true}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Said>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_leaves_the_rest_and_null_gives_the_default_back() {
        let own: Said = serde_json::from_str(r#"{"containers":3,"pids":9}"#).expect("read");
        let change: Change =
            serde_json::from_str(r#"{"containers":null,"sessions":1}"#).expect("read");
        let now = change.apply(own);
        assert_eq!(now.get(Kind::Containers), None);
        assert_eq!(now.get(Kind::Sessions), Some(Ceiling::Most(1)));
        assert_eq!(now.get(Kind::Pids), Some(Ceiling::Most(9)), "as it was");
        let defaults: Said = serde_json::from_str(r#"{"containers":64}"#).expect("read");
        assert_eq!(
            now.or(defaults).get(Kind::Containers),
            Some(Ceiling::Most(64))
        );
    }

    #[test]
    fn a_container_counts_as_what_it_may_use() {
        let amounts = Amounts::of_container(&Limits::default());
        assert_eq!(amounts, Amounts([1, 0, 512 << 20, 1000, 256]));
        let swapping = Limits {
            memory: Some(1 << 20),
            swap: Some(3 << 20),
            ..Limits::default()
        };
        assert_eq!(
            Amounts::of_container(&swapping).get(Kind::Memory),
            4 << 20,
            "what it may swap out counts too"
        );
        let mut sum = amounts;
        sum += Amounts::of_session();
        sum += Amounts([u64::MAX; 5]);
        assert_eq!(sum.get(Kind::Memory), u64::MAX, "it does not wrap around");
    }
}
