//! Every encoding that another version may read, byte by byte: frame bodies on the wire, records on
//! disk. A change here is a change of the format: it needs a new version number, not a new golden.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{
    EntryPayload, Membership,
    raft::{StreamAppendError, TransferLeaderError, TransferLeaderRequest},
    vote::RaftLeaderId,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Peer,
    bootstrap::{
        message::{Greeting, Message, Reply, Stance},
        promise::{Declined, Fate, Record, Set, Standing},
    },
    codec,
    consensus::{
        log_store,
        types::{
            AppendRequest, AppendResult, Command, Entry, LogId, SnapshotMeta, SnapshotResponse,
            StoredMembership, TransferRequest, TransferResponse, Vote, VoteRequest, VoteResponse,
        },
    },
    lifeline::message::{Answer, Pong, Question},
    transport::{
        caller::CallBody,
        hello::{Channel, Hello, HelloReply, Refusal, Welcome},
        snapshot_client::SnapshotBegin,
    },
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Encodes to these bytes, and what they decode to encodes to them again.
#[track_caller]
fn golden<T: Serialize + DeserializeOwned>(value: &T, expected: &str) {
    let bytes = codec::encode(value);
    assert_eq!(hex(&bytes), expected.replace([' ', '\n'], ""));
    let decoded: T = codec::decode(&bytes).unwrap();
    assert_eq!(codec::encode(&decoded), bytes);
}

fn peer() -> Peer {
    Peer { id: 2, label: "b".to_owned(), address: "h:1".to_owned() }
}

fn vote() -> Vote {
    Vote::new_committed(3, 2)
}

fn id(index: u64) -> LogId {
    LogId::new(vote().leader_id.to_committed(), index)
}

fn entries() -> [Entry; 3] {
    let voters = BTreeSet::from([2]);
    let membership = Membership::new(vec![voters], BTreeMap::from([(2, peer())])).unwrap();
    [
        Entry { log_id: id(5), payload: EntryPayload::Blank },
        Entry { log_id: id(6), payload: EntryPayload::Normal(Command(Bytes::from_static(b"xy"))) },
        Entry { log_id: id(7), payload: EntryPayload::Membership(membership) },
    ]
}

fn set() -> Set {
    Set { proposer: 2, attempt: 1, cluster_id: 9, voters: vec![peer()] }
}

fn meta() -> SnapshotMeta {
    let [_, _, membership] = entries();
    let EntryPayload::Membership(membership) = membership.payload else { unreachable!() };
    let last_membership = StoredMembership::new(Some(id(7)), membership);
    SnapshotMeta { last_log_id: Some(id(8)), last_membership }
}

#[test]
fn a_hello_and_its_answers_keep_their_bytes() {
    golden(
        &Hello {
            cluster: "c".to_owned(),
            group: 0,
            cluster_id: 9,
            from: peer(),
            to: 4,
            to_label: String::new(),
            channel: Channel::Append,
        },
        "0100000000000000630000000000000000090000000000000002000000000000000100000000000000620300000000000000683a310400000000000000000000000000000003000000",
    );
    golden(
        &HelloReply::Welcome(Welcome { me: peer(), cluster_id: 9 }),
        "0000000002000000000000000100000000000000620300000000000000683a310900000000000000",
    );
    golden(
        &HelloReply::Refused(Refusal::Version { ours: 1, yours: 2 }),
        "010000000000000001000200",
    );
    golden(
        &HelloReply::Refused(Refusal::Cluster { ours: "c".to_owned() }),
        "0100000001000000010000000000000063",
    );
    golden(&HelloReply::Refused(Refusal::Group { ours: 1 }), "01000000020000000100000000000000");
    golden(
        &HelloReply::Refused(Refusal::ClusterId { ours: 9 }),
        "01000000030000000900000000000000",
    );
    golden(
        &HelloReply::Refused(Refusal::AnotherNode { id: 2, label: "b".to_owned() }),
        "01000000040000000200000000000000010000000000000062",
    );
    golden(&HelloReply::Refused(Refusal::Fresh), "0100000005000000");
    golden(
        &[
            Channel::Bootstrap,
            Channel::Control,
            Channel::Calls,
            Channel::Append,
            Channel::Heartbeat,
            Channel::Snapshot,
            Channel::Lifeline,
        ]
        .map(|channel| codec::encode(&channel)[0]),
        "00010203040506",
    );
    golden(&HelloReply::Refused(Refusal::NoLifeline), "0100000006000000");
}

#[test]
fn what_is_said_on_a_lifeline_keeps_its_bytes() {
    golden(&Pong { opened_in: 3 }, "0300000000000000");
    golden(
        &Question { term: 3, leader: 2, last_log_id: Some(id(4)) },
        "030000000000000002000000000000000103000000000000000400000000000000",
    );
    golden(
        &Answer { hears: true, vote: vote(), last_log_id: None },
        "010300000000000000010200000000000000 0100",
    );
}

#[test]
fn rafts_messages_keep_their_bytes() {
    golden(
        &AppendRequest {
            vote: vote(),
            prev_log_id: Some(id(4)),
            entries: entries().into(),
            leader_commit: Some(id(3)),
        },
        "03000000000000000102000000000000000101030000000000000004000000000000000300000000000000030000000000000005000000000000000000000003000000000000000600000000000000010000000200000000000000787903000000000000000700000000000000020000000100000000000000010000000000000002000000000000000100000000000000020000000000000002000000000000000100000000000000620300000000000000683a310103000000000000000300000000000000",
    );
    golden(&AppendResult::Ok(Some(id(7))), "000000000103000000000000000700000000000000");
    golden(
        &AppendResult::Err(StreamAppendError::Conflict(id(4))),
        "010000000000000003000000000000000400000000000000",
    );
    golden(
        &AppendResult::Err(StreamAppendError::HigherVote(vote())),
        "0100000001000000030000000000000001020000000000000001",
    );
    golden(
        &VoteRequest {
            leadership_transfer: true,
            ..VoteRequest::new(Vote::new(3, 2), Some(id(4)))
        },
        "030000000000000001020000000000000000010300000000000000040000000000000001",
    );
    golden(
        &VoteResponse::new(vote(), Some(id(4)), true),
        "030000000000000001020000000000000001010103000000000000000400000000000000",
    );
    golden(
        &TransferRequest::from(TransferLeaderRequest::new(vote(), 4, Some(id(4)))),
        "03000000000000000102000000000000000104000000000000000103000000000000000400000000000000",
    );
    golden(&TransferResponse::Ok(()), "00000000");
    golden(
        &TransferResponse::Err(TransferLeaderError::VoteChanged {
            expected: vote(),
            actual: Vote::new(4, 1),
        }),
        "0100000000000000030000000000000001020000000000000001040000000000000001010000000000000000",
    );
    golden(
        &TransferResponse::Err(TransferLeaderError::LogNotFlushed {
            expected: Some(id(4)),
            actual: None,
        }),
        "0100000001000000010300000000000000040000000000000000",
    );
    golden(
        &CallBody { remaining_ms: 1000, request: Bytes::from_static(b"xy") },
        "e803000002000000000000007879",
    );
    golden(
        &SnapshotBegin { vote: vote(), meta: meta(), length: 77 },
        "030000000000000001020000000000000001010300000000000000080000000000000001030000000000000007000000000000000100000000000000010000000000000002000000000000000100000000000000020000000000000002000000000000000100000000000000620300000000000000683a3100000000000000004d00000000000000",
    );
    golden(&SnapshotResponse::new(vote()), "030000000000000001020000000000000001");
}

#[test]
fn the_bootstraps_messages_keep_their_bytes() {
    golden(
        &Message::Greet(Greeting { me: peer(), stance: Stance::Free, known: vec![peer()] }),
        "0000000002000000000000000100000000000000620300000000000000683a3100000000010000000000000002000000000000000100000000000000620300000000000000683a31",
    );
    golden(
        &Message::Propose(set()),
        "01000000020000000000000001000000000000000900000000000000010000000000000002000000000000000100000000000000620300000000000000683a31",
    );
    golden(&Message::AskFate { attempt: 1 }, "020000000100000000000000");
    golden(
        &Reply::Greeting(Greeting { me: peer(), stance: Stance::InCluster, known: vec![] }),
        "0000000002000000000000000100000000000000620300000000000000683a31020000000000000000000000",
    );
    golden(&Reply::Promised, "01000000");
    golden(
        &[Declined::Bound, Declined::InCluster, Declined::Barred, Declined::Unwanted]
            .map(Reply::Declined),
        "0200000000000000020000000100000002000000020000000200000003000000",
    );
    golden(
        &[Fate::Open, Fate::Abandoned, Fate::Founded].map(Reply::Fate),
        "030000000000000003000000010000000300000002000000",
    );
}

#[test]
fn what_is_on_disk_keeps_its_bytes() {
    golden(&vote(), "030000000000000001020000000000000001");
    golden(&id(7), "03000000000000000700000000000000");
    golden(
        &meta(),
        "010300000000000000080000000000000001030000000000000007000000000000000100000000000000010000000000000002000000000000000100000000000000020000000000000002000000000000000100000000000000620300000000000000683a310000000000000000",
    );
    golden(&Record::default(), "010000000000000000000000");
    golden(
        &Record { next_attempt: 2, standing: Standing::Proposing(set()) },
        "020000000000000001000000020000000000000001000000000000000900000000000000010000000000000002000000000000000100000000000000620300000000000000683a31",
    );
    golden(
        &Record { next_attempt: 2, standing: Standing::Promised(set()) },
        "020000000000000002000000020000000000000001000000000000000900000000000000010000000000000002000000000000000100000000000000620300000000000000683a31",
    );
    golden(&Record { next_attempt: 2, standing: Standing::Barred }, "020000000000000003000000");
    golden(
        &Record {
            next_attempt: 2,
            standing: Standing::Member { cluster_id: 9, founded: Some(set()) },
        },
        "020000000000000004000000090000000000000001020000000000000001000000000000000900000000000000010000000000000002000000000000000100000000000000620300000000000000683a31",
    );
    let stored = entries().map(|entry| hex(&log_store::encode_entry(&entry).bytes));
    let expected = [
        "010300000000000000050000000000000000000000",
        "01030000000000000006000000000000000100000002000000000000007879",
        "0103000000000000000700000000000000020000000100000000000000010000000000000002000000000000000100000000000000020000000000000002000000000000000100000000000000620300000000000000683a31",
    ];
    assert_eq!(stored, expected);
}
