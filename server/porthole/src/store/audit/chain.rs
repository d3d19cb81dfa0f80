//! How entries of the audit trail hold together, and how it is seen that they do not. No I/O: what
//! is followed may come from the database, from an archive or from an export.
//!
//! An entry's hash is the SHA-256 of its fields in the order of [`Record::digest`], each number in
//! eight bytes, big-endian, each text and the previous hash behind its length in bytes, so that no
//! two entries have the same bytes. `previous` is the hash of the entry before, and empty in the
//! first.

use porthole_protocol::container::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::access::secret::hex;

/// The form that entries are written in now.
pub const FORMAT: i64 = 2;

/// A hash of an entry; in JSON hexadecimal digits. Empty before the first entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(pub Vec<u8>);

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WHY: &str = "a hash is hexadecimal digits";
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(WHY);
        }
        let digits = text.as_bytes().chunks(2);
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(WHY)
    }
}

/// An entry: what was done, and what holds it in its place. Its JSON is a line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counted from 1 without a gap.
    pub number: i64,
    /// How its hash is computed: 2, or 1 for entries of the first version.
    pub format: i64,
    /// When.
    pub at: Timestamp,
    /// Who; empty: Porthole itself.
    pub account: String,
    /// By which way: `login`, `token`, `socket`, `command` or `server`.
    pub via: String,
    /// From which address, where that is known.
    pub address: String,
    /// What was done.
    pub act: String,
    /// To what.
    pub object: String,
    /// `asked`, `done`, `refused` or `failed`.
    pub result: String,
    /// The entry whose outcome this is; 0 where it is about itself.
    pub of: i64,
    /// More of it: JSON without spaces, names in the order of their letters.
    pub detail: Value,
    /// The hash of the entry before.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
}

impl Record {
    /// What its hash has to be.
    pub fn digest(&self) -> Hash {
        let mut hasher = Sha256::new();
        let detail = self.detail.to_string();
        // A time was a number that fitted when it was written.
        let at = i64::try_from(self.at.0).unwrap_or(i64::MAX);
        let bytes = |hasher: &mut Sha256, bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        if self.format == 1 {
            bytes(&mut hasher, &self.previous.0);
            hasher.update(self.number.to_be_bytes());
            hasher.update(at.to_be_bytes());
            for text in [&self.account, &self.act, &self.object, &detail] {
                bytes(&mut hasher, text.as_bytes());
            }
        } else {
            for number in [self.format, self.number, at, self.of] {
                hasher.update(number.to_be_bytes());
            }
            bytes(&mut hasher, &self.previous.0);
            for text in [
                &self.account,
                &self.via,
                &self.address,
                &self.act,
                &self.object,
                &self.result,
                &detail,
            ] {
                bytes(&mut hasher, text.as_bytes());
            }
        }
        Hash(hasher.finalize().to_vec())
    }

    /// Whether all that it says is in its hash: what the first version had no place for says nothing
    /// in its entries.
    fn is_held(&self) -> bool {
        let says = [&self.via, &self.address]
            .iter()
            .any(|text| !text.is_empty());
        self.format != 1 || (!says && self.result == "asked" && self.of == 0)
    }

    /// Its place and hash.
    pub fn head(&self) -> Head {
        Head {
            number: self.number,
            hash: self.hash.clone(),
        }
    }
}

/// The last entry's place and hash: who knows it notices that entries are missing behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// Its number.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "audit:{}:{}", self.number, hex(&self.hash.0))
    }
}

/// Every head that is named in a text, such as the server's log.
pub fn heads_in(text: &str) -> Vec<Head> {
    text.split("audit:")
        .skip(1)
        .filter_map(|rest| {
            let (number, rest) = rest.split_once(':')?;
            let hash = rest.get(..64)?.to_owned();
            Some(Head {
                number: number.parse().ok()?,
                hash: Hash::try_from(hash).ok()?,
            })
        })
        .collect()
}

/// Where and why the trail does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Entry {number} of the audit trail {why}.")]
pub struct Broken {
    /// The first entry that is not as it was written, or that is missing.
    pub number: i64,
    /// What is wrong with it.
    pub why: String,
}

/// What was found to hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verified {
    /// How many entries were read.
    pub read: u64,
    /// The last of them.
    pub head: Option<Head>,
    /// Entries that are not here, but were closed by a checkpoint: first, last.
    pub elsewhere: Vec<(i64, i64)>,
    /// How many heads that were written down elsewhere are in it.
    pub heads: u64,
}

struct Gap {
    first: i64,
    last: i64,
    /// What the entry behind it says is the hash of its last.
    carried: Hash,
}

/// Follows entries, one after the other.
#[derive(Default)]
pub struct Chain {
    verified: Verified,
    gaps: Vec<Gap>,
    /// Heads that are known from elsewhere, not met yet.
    known: Vec<Head>,
}

impl Chain {
    /// Nothing followed yet; these heads are known from elsewhere.
    pub fn with_heads(known: Vec<Head>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// The number of the entry that was followed last; 0 before the first.
    pub fn last(&self) -> i64 {
        self.verified.head.as_ref().map_or(0, |head| head.number)
    }

    /// The next entry. `begins`: the first of what is kept in one place, before which entries may
    /// be missing that a checkpoint has closed.
    pub fn follow(&mut self, record: &Record, begins: bool) -> Result<(), Broken> {
        let head = self.verified.head.as_ref();
        let previous = head.map(|head| head.hash.clone()).unwrap_or_default();
        let broken = |number, why: &str| {
            Err(Broken {
                number,
                why: why.to_owned(),
            })
        };
        let Some(expected) = self.last().checked_add(1) else {
            return broken(record.number, "stands where it does not belong");
        };
        if record.number > expected && begins {
            self.gaps.push(Gap {
                first: expected,
                last: record.number - 1,
                carried: record.previous.clone(),
            });
        } else if record.number > expected {
            return broken(expected, "is missing");
        } else if record.number < expected {
            return broken(record.number, "stands where it does not belong");
        } else if record.previous != previous {
            return broken(record.number, "does not follow from the one before it");
        }
        if !(1..=FORMAT).contains(&record.format) {
            return broken(
                record.number,
                "is of a form that this version does not know",
            );
        }
        if !record.is_held() || record.hash != record.digest() {
            return broken(record.number, "was changed");
        }
        if record.act == super::Act::Checkpoint.name() {
            self.close(record);
        }
        let mut wrong = false;
        let verified = &mut self.verified;
        self.known.retain(|head| {
            if head.number != record.number {
                return true;
            }
            wrong |= head.hash != record.hash;
            verified.heads += 1;
            false
        });
        if wrong {
            return broken(
                record.number,
                "is not the one that was written down elsewhere",
            );
        }
        verified.read += 1;
        verified.head = Some(record.head());
        Ok(())
    }

    /// A checkpoint says which entries were put elsewhere, and the hash of the last of them.
    fn close(&mut self, checkpoint: &Record) {
        let to = checkpoint.detail["to"].as_i64();
        let hash = checkpoint.detail["hash"].as_str().unwrap_or_default();
        let elsewhere = &mut self.verified.elsewhere;
        self.gaps.retain(|gap| {
            let closed = to == Some(gap.last) && hash == hex(&gap.carried.0);
            if closed {
                elsewhere.push((gap.first, gap.last));
            }
            !closed
        });
    }

    /// At the end: whether what is missing was closed, and nothing is cut off behind.
    pub fn finish(self) -> Result<Verified, Broken> {
        if let Some(gap) = self.gaps.first() {
            return Err(Broken {
                number: gap.first,
                why: "is missing, and no checkpoint has closed it".to_owned(),
            });
        }
        let last = self.last();
        // What lies in a part that is elsewhere cannot be compared here.
        let beyond = self.known.iter().filter(|head| head.number > last);
        if let Some(head) = beyond.min_by_key(|head| head.number) {
            return Err(Broken {
                number: last + 1,
                why: format!(
                    "is missing: entry {} was written down elsewhere, and the trail ends before it",
                    head.number
                ),
            });
        }
        Ok(self.verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Entries that hold together; the hashes are computed as they are.
    fn entries(acts: &[(&str, Value)]) -> Vec<Record> {
        let mut out: Vec<Record> = Vec::new();
        for (at, (act, detail)) in acts.iter().enumerate() {
            let previous = out.last().map(|r| r.hash.clone()).unwrap_or_default();
            let mut record = Record {
                number: i64::try_from(at).expect("few") + 1,
                format: FORMAT,
                at: Timestamp(1_795_500_000_000),
                account: "ann".into(),
                via: "login".into(),
                address: "192.0.2.1".into(),
                act: (*act).into(),
                object: "web".into(),
                result: "asked".into(),
                of: 0,
                detail: detail.clone(),
                previous,
                hash: Hash::default(),
            };
            record.hash = record.digest();
            out.push(record);
        }
        out
    }

    fn follow(records: &[Record], heads: Vec<Head>) -> Result<Verified, Broken> {
        let mut chain = Chain::with_heads(heads);
        for (at, record) in records.iter().enumerate() {
            chain.follow(record, at == 0)?;
        }
        chain.finish()
    }

    fn four() -> Vec<Record> {
        let none = || json!({});
        entries(&[
            ("sign_in", none()),
            ("container_create", json!({"b": 1.5, "a": "é\u{1}"})),
            ("session_open", none()),
            ("sign_out", none()),
        ])
    }

    #[test]
    fn an_untouched_trail_holds_also_as_lines_of_json() {
        let trail = four();
        let verified = follow(&trail, vec![trail[1].head()]).expect("whole");
        assert_eq!((verified.read, verified.heads), (4, 1));
        let lines: Vec<Record> = trail
            .iter()
            .map(|r| serde_json::to_string(r).expect("a line"))
            .map(|line| serde_json::from_str(&line).expect("read"))
            .collect();
        assert_eq!(lines, trail);
    }

    #[test]
    fn every_field_of_an_entry_is_held() {
        type Tamper = fn(&mut Record);
        let tampers: [Tamper; 11] = [
            |r| r.at = Timestamp(r.at.0 + 1),
            |r| r.account = "bob".into(),
            |r| r.via = "token".into(),
            |r| r.address = "192.0.2.2".into(),
            |r| r.act = "container_remove".into(),
            |r| r.object = "db".into(),
            |r| r.result = "done".into(),
            |r| r.of = 1,
            |r| r.detail = json!({"a": "other"}),
            |r| r.format = 1,
            // A text's end moved into the next one leaves the same letters.
            |r| (r.account, r.via) = ("an".into(), "nlogin".into()),
        ];
        for (at, tamper) in tampers.iter().enumerate() {
            let mut trail = four();
            tamper(&mut trail[1]);
            let broken = follow(&trail, Vec::new()).expect_err("found");
            assert_eq!((broken.number, &*broken.why), (2, "was changed"), "{at}");
        }
        assert!(follow(&four(), Vec::new()).is_ok(), "the control");
    }

    #[test]
    fn what_is_taken_out_put_in_or_moved_is_found() {
        let whole = four();
        let mut without = whole.clone();
        without.remove(1);
        assert_eq!(follow(&without, Vec::new()).expect_err("found").number, 2);
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert_eq!(follow(&swapped, Vec::new()).expect_err("found").number, 2);
        let mut twice = whole.clone();
        twice.insert(2, whole[1].clone());
        assert_eq!(follow(&twice, Vec::new()).expect_err("found").number, 2);
        // Moved with its number and hash made anew: it does not fit what stands behind.
        let mut renumbered = whole.clone();
        renumbered.swap(1, 2);
        for (number, record) in (1..).zip(&mut renumbered) {
            record.number = number;
        }
        renumbered[1].previous = renumbered[0].hash.clone();
        renumbered[1].hash = renumbered[1].digest();
        let broken = follow(&renumbered, Vec::new()).expect_err("found");
        assert_eq!(broken.number, 3, "{broken}");
        // Beginning later without a checkpoint.
        let broken = follow(&whole[1..], Vec::new()).expect_err("found");
        assert_eq!(broken.number, 1, "{broken}");
    }

    #[test]
    fn a_tail_that_was_cut_off_is_found_by_a_head_from_elsewhere() {
        let whole = four();
        let heads = heads_in(&format!(
            "INFO recorded head=\"{}\"\n{{\"head\":\"{}\"}}\naudit:x:y audit:3:00",
            whole[1].head(),
            whole[3].head()
        ));
        assert_eq!(heads.len(), 2);
        assert!(follow(&whole, heads.clone()).is_ok(), "the control");
        assert!(follow(&whole[..2], Vec::new()).is_ok(), "nobody can tell");
        let broken = follow(&whole[..2], heads.clone()).expect_err("found");
        assert_eq!(broken.number, 3, "{broken}");
        // Cut off and written anew, with hashes that fit.
        let mut anew = whole[..3].to_vec();
        let mut other = whole[3].clone();
        other.object = "nothing".into();
        other.hash = other.digest();
        anew.push(other);
        assert!(follow(&anew, Vec::new()).is_ok(), "nobody can tell");
        assert_eq!(follow(&anew, heads).expect_err("found").number, 4);
    }

    #[test]
    fn what_a_checkpoint_has_closed_may_be_elsewhere() {
        let first = four();
        let closing = |to: i64, hash: &Hash| json!({"to": to, "hash": hex(&hash.0)});
        let with = |detail: Value| {
            let none = || json!({});
            entries(&[
                ("sign_in", none()),
                ("container_create", json!({"b": 1.5, "a": "é\u{1}"})),
                ("session_open", none()),
                ("checkpoint", detail),
                ("sign_out", none()),
            ])
        };
        let trail = with(closing(2, &first[1].hash));
        let verified = follow(&trail[2..], Vec::new()).expect("closed");
        assert_eq!(verified.elsewhere, [(1, 2)]);
        assert!(
            follow(&trail, Vec::new())
                .expect("whole")
                .elsewhere
                .is_empty()
        );
        for wrong in [closing(1, &first[1].hash), closing(2, &first[0].hash)] {
            let broken = follow(&with(wrong)[2..], Vec::new()).expect_err("found");
            assert_eq!(broken.number, 1, "{broken}");
        }
        let mut chain = Chain::default();
        chain.follow(&trail[0], true).expect("the first");
        let broken = chain.follow(&trail[2], false).expect_err("found");
        assert_eq!(broken.number, 2, "only where something begins: {broken}");
    }
}
