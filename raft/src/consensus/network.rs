//! What openraft asks of its peers, over the transport.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use openraft::{
    OptionalSend,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
        RPCTypes, RaftNetworkFactory,
    },
    vote::RaftLeaderId,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    CallError, Peer, PeerId, codec,
    consensus::{
        blocking::Blocking,
        types::{
            AppendRequest, AppendResult, LogId, RpcError, Snapshot, SnapshotResponse,
            TransferRequest, TransferResponse, TypeConfig, Vote, VoteRequest, VoteResponse,
        },
    },
    lifeline::polls::Polls,
    mutant,
    snapshots::SnapshotFile,
    transport::{
        append_client::{AppendError, AppendLane},
        caller::Callers,
        frame::Kind,
        hello::Channel,
        link::Dialer,
        snapshot_client::{self, SendError},
    },
};

type BoxFuture<'a, T> = future::BoxFuture<'a, T>;
type BoxStream<'a, T> = stream::BoxStream<'a, T>;

/// Retries of an unreachable peer wait 20, 40, then 50 ms: a follower that returns is not late.
const BACKOFF_MS: [u64; 2] = [20, 40];
const BACKOFF_MAX_MS: u64 = 50;

/// Makes the clients of one replica.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) callers: Arc<Callers>,
    /// A stream of appends that gets no answer for this long is given up.
    pub(crate) stall: Duration,
    pub(crate) blocking: Blocking,
    /// Where the answers to requests for votes are noted.
    pub(crate) polls: Arc<Polls>,
}

/// The way to one peer. Appends, heartbeats and snapshots have a connection of their own, by
/// having a client of their own; votes share the one of [`Callers`].
#[derive(Debug)]
pub(crate) struct Client {
    network: Network,
    target: Peer,
    /// Only ever used through `&mut`; the lock is there because openraft wants it `Sync`.
    lane: Mutex<AppendLane>,
}

impl Network {
    fn client(&self, target: PeerId, node: &Peer, channel: Channel) -> Client {
        let target = Peer { id: target, ..node.clone() };
        let lane = AppendLane::new(self.dialer.clone(), target.clone(), channel, self.stall);
        Client { network: self.clone(), target, lane: Mutex::new(lane) }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: PeerId, node: &Peer) -> Client {
        self.client(target, node, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: PeerId, node: &Peer) -> Client {
        self.client(target, node, Channel::Heartbeat)
    }
}

impl Client {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &Q,
        option: &RPCOption,
    ) -> Result<A, RpcError> {
        let body = Bytes::from(codec::encode(request));
        let deadline = Instant::now() + option.hard_ttl();
        let callers = &self.network.callers;
        let reply = callers.ask(&self.target, Channel::Control, kind, body, deadline).await;
        let reply = reply.map_err(|error| match error {
            CallError::Unreachable => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::Lost => RPCError::Network(NetworkError::new(&error)),
        })?;
        codec::decode(&reply).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

/// M10: an election looks at no log, for the candidate's seems to be the longest.
fn pretend_to_have_the_longest_log(rpc: &mut VoteRequest) {
    if let Some(last) = rpc.last_log_id.as_mut().filter(|_| mutant::is_planted("M10")) {
        *last = LogId::new(rpc.vote.leader_id.to_committed(), u64::MAX / 2);
    }
}

impl NetVote<TypeConfig> for Client {
    async fn vote(
        &mut self,
        mut rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        pretend_to_have_the_longest_log(&mut rpc);
        let response = self.ask(Kind::Vote, &rpc, &option).await?;
        self.network.polls.on_response(&rpc.vote, self.target.id, &response);
        Ok(response)
    }

    async fn pre_vote(
        &mut self,
        mut rpc: VoteRequest,
        option: RPCOption,
    ) -> Result<VoteResponse, RpcError> {
        pretend_to_have_the_longest_log(&mut rpc);
        self.ask(Kind::PreVote, &rpc, &option).await
    }
}

impl NetTransferLeader<TypeConfig> for Client {
    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> Result<TransferResponse, RpcError> {
        self.ask(Kind::TransferLeader, &request, &option).await
    }
}

impl NetBackoff<TypeConfig> for Client {
    fn backoff(&self) -> Option<Backoff> {
        let delays = BACKOFF_MS.into_iter().chain(std::iter::repeat(BACKOFF_MAX_MS));
        Some(Backoff::new(delays.map(Duration::from_millis)))
    }
}

impl NetStreamAppend<TypeConfig> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let me = self.network.dialer.identity.me.id;
            let (target, stall) = (self.target.id, self.network.stall);
            let to_rpc_error = move |error: AppendError| match error {
                AppendError::Unreachable(error) => RPCError::Unreachable(Unreachable::new(&error)),
                AppendError::Lost(error) => RPCError::Unreachable(Unreachable::new(&error)),
                AppendError::Stalled => RPCError::Timeout(Timeout {
                    action: RPCTypes::AppendEntries,
                    id: me,
                    target,
                    timeout: stall,
                }),
            };
            let lane = self.lane.get_mut().expect("never held");
            // openraft waits out a backoff inside `input`: asked first, an unreachable peer is
            // dialled at the backoff's pace. Fused, since what follows the first may be nothing.
            let mut input = input.fuse();
            let first = input.next().await;
            lane.connect().await.map_err(to_rpc_error)?;
            let replies = lane.stream(stream::iter(first).chain(input));
            let replies = replies.map(move |reply| reply.map_err(to_rpc_error));
            Ok(Box::pin(replies) as BoxStream<'s, _>)
        })
    }
}

impl NetSnapshot<TypeConfig> for Client {
    type SnapshotData = SnapshotFile;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse, StreamingError<TypeConfig>> {
        let Network { dialer, blocking, .. } = &self.network;
        let sending = snapshot_client::send(dialer, &self.target, *blocking, vote, snapshot);
        tokio::select! { biased;
            closed = cancel => Err(closed.into()),
            sent = sending => sent.map_err(|error| match error {
                SendError::Unreachable(error) => Unreachable::new(&error).into(),
                SendError::Lost(_) | SendError::Disk(_) => NetworkError::new(&error).into(),
            }),
        }
    }
}
