//! The hub's legs, and the table of faults in it.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use super::{
    isolation::run,
    rules::{Rule, packets, script},
};
use crate::exit::Failure;

/// This process's own network namespace, once [`super::enter`] has made it the hub.
#[derive(Debug)]
pub(crate) struct Hub {
    rules: Vec<Rule>,
    legs: Vec<(String, String)>,
}

impl Hub {
    pub(crate) const fn new() -> Self {
        Self { rules: vec![], legs: vec![] }
    }

    /// A namespace of this name with one leg to the hub; the answer is its address. No two legs share a
    /// name or a number (1–250).
    pub(crate) fn add_leg(&mut self, name: &str, number: u8) -> Result<Ipv4Addr, Failure> {
        let (address, gateway) = (address_of(number), Ipv4Addr::new(10, 77, number, 254));
        let (inner, outer) = (format!("{address}/24"), format!("{gateway}/24"));
        let link = format!("leg{number}");
        run("ip", &["netns", "add", name])?;
        self.legs.push((name.to_owned(), link.clone()));
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", name];
        run("ip", &[&["link", "add", &link], &pair[..]].concat())?;
        run("ip", &["address", "add", &outer, "dev", &link])?;
        run("ip", &["link", "set", &link, "up"])?;
        run("ip", &["-n", name, "address", "add", &inner, "dev", "eth0"])?;
        run("ip", &["-n", name, "link", "set", "eth0", "up"])?;
        run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        run("ip", &["-n", name, "route", "add", "default", "via", &gateway.to_string()])?;
        Ok(address)
    }

    /// Puts these rules, and no other, in force: all at once.
    pub(crate) fn set(&mut self, rules: Vec<Rule>) -> Result<(), Failure> {
        let failed = || Failure::harness("iptables-restore");
        let mut process = Command::new("iptables-restore")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed())?;
        let mut input = process.stdin.take().expect("it is a pipe");
        input.write_all(script(&rules).as_bytes()).map_err(failed())?;
        drop(input);
        let status = process.wait().map_err(failed())?;
        if !status.success() {
            return Err(failed()(std::io::Error::other(format!("ended with {status}"))));
        }
        self.rules = rules;
        Ok(())
    }

    /// No rules: every packet passes.
    pub(crate) fn heal(&mut self) -> Result<(), Failure> {
        if self.rules.is_empty() { Ok(()) } else { self.set(vec![]) }
    }

    /// How many packets each rule has taken since it came into force, in the order of the rules.
    pub(crate) fn packets(&self) -> Result<Vec<(Rule, u64)>, Failure> {
        let output = Command::new("iptables")
            .args(["-L", "FORWARD", "-nvx"])
            .stdin(Stdio::null())
            .output()
            .map_err(Failure::harness("iptables -L"))?;
        let counts = packets(&String::from_utf8_lossy(&output.stdout));
        if counts.len() != self.rules.len() {
            let wrong = format!("shows {} rules of {}", counts.len(), self.rules.len());
            return Err(Failure::harness("iptables -L")(std::io::Error::other(wrong)));
        }
        Ok(self.rules.iter().cloned().zip(counts).collect())
    }
}

impl Drop for Hub {
    /// Frees the names for the next cluster of the run. What fails here ends with the run.
    fn drop(&mut self) {
        drop(self.heal());
        for (name, link) in &self.legs {
            drop(run("ip", &["link", "delete", link]));
            drop(run("ip", &["netns", "delete", name]));
        }
    }
}

/// The address at the far end of a leg.
const fn address_of(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, number, 1)
}
