//! What an account has, of what it may have.

use crate::access::limits::{Amounts, Ceiling, Kind, Said};
use crate::actions::limits::shown;

/// One kind of what is limited.
#[derive(Debug, Clone)]
pub struct Use {
    /// What.
    pub title: &'static str,
    /// How much there is.
    pub used: String,
    /// How much may be; nothing where there is no limit.
    pub limit: Option<String>,
    /// Hundredths of it.
    pub part: u8,
}

impl Use {
    /// Nothing is left.
    pub fn full(&self) -> bool {
        self.part >= 100
    }
}

/// What each kind is called.
pub const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Containers => "Containers",
        Kind::Sessions => "Sessions running",
        Kind::Memory => "Memory of all containers",
        Kind::Cpus => "Cores of all containers",
        Kind::Pids => "Processes of all containers",
    }
}

/// What is used of one kind.
pub fn one(kind: Kind, used: &Amounts, allowed: &Said) -> Use {
    let has = used.get(kind);
    let (limit, part) = match allowed.get(kind) {
        Some(Ceiling::Most(0)) => (Some(shown(kind, 0)), 100),
        Some(Ceiling::Most(most)) => {
            let part = u128::from(has) * 100 / u128::from(most);
            let part = u8::try_from(part.min(100)).unwrap_or(100);
            (Some(shown(kind, most)), part)
        }
        Some(Ceiling::Unlimited) | None => (None, 0),
    };
    Use {
        title: title(kind),
        used: shown(kind, has),
        limit,
        part,
    }
}

/// What is used of each kind.
pub fn all(used: &Amounts, allowed: &Said) -> Vec<Use> {
    let of = |kind| one(kind, used, allowed);
    Kind::ALL.into_iter().map(of).collect()
}

/// The same without what is of no concern to a new container.
pub fn of_containers(used: &Amounts, allowed: &Said) -> Vec<Use> {
    let of = |kind| one(kind, used, allowed);
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Sessions);
    kinds.map(of).filter(|of| of.limit.is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use porthole_protocol::container::Limits;

    #[test]
    fn a_part_is_of_what_is_allowed() {
        let mut used = Amounts::of_container(&Limits::default());
        used += used;
        let allowed: Said = serde_json::from_str(
            r#"{"containers":3,"memory":1073741824,"cpus":"unlimited","pids":0}"#,
        )
        .expect("limits");
        let all = all(&used, &allowed);
        let told: Vec<_> = all
            .iter()
            .map(|u| (&*u.used, u.limit.as_deref(), u.part))
            .collect();
        assert_eq!(
            told,
            [
                ("2", Some("3"), 66),
                ("0", None, 0),
                ("1 GiB", Some("1 GiB"), 100),
                ("2", None, 0),
                ("512", Some("0"), 100),
            ]
        );
        assert!(all[2].full() && !all[0].full());
        assert_eq!(of_containers(&used, &allowed).len(), 3);
    }
}
