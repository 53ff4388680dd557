//! What the hub does to packets between two of its legs, as iptables is told and as it counts.

use std::{fmt::Write as _, net::Ipv4Addr};

/// What becomes of the packets from one address to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) effect: Effect,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Everything is dropped, TCP and UDP alike; nobody is told.
    Drop,
    /// All TCP is dropped, UDP passes.
    DropTcp,
    /// Each TCP segment is answered with a reset to its sender, and dropped.
    ResetTcp,
    /// This many of 100 datagrams are dropped, by chance.
    LoseUdp(u8),
    /// Datagrams are counted, and go on to the rules that follow.
    CountUdp,
}

impl Rule {
    /// One rule for each ordered pair of one address of `from` and one of `to`.
    pub(crate) fn between(from: &[Ipv4Addr], to: &[Ipv4Addr], effect: Effect) -> Vec<Self> {
        let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to)));
        pairs.filter(|(from, to)| from != to).map(|(from, to)| Self { from, to, effect }).collect()
    }

    fn arguments(&self) -> String {
        let (from, to) = (self.from, self.to);
        let effect = match self.effect {
            Effect::Drop => "-j DROP".to_owned(),
            Effect::DropTcp => "-p tcp -j DROP".to_owned(),
            Effect::ResetTcp => "-p tcp -j REJECT --reject-with tcp-reset".to_owned(),
            Effect::LoseUdp(percent) => format!(
                "-p udp -m statistic --mode random --probability {}.{:02} -j DROP",
                percent / 100,
                percent % 100
            ),
            Effect::CountUdp => "-p udp".to_owned(),
        };
        format!("-A FORWARD -s {from}/32 -d {to}/32 {effect}")
    }
}

/// What `iptables-restore` reads: the whole filter table, replaced in one step.
pub(super) fn script(rules: &[Rule]) -> String {
    let mut script =
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n".to_owned();
    for rule in rules {
        writeln!(script, "{}", rule.arguments()).expect("into a string");
    }
    script.push_str("COMMIT\n");
    script
}

/// The packet counts of `iptables -L FORWARD -nvx`: after the chain's line and the columns' names, one
/// rule a line, the count first.
pub(super) fn packets(listing: &str) -> Vec<u64> {
    listing
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
    const C: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 1);

    #[test]
    fn rules_are_for_ordered_pairs_of_two_nodes() {
        let rules = Rule::between(&[A, B], &[B, C], Effect::Drop);
        let pairs: Vec<_> = rules.iter().map(|rule| (rule.from, rule.to)).collect();
        assert_eq!(pairs, [(A, B), (A, C), (B, C)]);
    }

    #[test]
    fn the_script_replaces_the_whole_table() {
        let rule = |effect| Rule { from: A, to: B, effect };
        let rules = [
            rule(Effect::Drop),
            rule(Effect::DropTcp),
            rule(Effect::ResetTcp),
            rule(Effect::CountUdp),
            rule(Effect::LoseUdp(60)),
            rule(Effect::LoseUdp(5)),
            rule(Effect::LoseUdp(100)),
        ];
        let expected = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -j DROP
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p tcp -j DROP
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p udp
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p udp -m statistic --mode random --probability 0.60 -j DROP
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p udp -m statistic --mode random --probability 0.05 -j DROP
-A FORWARD -s 10.77.1.1/32 -d 10.77.2.1/32 -p udp -m statistic --mode random --probability 1.00 -j DROP
COMMIT
";
        assert_eq!(script(&rules), expected);
    }

    #[test]
    fn counts_are_read_in_the_order_of_the_rules() {
        let listing = "\
Chain FORWARD (policy ACCEPT 0 packets, 0 bytes)
    pkts      bytes target     prot opt in     out     source               destination
      17     1020 DROP       0    --  *      *       10.77.1.1            10.77.2.1
       0        0 DROP       17   --  *      *       10.77.2.1            10.77.1.1
";
        assert_eq!(packets(listing), [17, 0]);
        assert!(packets("").is_empty());
    }
}
