//! How many connections one container may have at once: so that none fills the table of connections
//! that the kernel keeps for the whole machine (`net.netfilter.nf_conntrack_max`).
//!
//! They are counted in a table of their own, beside the one that is made anew with each container:
//! what is counted has to outlive that. Counted is what a container begins, by the link-layer address
//! that its port of the bridge is locked to, both families together.

/// Where root's policy says nothing. A machine's table has room for 262,144 by default.
pub const CONNECTIONS: u32 = 16_384;

/// As many as link-layer addresses are kept at once; one that has no connection is dropped by the
/// kernel by and by.
const KEPT: u32 = 65_535;

/// The table's name, next to the one with the rules.
pub(super) fn table(rules: &str) -> String {
    format!("{rules}{SUFFIX}")
}

/// What [`table`] appends.
pub(super) const SUFFIX: &str = "_connections";

/// What nft is told, whether the table is there or not: what it has counted stays.
pub(super) fn text(rules: &str, bridge: &str, limit: u32) -> String {
    let table = table(rules);
    let count = format!(
        "iifname \"{bridge}\" ct state new add @counted {{ ether saddr ct count over {limit} }} goto refuse"
    );
    format!(
        "add table inet {table}
add set inet {table} counted {{ type ether_addr; size {KEPT}; flags dynamic; }}
add chain inet {table} refuse
add chain inet {table} forward {{ type filter hook forward priority filter - 5; policy accept; }}
add chain inet {table} input {{ type filter hook input priority filter - 5; policy accept; }}
flush chain inet {table} refuse
flush chain inet {table} forward
flush chain inet {table} input
add rule inet {table} refuse meta l4proto tcp reject with tcp reset
add rule inet {table} refuse reject with icmpx admin-prohibited comment \"as many connections as one container may have\"
add rule inet {table} forward {count}
add rule inet {table} input {count}
"
    )
}

/// What takes it away.
pub(super) fn removal(rules: &str) -> String {
    let table = table(rules);
    format!("table inet {table}\ndelete table inet {table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_stays() {
        let text = text("porthole_1", "ph-1", 20);
        assert!(text.contains("ct count over 20"), "{text}");
        assert!(
            !text.contains("delete") && !text.contains("flush set"),
            "{text}"
        );
        assert!(removal("porthole_1").contains("delete table inet porthole_1_connections"));
    }
}
