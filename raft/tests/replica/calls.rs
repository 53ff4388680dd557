//! Requests between replicas.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use raft::{CallError, Peer};
use tokio::time::Instant;

use crate::cluster::{eventually, free_port, three};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_answered_and_names_its_caller() {
    let nodes = three().await;
    let (caller, peer) = (nodes[0].replica(), nodes[1].peer());
    let patience = Duration::from_secs(10);
    for size in [0, 1, 100_000, 4 << 20] {
        let request = Bytes::from(vec![7; size]);
        assert_eq!(caller.call(&peer, request.clone(), patience).await, Ok(request));
    }
    let who = caller.call(&peer, Bytes::from_static(b"who am I"), patience).await.unwrap();
    assert_eq!(who, nodes[0].peer().id.to_le_bytes().as_slice());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_share_a_connection_and_none_waits_for_a_slow_one() {
    let nodes = three().await;
    let peer = nodes[1].peer();
    let slow = {
        let (replica, peer) = (nodes[0].replica().clone(), peer.clone());
        tokio::spawn(async move {
            replica.call(&peer, Bytes::from_static(b"never"), Duration::from_secs(3)).await
        })
    };
    let quick = (0..200_u64).map(|number| {
        let request = Bytes::copy_from_slice(&number.to_le_bytes());
        nodes[0].replica().call(&peer, request, Duration::from_secs(10))
    });
    let began = Instant::now();
    for (number, answer) in (0_u64..).zip(futures_util::future::join_all(quick).await) {
        assert_eq!(answer.unwrap(), number.to_le_bytes().as_slice());
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(slow.await.unwrap(), Err(CallError::Lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handlers_future_is_dropped_when_its_deadline_passes() {
    let nodes = three().await;
    let began = Instant::now();
    let timeout = Duration::from_millis(200);
    let never = Bytes::from_static(b"never");
    let answer = nodes[0].replica().call(&nodes[1].peer(), never, timeout).await;
    assert_eq!(answer, Err(CallError::Lost));
    assert!(began.elapsed() >= timeout);
    eventually("no handler is alive", || nodes[1].calls.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_certainly_not_delivered_is_unreachable() {
    let mut nodes = three().await;
    let patience = Duration::from_secs(5);
    let x = Bytes::from_static(b"x");
    let nobody =
        Peer { id: 1, label: "nobody".to_owned(), address: format!("127.0.0.1:{}", free_port()) };
    let caller = nodes[0].replica().clone();
    assert_eq!(caller.call(&nobody, x.clone(), patience).await, Err(CallError::Unreachable));
    // Somebody answers at that address, and it is not who was asked for.
    let wrong_id = Peer { id: 1, ..nodes[1].peer() };
    assert_eq!(caller.call(&wrong_id, x.clone(), patience).await, Err(CallError::Unreachable));
    let wrong_label = Peer { id: 0, label: "nobody".to_owned(), ..nodes[1].peer() };
    assert_eq!(caller.call(&wrong_label, x.clone(), patience).await, Err(CallError::Unreachable));
    let by_label = Peer { id: 0, ..nodes[1].peer() };
    assert_eq!(caller.call(&by_label, x.clone(), patience).await, Ok(x.clone()));
    // A peer that restarts is reached again.
    let peer = nodes[1].peer();
    nodes[1].stop().await;
    assert!(caller.call(&peer, x.clone(), patience).await.is_err());
    nodes[1].start().await;
    assert_eq!(caller.call(&peer, x.clone(), patience).await, Ok(x));
}
