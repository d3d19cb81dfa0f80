//! What nft(8) is told: one table, whole each time, so that a change is one transaction and what
//! somebody has changed by hand is put right by the next. Pure.
//!
//! Containers are ports of one bridge that pass nothing to one another (see `links.rs`), so that
//! everything they send comes to this machine's own network layer, and each hook sees it:
//!
//! ```text
//!                          +-> input: refused, but for answers and the machine's own resolver
//! bridge -> first: who is -+
//!           it really?     +-> forward: to the same owner's containers, or out
//!                                          out: as the machine (masquerade)
//! outside -> enter: published ports -> forward: what was published, and answers
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use porthole_protocol::container::Publish;

use super::links::GROUP;
use super::pool::Pool;
use super::registry::Attachment;

/// What the table is made of.
#[derive(Debug)]
pub(super) struct Ruleset<'a> {
    /// The table's name.
    pub(super) table: &'a str,
    /// The bridge's.
    pub(super) bridge: &'a str,
    pub(super) pool: &'a Pool,
    pub(super) attached: &'a [Attachment],
    /// Name servers that are this machine itself.
    pub(super) resolvers: &'a [IpAddr],
    /// What the machine did not forward before Porthole came, and goes on not forwarding for all others.
    pub(super) only_ours: OnlyOurs,
}

/// The families of which only containers' packets are forwarded. Each is switched by itself: where
/// Docker is, a machine often forwards IPv4 and no IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnlyOurs {
    pub(super) v4: bool,
    pub(super) v6: bool,
}

/// Removes the table, whether it is there or not. It is made anew in between, by which whoever
/// listens knows that it was one of us ([`super::Watch`]).
pub(super) fn removal(table: &str) -> String {
    let once = format!("table inet {table}\ndelete table inet {table}\n");
    once.repeat(2)
}

/// Whether the kernel must let `127.0.0.0/8` through to the bridge for these.
pub(super) fn needs_local_routes(attached: &[Attachment]) -> bool {
    let from_loopback = |port: &Publish| match port.host {
        IpAddr::V4(host) => host.is_loopback() || host.is_unspecified(),
        IpAddr::V6(_) => false,
    };
    attached
        .iter()
        .flat_map(|one| &one.publish)
        .any(from_loopback)
}

impl Ruleset<'_> {
    /// As nft reads it.
    pub(super) fn text(&self) -> String {
        let mut text = removal(self.table);
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "table inet {} {{", self.table)?;
        self.sources(text)?;
        let owners = self.owners(text)?;
        self.between(text, &owners)?;
        self.filters(text)?;
        self.translations(text)?;
        writeln!(text, "}}")
    }

    /// Who may send as whom.
    fn sources(&self, text: &mut String) -> std::fmt::Result {
        let mac = |one: &Attachment| self.pool.mac(one.number);
        let v4 = self
            .attached
            .iter()
            .map(|one| format!("{} . {}", mac(one), self.pool.v4_of(one.number)));
        let v6 = self
            .attached
            .iter()
            .filter_map(|one| Some(format!("{} . {}", mac(one), self.pool.v6_of(one.number)?)));
        set(text, "sources4", "ether_addr . ipv4_addr", v4)?;
        set(text, "sources6", "ether_addr . ipv6_addr", v6)?;
        let resolvers = |wanted: fn(&&IpAddr) -> bool| {
            self.resolvers
                .iter()
                .filter(wanted)
                .map(ToString::to_string)
        };
        set(text, "resolvers4", "ipv4_addr", resolvers(|a| a.is_ipv4()))?;
        set(text, "resolvers6", "ipv6_addr", resolvers(|a| a.is_ipv6()))
    }

    /// A chain for each owner, which lets through what is for that owner's; the chain of each
    /// container.
    fn owners(&self, text: &mut String) -> Result<Vec<(u32, usize)>, std::fmt::Error> {
        let mut of_owner: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for one in self.attached {
            of_owner
                .entry(one.owner.as_str())
                .or_default()
                .push(one.number);
        }
        let mut chains = Vec::new();
        for (chain, (owner, numbers)) in of_owner.iter().enumerate() {
            writeln!(text, " chain owner{chain} {{")?;
            let v4 = numbers.iter().map(|n| self.pool.v4_of(*n).to_string());
            let v4: Vec<String> = v4.collect();
            let comment = format!("comment \"to {owner}'s\"");
            writeln!(text, "  ip daddr {{ {} }} accept {comment}", v4.join(", "))?;
            let v6 = numbers.iter().filter_map(|n| self.pool.v6_of(*n));
            let v6: Vec<String> = v6.map(|v6| v6.to_string()).collect();
            if !v6.is_empty() {
                writeln!(text, "  ip6 daddr {{ {} }} accept {comment}", v6.join(", "))?;
            }
            writeln!(
                text,
                "  {REFUSE_TCP}\n  {REFUSE} comment \"to others'\"\n }}"
            )?;
            chains.extend(numbers.iter().map(|number| (*number, chain)));
        }
        Ok(chains)
    }

    fn between(&self, text: &mut String, owners: &[(u32, usize)]) -> std::fmt::Result {
        let v4 = owners
            .iter()
            .map(|(number, chain)| format!("{} : goto owner{chain}", self.pool.v4_of(*number)));
        let v6 = owners.iter().filter_map(|(number, chain)| {
            let v6 = self.pool.v6_of(*number)?;
            Some(format!("{v6} : goto owner{chain}"))
        });
        map(text, "owners4", "ipv4_addr : verdict", v4)?;
        map(text, "owners6", "ipv6_addr : verdict", v6)?;
        writeln!(
            text,
            " chain between {{\n  ip saddr vmap @owners4\n  ip6 saddr vmap @owners6\n  drop\n }}"
        )
    }

    fn filters(&self, text: &mut String) -> std::fmt::Result {
        let bridge = self.bridge;
        let (v4, v6) = self.ranges();
        // Loopback is let through to the bridge for published ports; nothing comes back that way
        // (CVE-2020-8558).
        write!(
            text,
            " chain sent {{
  ip daddr 127.0.0.0/8 drop comment \"nobody's loopback but their own\"
  ether saddr . ip saddr @sources4 accept
  ether saddr . ip6 saddr @sources6 accept
  drop comment \"under a name that is not theirs\"
 }}
 chain first {{
  type filter hook prerouting priority raw; policy accept
  iifname \"{bridge}\" goto sent
  iifname != \"lo\" ip saddr {v4} drop comment \"containers' addresses, from elsewhere\"
"
        )?;
        if let Some(v6) = &v6 {
            writeln!(text, "  iifname != \"lo\" ip6 saddr {v6} drop")?;
        }
        write!(
            text,
            " }}
 chain host {{
  ct state established,related accept
  ip daddr @resolvers4 meta l4proto {{ tcp, udp }} th dport 53 accept
  ip6 daddr @resolvers6 meta l4proto {{ tcp, udp }} th dport 53 accept
  {REFUSE_TCP}
  {REFUSE} comment \"the machine itself\"
 }}
 chain input {{
  type filter hook input priority filter; policy accept
  iifname \"{bridge}\" goto host
 }}
 chain output {{
  type filter hook output priority filter; policy accept
  oifname \"{bridge}\" icmp type redirect drop comment \"ports of the bridge reach nobody by themselves\"
  oifname \"{bridge}\" icmpv6 type nd-redirect drop
 }}
 chain forward {{
  type filter hook forward priority filter; policy accept
"
        )?;
        let OnlyOurs { v4, v6 } = self.only_ours;
        // Every instance's bridge is let through, and has a table of its own.
        for (family, _) in [("ipv4", v4), ("ipv6", v6)].iter().filter(|(_, on)| *on) {
            writeln!(
                text,
                "  meta nfproto {family} iifgroup != {GROUP} oifgroup != {GROUP} drop comment \"as before Porthole came\""
            )?;
        }
        write!(
            text,
            "  ct state established,related accept
  iifname \"{bridge}\" oifname \"{bridge}\" goto between
  iifname \"{bridge}\" accept
  oifname \"{bridge}\" ct status dnat accept comment \"published\"
  oifname \"{bridge}\" drop
 }}
"
        )
    }

    fn translations(&self, text: &mut String) -> std::fmt::Result {
        let bridge = self.bridge;
        let (v4, v6) = self.ranges();
        write!(
            text,
            " chain leave {{
  type nat hook postrouting priority srcnat; policy accept
  oifname != \"{bridge}\" ip saddr {v4} masquerade
"
        )?;
        if let Some(v6) = v6 {
            writeln!(text, "  oifname != \"{bridge}\" ip6 saddr {v6} masquerade")?;
        }
        write!(
            text,
            "  oifname \"{bridge}\" ip saddr 127.0.0.0/8 masquerade
 }}
 chain enter {{
  type nat hook prerouting priority dstnat; policy accept
  iifname \"{bridge}\" return
"
        )?;
        for (number, port) in self.published() {
            // From outside nothing comes for loopback.
            if !port.host.is_loopback() {
                self.translate(text, number, port)?;
            }
        }
        write!(
            text,
            " }}
 chain enter_here {{
  type nat hook output priority -100; policy accept
"
        )?;
        for (number, port) in self.published() {
            self.translate(text, number, port)?;
        }
        writeln!(text, " }}")
    }

    fn published(&self) -> impl Iterator<Item = (u32, &Publish)> {
        let ports = |one: &'_ Attachment| one.number;
        self.attached
            .iter()
            .flat_map(move |one| one.publish.iter().map(move |port| (ports(one), port)))
    }

    fn translate(&self, text: &mut String, number: u32, port: &Publish) -> std::fmt::Result {
        let (family, host) = match port.host {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                ("ip", "meta nfproto ipv4 fib daddr type local".to_owned())
            }
            IpAddr::V4(host) => ("ip", format!("ip daddr {host}")),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (
                "ip6",
                "meta nfproto ipv6 ip6 daddr != ::1 fib daddr type local".to_owned(),
            ),
            IpAddr::V6(host) => ("ip6", format!("ip6 daddr {host}")),
        };
        let to = match port.host {
            IpAddr::V4(_) => Some(IpAddr::V4(self.pool.v4_of(number))),
            IpAddr::V6(_) => self.pool.v6_of(number).map(IpAddr::V6),
        };
        let Some(to) = to else {
            return Ok(());
        };
        let to = std::net::SocketAddr::new(to, port.container_port.get());
        writeln!(
            text,
            "  {host} {} dport {} dnat {family} to {to}",
            port.protocol.name(),
            port.host_port
        )
    }

    fn ranges(&self) -> (String, Option<String>) {
        let (base, prefix) = self.pool.range();
        let v6 = self.pool.v6().map(|base| format!("{base}/64"));
        (format!("{base}/{prefix}"), v6)
    }
}

/// Answered, so that who tries need not wait. Of the second kind the kernel sends few.
const REFUSE_TCP: &str = "meta l4proto tcp reject with tcp reset";
const REFUSE: &str = "reject with icmpx admin-prohibited";

fn set(
    text: &mut String,
    name: &str,
    kind: &str,
    elements: impl Iterator<Item = String>,
) -> std::fmt::Result {
    collection(text, "set", name, kind, elements)
}

fn map(
    text: &mut String,
    name: &str,
    kind: &str,
    elements: impl Iterator<Item = String>,
) -> std::fmt::Result {
    collection(text, "map", name, kind, elements)
}

fn collection(
    text: &mut String,
    what: &str,
    name: &str,
    kind: &str,
    elements: impl Iterator<Item = String>,
) -> std::fmt::Result {
    let elements: Vec<String> = elements.collect();
    write!(text, " {what} {name} {{ type {kind}; ")?;
    if !elements.is_empty() {
        write!(text, "elements = {{ {} }}", elements.join(", "))?;
    }
    writeln!(text, " }}")
}

#[cfg(test)]
mod tests {
    use super::super::pool::parse_range;
    use super::*;

    fn attachment(number: u32, owner: &str, publish: &str) -> Attachment {
        serde_json::from_value(serde_json::json!({
            "id": format!("{number:064x}"), "name": format!("c{number}"), "hostname": "h",
            "owner": owner, "number": number,
            "publish": serde_json::from_str::<serde_json::Value>(publish).expect("JSON"),
        }))
        .expect("an attachment")
    }

    const BOTH: OnlyOurs = OnlyOurs { v4: true, v6: true };
    const NEITHER: OnlyOurs = OnlyOurs {
        v4: false,
        v6: false,
    };

    fn text(attached: &[Attachment], v6: bool, only_ours: OnlyOurs) -> String {
        let range = parse_range("10.88.0.0/16").expect("a range");
        let pool = Pool::new(range, 1, v6);
        Ruleset {
            table: "porthole_00000001",
            bridge: "ph-00000001",
            pool: &pool,
            attached,
            resolvers: &[],
            only_ours,
        }
        .text()
    }

    #[test]
    fn owners_are_apart_and_known_by_their_addresses() {
        let attached = [
            attachment(2, "ann", "[]"),
            attachment(3, "bob", "[]"),
            attachment(4, "ann", "[]"),
        ];
        let text = text(&attached, true, NEITHER);
        for line in [
            "ip daddr { 10.88.0.2, 10.88.0.4 } accept comment \"to ann's\"",
            "ip daddr { 10.88.0.3 } accept comment \"to bob's\"",
            "10.88.0.3 : goto owner1",
            "02:00:00:00:00:04 . 10.88.0.4",
            "ip6 saddr fd70:0:1::/64 masquerade",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("as before"), "{text}");
    }

    #[test]
    fn without_ipv6_nothing_speaks_of_its_addresses() {
        let text = text(&[attachment(2, "ann", "[]")], false, BOTH);
        assert!(!text.contains("fd70"), "{text}");
        assert!(text.contains("as before Porthole came"), "{text}");
    }

    #[test]
    fn a_family_that_was_not_forwarded_is_not_for_others() {
        let drops = |v4, v6| {
            let text = text(&[attachment(2, "ann", "[]")], true, OnlyOurs { v4, v6 });
            ["ipv4", "ipv6"].map(|family| {
                text.contains(&format!(
                    "meta nfproto {family} iifgroup != {GROUP} oifgroup != {GROUP} drop"
                ))
            })
        };
        for v4 in [false, true] {
            for v6 in [false, true] {
                assert_eq!(drops(v4, v6), [v4, v6]);
            }
        }
    }

    #[test]
    fn loopback_is_published_to_this_machine_alone() {
        let attached = [attachment(
            2,
            "ann",
            r#"[{"host_port":8080,"container_port":80},
               {"host":"0.0.0.0","host_port":81,"container_port":81,"protocol":"udp"},
               {"host":"2001:db8::1","host_port":82,"container_port":82}]"#,
        )];
        let text = text(&attached, true, NEITHER);
        let count = |line: &str| text.matches(line).count();
        assert_eq!(
            count("ip daddr 127.0.0.2 tcp dport 8080 dnat ip to 10.88.0.2:80"),
            1
        );
        assert_eq!(count("udp dport 81 dnat ip to 10.88.0.2:81"), 2);
        assert_eq!(
            count("tcp dport 82 dnat ip6 to [fd70:0:1::2]:82"),
            2,
            "{text}"
        );
        assert!(needs_local_routes(&attached));
        assert!(!needs_local_routes(&[attachment(2, "ann", "[]")]));
    }
}
