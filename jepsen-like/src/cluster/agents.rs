//! Agents, `queue worker`, among the nodes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Stdio,
};

use super::{Cluster, Process};
use crate::exit::Failure;

/// The first agent's leg of the hub; the nodes' are below.
const FIRST_LEG: u8 = 101;

/// One agent: where it is, and its process while it runs.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) process: Option<Process>,
    /// Another one under its name.
    twin: Option<Process>,
    orders: Orders,
}

/// What an agent is started with.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) queue: &'static str,
    pub(crate) slots: u16,
    pub(crate) lease: &'static str,
    /// What runs for each job: a line for `sh -c`.
    pub(crate) script: String,
}

impl Cluster {
    /// Starts one more agent.
    pub(crate) fn add_agent(&mut self, orders: Orders) -> Result<(), Failure> {
        if !self.binary.has_agents {
            return Err(Failure::Unable("this `queue` has no agents (`queue worker`)".to_owned()));
        }
        let number = u8::try_from(self.agents.len()).expect("agents are few") + 1;
        let name = format!("w{number}");
        let address = match &mut self.hub {
            Some(hub) => hub.add_leg(&name, FIRST_LEG - 1 + number)?,
            None => Ipv4Addr::LOCALHOST,
        };
        self.agents.push(Agent { name, address, process: None, twin: None, orders });
        self.start_agent(self.agents.len() - 1)
    }

    /// Starts an agent again, under its name.
    pub(crate) fn start_agent(&mut self, index: usize) -> Result<(), Failure> {
        self.agents[index].process = Some(self.agent_process(index)?);
        Ok(())
    }

    /// Starts another agent under the name of one that lives.
    pub(crate) fn start_twin(&mut self, victim: Victim) -> Result<(), Failure> {
        let Victim::Agent(index) = victim else { unreachable!("only agents have twins") };
        self.agents[index].twin = Some(self.agent_process(index)?);
        Ok(())
    }

    /// The twin takes the place of the agent.
    pub(crate) fn keep_twin(&mut self, victim: Victim) {
        let Victim::Agent(index) = victim else { unreachable!("only agents have twins") };
        let agent = &mut self.agents[index];
        agent.process = agent.twin.take();
    }

    fn agent_process(&self, index: usize) -> Result<Process, Failure> {
        let agent = &self.agents[index];
        let log_path = self.log_path(&agent.name);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(Failure::harness(log_path.display().to_string()))?;
        let urls: Vec<String> =
            self.nodes.iter().map(|node| format!("http://{}", node.http)).collect();
        let mut command = self.command_at(&agent.name);
        command
            .args(["worker", agent.orders.queue, "--addr", &urls.join(",")])
            .args(["--worker", &agent.name, "--slots", &agent.orders.slots.to_string()])
            .args(["--lease", agent.orders.lease])
            .args(self.gossip_key_flags())
            .args(["--", "sh", "-c", &agent.orders.script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Process::start(&mut command, &self.sweeper)
    }
}

/// Who suffers a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// A node, by its place.
    Node(usize),
    /// An agent, by its place.
    Agent(usize),
}

impl Cluster {
    pub(crate) fn name_of(&self, victim: Victim) -> &str {
        match victim {
            Victim::Node(index) => &self.nodes[index].label,
            Victim::Agent(index) => &self.agents[index].name,
        }
    }

    pub(crate) fn process_of(&mut self, victim: Victim) -> Result<&mut Process, Failure> {
        let name = self.name_of(victim).to_owned();
        let process = match victim {
            Victim::Node(index) => &mut self.nodes[index].process,
            Victim::Agent(index) => &mut self.agents[index].process,
        };
        process.as_mut().ok_or_else(|| Failure::Cluster(format!("{name} does not run")))
    }

    /// Starts a victim again whose process has ended.
    pub(crate) fn restart(&mut self, victim: Victim) -> Result<(), Failure> {
        match victim {
            Victim::Node(index) => {
                self.nodes[index].process = None;
                self.start_node(index)
            }
            Victim::Agent(index) => {
                self.agents[index].process = None;
                self.start_agent(index)
            }
        }
    }

    /// The address of a victim, and those of everybody else.
    pub(crate) fn sides(&self, victim: Victim) -> (Ipv4Addr, Vec<Ipv4Addr>) {
        let nodes = (0..self.nodes.len()).map(Victim::Node);
        let agents = (0..self.agents.len()).map(Victim::Agent);
        let others = nodes.chain(agents).filter(|other| *other != victim);
        (self.address_of(victim), others.map(|other| self.address_of(other)).collect())
    }

    pub(crate) fn address_of(&self, victim: Victim) -> Ipv4Addr {
        match victim {
            Victim::Agent(index) => self.agents[index].address,
            Victim::Node(index) => match self.nodes[index].http.ip() {
                IpAddr::V4(address) => address,
                IpAddr::V6(_) => unreachable!("nodes are placed on IPv4 addresses"),
            },
        }
    }

    /// All addresses, of nodes and agents.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        let nodes = (0..self.nodes.len()).map(Victim::Node);
        let agents = (0..self.agents.len()).map(Victim::Agent);
        nodes.chain(agents).map(|member| self.address_of(member)).collect()
    }
}
