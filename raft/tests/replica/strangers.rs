//! Who is not one of us costs nothing and gets nothing.

use std::time::Duration;

use raft::{Bootstrap, OpenError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::cluster::{Node, PATIENCE, fresh, three, write};

/// Sends `bytes` and waits until the other side hangs up.
async fn is_dropped(node: &Node, bytes: &[u8]) {
    let mut stream = TcpStream::connect(&node.options.advertise).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let read = read.expect("a stranger is not hung up on");
    assert!(read.is_err() || rest.is_empty(), "a stranger was answered: {rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_hung_up_on_and_the_cluster_does_not_notice() {
    let nodes = three().await;
    let before = write(&nodes, "before").await;
    let mut hello_of_4_gib = vec![0xff, 0xff, 0xff, 0xff, 1];
    hello_of_4_gib.extend_from_slice(&[0; 8]);
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        &hello_of_4_gib,
        &[0; 64],
        &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xa5; 4096],
    ] {
        for node in &nodes {
            is_dropped(node, garbage).await;
        }
    }
    let after = write(&nodes, "after").await;
    assert_eq!(after.writes, before.writes + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_sends_one_byte_a_second_is_hung_up_on_in_time() {
    let mut node = Node::new("slow");
    node.start().await;
    let began = Instant::now();
    let mut stream = TcpStream::connect(&node.options.advertise).await.unwrap();
    let mut byte = [0];
    loop {
        let sent = stream.write_all(&[100]).await;
        let read = timeout(Duration::from_secs(1), stream.read(&mut byte)).await;
        if sent.is_err() || matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it may dawdle for ever");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_strangers_do_not_keep_peers_out() {
    let mut nodes = fresh(3, 3, 3);
    nodes[0].start().await;
    // More than there are places for strangers; each is dropped after its deadline.
    let mut strangers = Vec::new();
    for _ in 0..80 {
        strangers.push(TcpStream::connect(&nodes[0].options.advertise).await.unwrap());
    }
    nodes[1].start().await;
    nodes[2].start().await;
    write(&nodes, "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_refused() {
    let mut nodes = fresh(2, 2, 2);
    nodes[1].options.cluster = "another".to_owned();
    nodes[0].start().await;
    nodes[1].start().await;
    // Nothing must happen: several rounds of greetings go by.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(nodes[0].status().cluster_id, 0);
    assert_eq!(nodes[1].status().cluster_id, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_serves_one_process_and_one_node_only() {
    let mut node = Node::new("owner");
    node.start().await;
    let mut second = Node::new("owner");
    let own = second.options.data_dir.clone();
    second.options.data_dir = node.options.data_dir.clone();
    assert!(matches!(second.try_start().await, Err(OpenError::Locked { .. })));
    node.stop().await;
    second.options.label = "thief".to_owned();
    assert!(matches!(second.try_start().await, Err(OpenError::WrongDirectory { .. })));
    second.options.data_dir = own;
    second.start().await;
    second.stop().await;
    node.start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_is_free_when_stop_returns() {
    let mut node = Node::new("stops");
    for _ in 0..5 {
        node.start().await;
        node.stop().await;
        std::net::TcpListener::bind(node.options.listen).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_that_cannot_work_are_refused() {
    let mut node = Node::new("");
    assert!(matches!(node.try_start().await, Err(OpenError::Options(_))));
    node.options.label = "x".to_owned();
    node.options.timing.heartbeat_ms = 500;
    assert!(matches!(node.try_start().await, Err(OpenError::Options(_))));
    node.options.timing = raft::Timing::lan();
    node.options.bootstrap = Bootstrap::Expect { voters: 0, seeds: vec![], only: None };
    assert!(matches!(node.try_start().await, Err(OpenError::Options(_))));
}
