//! One process of the benchmark: a replica, and a port that takes orders.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use raft::{
    Bootstrap, CallHandler, Environment, Lifeline, Options, OsNet, PeerId, Replica, Timing,
    disk::OsDisk, net::BoxFuture,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::register::Register;

/// An order: write these many bytes.
pub(crate) const WRITE: u8 = b'w';
/// An order: say who leads.
pub(crate) const SAY: u8 = b's';
/// It was written.
pub(crate) const DONE: u8 = b'+';
/// It was not, as far as is known.
pub(crate) const NOT_DONE: u8 = b'-';

#[derive(Debug)]
struct NoCalls;

impl CallHandler for NoCalls {
    fn on_call(&self, _: PeerId, _: Bytes, _: std::time::Duration) -> BoxFuture<'static, Bytes> {
        Box::pin(async { Bytes::new() })
    }
}

/// Runs until it is killed: label, directory, peers' port, orders' port, seeds, lifeline.
pub(crate) fn run(arguments: &[String]) {
    let [label, directory, listen, orders, seed, lifeline, ..] = arguments else {
        panic!("six arguments")
    };
    let listen: SocketAddr = listen.parse().unwrap();
    let has_lifeline = lifeline == "true";
    let options = Options {
        cluster: "bench".to_owned(),
        label: label.clone(),
        data_dir: directory.into(),
        listen,
        advertise: listen.to_string(),
        bootstrap: Bootstrap::Expect { voters: 3, seeds: vec![seed.clone()], only: None },
        timing: if has_lifeline { Timing::lan_beside_lifeline() } else { Timing::lan() },
        lifeline: has_lifeline.then(Lifeline::lan),
        segment_bytes: 64 << 20,
        snapshot_log_bytes: 1 << 30,
        kept_entries: 1_000_000,
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let seed = u64::from(std::process::id()) << 32 | u64::from(listen.port());
        let environment = Environment { disk: Arc::new(OsDisk), net: Arc::new(OsNet), seed };
        let opened = Replica::open(options, environment, Register::default(), Arc::new(NoCalls));
        let replica = opened.await.unwrap();
        let listener = TcpListener::bind(orders).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(take_orders(replica.clone(), stream));
        }
    });
}

async fn take_orders(replica: Replica<Register>, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let order = stream.read_u8().await?;
        if order == SAY {
            let said = say(&replica);
            stream.write_u32(u32::try_from(said.len()).unwrap()).await?;
            stream.write_all(said.as_bytes()).await?;
            continue;
        }
        let mut entry = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut entry).await?;
        let written = replica.propose(entry.into()).await;
        stream.write_u8(if written.is_ok() { DONE } else { NOT_DONE }).await?;
    }
}

/// Term, leader's label, applied index, and the term and cause of the last suspicion.
fn say(replica: &Replica<Register>) -> String {
    let status = replica.status().borrow().clone();
    let leader = status.leader.map_or_else(|| "-".to_owned(), |leader| leader.label);
    let stood = status.stood.map_or_else(
        || "0 none".to_owned(),
        |stood| format!("{} {:?}", stood.term, stood.suspicion),
    );
    format!("{} {leader} {} {stood}", status.term, status.applied_index)
}
