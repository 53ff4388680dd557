//! Members on this machine's own sockets: what each is told of the others.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use membership::{Keyring, Profile};
use tokio::{sync::broadcast, time::timeout};

use super::{
    Card, Gossip, Kind, Member, MemberOptions, MemberState, WorkerEvent,
    subject::{Subject, Worker},
};
use crate::node::{MachineClock, RaftRuntime};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node that notes what it is told.
#[derive(Debug)]
struct Noting {
    card: Mutex<Card>,
    suspects: Mutex<Vec<String>>,
    nodes: Mutex<Vec<Vec<String>>>,
    addresses: Vec<String>,
    /// What it knows members to be, by their names.
    known: BTreeMap<&'static str, Kind>,
}

impl Noting {
    fn of(kind: Kind, raft_address: &str) -> Arc<Self> {
        let card = Card { kind, raft_address: raft_address.to_owned(), ..node_card() };
        Arc::new(Self {
            card: Mutex::new(card),
            suspects: Mutex::default(),
            nodes: Mutex::default(),
            addresses: vec![],
            known: BTreeMap::new(),
        })
    }
}

impl Subject for Noting {
    fn card(&self) -> Card {
        self.card.lock().unwrap().clone()
    }

    fn kind_of(&self, name: &str, _said: Option<&Card>) -> Option<Kind> {
        self.known.get(name).copied()
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    fn on_suspect(&self, name: &str) {
        self.suspects.lock().unwrap().push(name.to_owned());
    }

    fn on_nodes(&self, addresses: Vec<String>) {
        self.nodes.lock().unwrap().push(addresses);
    }
}

fn node_card() -> Card {
    Card { http_address: "127.0.0.1:1".to_owned(), ..Card::of_worker(0, [].into()) }
}

fn worker(session: u64) -> Arc<Worker> {
    Arc::new(Worker {
        card: Card::of_worker(session, [].into()),
        session: tokio::sync::watch::channel(session).1,
    })
}

/// A member that joins `others`.
async fn member(name: &str, subject: Arc<dyn Subject>, others: &[&Gossip]) -> Gossip {
    sealed_member(name, subject, others, None).await
}

/// A member that joins `others` and seals what it says.
async fn sealed_member(
    name: &str,
    subject: Arc<dyn Subject>,
    others: &[&Gossip],
    keyring: Option<Keyring>,
) -> Gossip {
    let address = |gossip: &&Gossip| {
        let me = gossip.members().into_iter().find(|member| member.is_self);
        me.expect("it has begun").address.to_string()
    };
    let options = MemberOptions {
        name: name.to_owned(),
        cluster: "test".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertise: "127.0.0.1:0".to_owned(),
        profile: Profile::Lan,
        keyring,
        seeds: others.iter().map(address).collect(),
    };
    let clock = Arc::new(MachineClock::start());
    let seed = name.bytes().map(u64::from).sum();
    Gossip::open(options, subject, clock, seed, RaftRuntime::Current).await.unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let polled = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, polled).await.is_ok(), "not in time: {what}");
}

fn find(gossip: &Gossip, name: &str) -> Option<Member> {
    gossip.members().into_iter().find(|member| member.name == name)
}

async fn knows(gossip: &Gossip, name: &str, kind: Kind, state: MemberState) {
    eventually(&format!("{name} is a {kind} and {state:?}"), async || {
        find(gossip, name).is_some_and(|member| {
            member.state == state && member.card.is_some_and(|card| card.kind == kind)
        })
    })
    .await;
}

/// The next event that says that a worker is down.
async fn down(events: &mut broadcast::Receiver<WorkerEvent>) -> (String, u64) {
    loop {
        let event = timeout(PATIENCE, events.recv()).await.expect("an event in time").unwrap();
        if let WorkerEvent::Down { name, session } = event {
            return (name, session);
        }
    }
}

#[tokio::test]
async fn a_worker_is_listed_with_its_session_and_its_end_is_told() {
    let node = member("n1", Noting::of(Kind::Voter, "n1:1"), &[]).await;
    let mut events = node.worker_events();
    let killed = member("w1", worker(71), &[&node]).await;
    let leaving = member("w2", worker(72), &[&node]).await;
    for name in ["w1", "w2"] {
        knows(&node, name, Kind::Worker, MemberState::Alive).await;
    }
    let workers: Vec<_> =
        node.workers().into_iter().map(|worker| (worker.name, worker.session)).collect();
    assert_eq!(workers, [("w1".to_owned(), 71), ("w2".to_owned(), 72)], "and no node");
    killed.stop().await;
    assert_eq!(down(&mut events).await, ("w1".to_owned(), 71));
    leaving.leave().await;
    assert_eq!(down(&mut events).await, ("w2".to_owned(), 72));
    assert!(node.workers().iter().all(|worker| worker.state == MemberState::Down));
}

#[tokio::test]
async fn a_new_session_of_a_worker_takes_the_place_of_the_old_one() {
    let node = member("n1", Noting::of(Kind::Voter, "n1:1"), &[]).await;
    let first = member("w", worker(1), &[&node]).await;
    knows(&node, "w", Kind::Worker, MemberState::Alive).await;
    first.stop().await;
    let _second = member("w", worker(2), &[&node]).await;
    eventually("the later session is shown", async || {
        let workers = node.workers();
        workers.len() == 1 && (workers[0].session, workers[0].state) == (2, MemberState::Alive)
    })
    .await;
}

#[tokio::test]
async fn a_members_own_probe_that_fails_is_told_before_the_member_is_down() {
    let noting = Noting::of(Kind::Voter, "n1:1");
    let node = member("n1", noting.clone(), &[]).await;
    let mut changes = node.changes();
    let killed = member("n2", Noting::of(Kind::Voter, "n2:1"), &[&node]).await;
    knows(&node, "n2", Kind::Voter, MemberState::Alive).await;
    killed.stop().await;
    // There is nobody else to hear it from.
    knows(&node, "n2", Kind::Voter, MemberState::Down).await;
    eventually("it was told", async || {
        noting.suspects.lock().unwrap().last().is_some_and(|name| name == "n2")
    })
    .await;
    let mut states = Vec::new();
    while let Ok(changed) = changes.try_recv() {
        states.extend((changed.name == "n2").then_some(changed.state));
    }
    let end = [MemberState::Suspect, MemberState::Down];
    assert!(states.first() == Some(&MemberState::Alive) && states.ends_with(&end), "{states:?}");
}

#[tokio::test]
async fn a_fresh_node_is_told_where_nodes_are_and_others_are_not() {
    let (fresh, voter) = (Noting::of(Kind::Fresh, "n1:1"), Noting::of(Kind::Voter, "n2:1"));
    let one = member("n1", fresh.clone(), &[]).await;
    let other = member("n2", voter.clone(), &[&one]).await;
    let _worker = member("w", worker(1), &[&other]).await;
    knows(&one, "w", Kind::Worker, MemberState::Alive).await;
    eventually("it is told of the other node alone", async || {
        fresh.nodes.lock().unwrap().last() == Some(&vec!["n2:1".to_owned()])
    })
    .await;
    assert!(voter.nodes.lock().unwrap().is_empty());
    other.leave().await;
    eventually("it is told that nobody is there", async || {
        fresh.nodes.lock().unwrap().last() == Some(&vec![])
    })
    .await;
}

#[tokio::test]
async fn a_card_is_published_again_when_it_changes() {
    let noting = Noting::of(Kind::Fresh, "n1:1");
    let one = member("n1", noting.clone(), &[]).await;
    let other = member("n2", Noting::of(Kind::Voter, "n2:1"), &[&one]).await;
    knows(&other, "n1", Kind::Fresh, MemberState::Alive).await;
    noting.card.lock().unwrap().kind = Kind::Learner;
    knows(&other, "n1", Kind::Learner, MemberState::Alive).await;
    assert_eq!(other.figures().alive_peers(), 2);
}

#[tokio::test]
async fn members_are_found_where_the_subject_knows_nodes_to_be() {
    let one = member("n1", Noting::of(Kind::Voter, "n1:1"), &[]).await;
    let address = find(&one, "n1").unwrap().address.to_string();
    let subject = Noting {
        card: Mutex::new(Card { kind: Kind::Voter, ..node_card() }),
        suspects: Mutex::default(),
        nodes: Mutex::default(),
        addresses: vec![address],
        known: BTreeMap::new(),
    };
    let _other = member("n2", Arc::new(subject), &[]).await;
    knows(&one, "n2", Kind::Voter, MemberState::Alive).await;
}

#[tokio::test]
async fn only_who_has_the_key_is_heard_and_who_has_not_is_counted() {
    let keyring = |byte| Keyring::parse(&Keyring::generate([byte; 32])).unwrap();
    let voter = |address| Noting::of(Kind::Voter, address);
    let one = sealed_member("n1", voter("n1:1"), &[], Some(keyring(1))).await;
    let other = sealed_member("n2", voter("n2:1"), &[&one], Some(keyring(1))).await;
    knows(&one, "n2", Kind::Voter, MemberState::Alive).await;
    let wrong = sealed_member("n3", voter("n3:1"), &[&one], Some(keyring(2))).await;
    let open = member("n4", voter("n4:1"), &[&one]).await;
    let dropped = |gossip: &Gossip, fates: [&str; 2]| {
        let datagrams = gossip.figures().datagrams().into_iter();
        datagrams.filter(|(fate, count)| fates.contains(fate) && *count > 0).count()
    };
    eventually("both were dropped and counted", async || {
        dropped(&one, ["unopened", "malformed"]) > 0
            && wrong.figures().datagrams()[0].1 > 0
            && open.figures().datagrams()[0].1 > 0
    })
    .await;
    for (gossip, count) in [(&one, 2), (&other, 2), (&wrong, 1), (&open, 1)] {
        assert_eq!(gossip.members().len(), count, "{:?}", gossip.members());
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_no_reason_not_to_start() {
    let options = MemberOptions {
        name: "n1".to_owned(),
        cluster: "test".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertise: "nowhere.invalid:1".to_owned(),
        profile: Profile::Lan,
        keyring: None,
        seeds: vec![],
    };
    let clock = Arc::new(MachineClock::start());
    let opened = Gossip::open(options, worker(1), clock, 1, RaftRuntime::Own).await.unwrap();
    assert_eq!(opened.members(), []);
    opened.leave().await;
    opened.stop().await;
}

// Situation: a node knows for itself that n2 votes, whose card says that it learns, as it did a moment ago; of
// n3 it has only the card. Claim: it shows each as what it knows best, and tells of n2's end as that of a voter.
#[tokio::test]
async fn a_member_is_what_the_node_knows_it_to_be_before_what_it_said() {
    let mut knowing = Noting::of(Kind::Voter, "n1:1");
    Arc::get_mut(&mut knowing).unwrap().known = [("n2", Kind::Voter)].into();
    let node = member("n1", knowing, &[]).await;
    let mut changes = node.changes();
    let stale = member("n2", Noting::of(Kind::Learner, "n2:1"), &[&node]).await;
    let learner = member("n3", Noting::of(Kind::Learner, "n3:1"), &[&node]).await;
    for name in ["n2", "n3"] {
        knows(&node, name, Kind::Learner, MemberState::Alive).await;
    }
    let kind = |name| find(&node, name).and_then(|member| member.kind);
    assert_eq!((kind("n2"), kind("n3")), (Some(Kind::Voter), Some(Kind::Learner)));
    let figures = node.figures();
    assert_eq!(figures.count(|_, kind| kind == Some(Kind::Learner)), 1);
    stale.leave().await;
    let down = async {
        loop {
            let member = changes.recv().await.unwrap();
            if member.name == "n2" && member.state == MemberState::Down {
                return member;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, down).await.unwrap().kind, Some(Kind::Voter));
    learner.stop().await;
}
