//! Members over the machine's own UDP, as a node uses them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, atomic::AtomicU16, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use membership::{
    DatagramSocket, Datagrams, Environment, Event, Keyring, Member, MemberState, Membership,
    OpenError, Options, OsDatagrams, Profile, Resolved,
};
use tokio::time::{sleep, timeout};

/// Nothing here takes longer, ever so busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn keyring(byte: u8) -> Keyring {
    Keyring::parse(&Keyring::generate([byte; 32])).unwrap()
}

fn options(name: &str, listen: SocketAddr, seeds: &[SocketAddr]) -> Options {
    Options {
        name: name.into(),
        cluster: "udp".into(),
        listen,
        advertise: listen,
        profile: Profile::Lan,
        keyring: Some(keyring(1)),
        seeds: seeds.iter().map(ToString::to_string).collect(),
        incarnation: wall_ms(),
    }
}

fn environment() -> Environment {
    static SEED: AtomicU16 = AtomicU16::new(1);
    let seed = u64::from(SEED.fetch_add(1, Ordering::Relaxed));
    Environment { net: Arc::new(OsDatagrams), clock: Arc::new(wall_ms), seed }
}

/// A loopback address that nobody has, with a port below the ephemeral ones.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

async fn open(name: &str, seeds: &[SocketAddr]) -> (Membership, SocketAddr) {
    let listen = free();
    let member = Membership::open(options(name, listen, seeds), environment()).await.unwrap();
    (member, listen)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "in time: {what}");
}

fn sees(viewer: &Membership, name: &str, wanted: MemberState) -> bool {
    viewer.member(name).is_some_and(|member| member.state == wanted)
}

async fn event(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    is_wanted: impl Fn(&Event) -> bool,
) -> Member {
    let wait = async {
        loop {
            let event = events.recv().await.unwrap();
            if is_wanted(&event) {
                return event.member().clone();
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the event comes in time")
}

#[tokio::test]
async fn three_members_meet_tell_of_themselves_and_part() {
    let (n1, seed) = open("n1", &[]).await;
    let mut events = n1.events();
    n1.publish(Bytes::from_static(b"the first"));
    let (n2, _) = open("n2", &[seed]).await;
    let (n3, _) = open("n3", &[seed]).await;
    n2.publish(Bytes::from_static(b"the second"));
    let is_n2 =
        |event: &Event| matches!(event, Event::Up(member) if member.identity.name() == "n2");
    assert_eq!(event(&mut events, is_n2).await.state, MemberState::Alive);
    for viewer in [&n1, &n2, &n3] {
        until("all see all", || viewer.members().len() == 3).await;
        let has = |name, bytes: &'static str| {
            viewer.member(name).and_then(|member| member.metadata).is_some_and(|has| has == bytes)
        };
        until("metadata spreads", || has("n1", "the first") && has("n2", "the second")).await;
    }
    until("answers are timed", || n1.member("n2").unwrap().rtt_us.is_some()).await;

    n3.leave(PATIENCE).await;
    until("who leaves is down", || {
        sees(&n1, "n3", MemberState::Down) && sees(&n2, "n3", MemberState::Down)
    })
    .await;

    n2.stop().await;
    until("who stops is found out", || sees(&n1, "n2", MemberState::Down)).await;
    let figures = n1.figures();
    assert!(figures.sent > 0 && figures.received > 0 && figures.probes_failed > 0, "{figures:?}");
    assert_eq!(figures.dropped_unopened + figures.dropped_malformed, 0, "{figures:?}");
}

#[tokio::test]
async fn a_member_that_was_given_no_seed_joins_later_and_one_that_starts_again_is_back() {
    let (n1, seed) = open("n1", &[]).await;
    let (n2, address) = open("n2", &[]).await;
    n2.join(vec!["nowhere.invalid:1".into(), seed.to_string()]);
    until("they meet", || sees(&n1, "n2", MemberState::Alive)).await;
    let mut events = n1.events();
    let earlier = n1.member("n2").unwrap().identity;
    n2.stop().await;
    let again = options("n2", address, &[seed]);
    let again = Membership::open(again, environment()).await.unwrap();
    let back = event(&mut events, |event| matches!(event, Event::Rejoined(_))).await;
    assert!(back.identity.incarnation() > earlier.incarnation());
    again.stop().await;
}

#[tokio::test]
async fn who_has_another_key_is_not_heard_and_garbage_changes_nothing() {
    let (n1, seed) = open("n1", &[]).await;
    let (n2, _) = open("n2", &[seed]).await;
    until("they meet", || n1.members().len() == 2 && n2.members().len() == 2).await;
    let mut events = n1.events();
    let mut stranger = options("n3", free(), &[seed]);
    stranger.keyring = Some(keyring(2));
    let stranger = Membership::open(stranger, environment()).await.unwrap();
    let socket = UdpSocket::bind(free()).unwrap();
    let before = n1.figures();
    let mut bytes = vec![0u8; 1_500];
    let mut sent = 0;
    while n1.figures().dropped_malformed + n1.figures().dropped_unopened
        < before.dropped_malformed + before.dropped_unopened + 10_000
    {
        for _ in 0..100 {
            sent += 1;
            bytes[sent % 40] = bytes[sent % 40].wrapping_mul(31).wrapping_add(1);
            bytes[0] = u8::from(sent % 2 == 0);
            // The receiver's buffer may be full.
            let _ = socket.send_to(&bytes[..sent % 1_500], seed);
        }
        assert!(sent < 10_000_000, "{:?}", n1.figures());
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(n1.members().len(), 2, "{:?}", n1.members());
    assert_eq!(stranger.members().len(), 1);
    while let Ok(event) = events.try_recv() {
        let is_harmless = matches!(event, Event::Suspect(_) | Event::Refuted(_));
        assert!(is_harmless, "a busy machine may be slow, and no more: {event:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let open = async |options| Membership::open(options, environment()).await.unwrap_err();
    let listen = free();
    let taken = UdpSocket::bind(listen).unwrap();
    let error = open(options("n1", listen, &[])).await;
    assert!(matches!(error, OpenError::Bind { listen: at, .. } if at == listen));
    drop(taken);
    let everywhere =
        Options { advertise: "0.0.0.0:8771".parse().unwrap(), ..options("n1", listen, &[]) };
    assert!(matches!(open(everywhere).await, OpenError::Identity(_)));
    assert!(matches!(open(options("", listen, &[])).await, OpenError::Nameless));
    let nowhere = Options { cluster: String::new(), ..options("n1", listen, &[]) };
    assert!(matches!(open(nowhere).await, OpenError::Cluster));
}

/// Takes a free port whatever port is asked for, as the system does for port 0.
struct AnyPort;

impl Datagrams for AnyPort {
    fn bind(&self, _listen: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>> {
        OsDatagrams.bind(free())
    }

    fn resolve(&self, host_and_port: String) -> Resolved {
        OsDatagrams.resolve(host_and_port)
    }
}

#[tokio::test]
async fn the_port_that_was_chosen_is_the_one_that_others_are_told() {
    let (n1, seed) = open("n1", &[]).await;
    let any = "127.0.0.1:0".parse().unwrap();
    let environment = Environment { net: Arc::new(AnyPort), ..environment() };
    let n2 = Membership::open(options("n2", any, &[seed]), environment).await.unwrap();
    let address = n2.member("n2").unwrap().identity.address();
    assert_ne!(address.port(), 0);
    until("it is reached there", || {
        n1.member("n2").is_some_and(|member| member.identity.address() == address)
    })
    .await;
}

#[tokio::test]
async fn the_task_ends_with_its_last_handle() {
    let (n1, listen) = open("n1", &[]).await;
    let other = n1.clone();
    drop(n1);
    assert!(UdpSocket::bind(listen).is_err(), "a handle is left");
    drop(other);
    until("the socket is free", || UdpSocket::bind(listen).is_ok()).await;
}
