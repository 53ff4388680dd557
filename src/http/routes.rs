//! The API: every route once. The router and `GET /openapi.json` are both made from this table, so
//! that no route exists that is not documented.

use axum::{Router, extract::Request, middleware::map_response, response::Response};

use super::{
    admin,
    answer::Failure,
    claims, cluster, events,
    gate::Site,
    history, jobs, lease, list,
    meters::Template,
    metrics, openapi, peers, queues, read, retry,
    route::{Route, delete, get, post, put},
    settle, voters, workers,
};
use crate::{
    queue::{JobId, QueueName, WorkerId},
    wire::{
        AddBatchRequest, AddBatchResponse, AddRequest, AddResponse, AddVoterRequest, ApiError,
        CancelRequest, ClaimBatchResponse, ClaimRequest, ClaimResponse, Code, CompleteBatchRequest,
        CompleteBatchResponse, CompleteRequest, ConfigChange, ConfigResponse, ElectionStatus,
        Event, EventsQuery, FailRequest, ForNodeResponse, GetResponse, Health, HeartbeatRequest,
        HeartbeatResponse, HistoryQuery, HistoryResponse, LeaseStatus, ListQuery, ListResponse,
        NamesQuery, NodeStatus, OperationRequest, PeersResponse, QueueOperated, QueueResponse,
        QueuesResponse, ReadQuery, Ready, ReleaseRequest, RemoveVoterRequest, RetryRequest,
        RetryResponse, SetQueueRequest, SetQueueResponse, SettleResponse, ShutdownResponse,
        SnapshotResponse, StartRequest, TransferRequest, TransferResponse, VoterRequest,
        VoterResponse, WorkStatus, WorkerOperated, WorkerResponse, WorkersResponse,
    },
};

/// What can be given in the query of a claim as well.
const CLAIM_QUERY: &[&str] =
    &["node_id", "session", "queues", "work_types", "lease_ms", "wait_ms", "request_id"];
/// And of a batch.
const CLAIM_BATCH_QUERY: &[&str] =
    &["node_id", "session", "queues", "work_types", "lease_ms", "wait_ms", "request_id", "max"];

/// What can be given in the query of a list of jobs, and of one in the order of names.
const LIST_QUERY: &[&str] =
    &["queue", "state", "work_type", "tag", "limit", "after", "consistency"];
const HISTORY_QUERY: &[&str] = &["status", "limit", "consistency"];
const EVENTS_QUERY: &[&str] = &["types", "queue", "after"];
const NAMES_QUERY: &[&str] = &["limit", "after", "consistency"];

/// Every route, by the section of the documentation that it stands in.
pub(super) fn table() -> Vec<(&'static str, Vec<Route>)> {
    vec![
        ("jobs", jobs()),
        ("leases", leases()),
        ("queues", queues()),
        ("workers", workers()),
        ("node", node()),
        ("cluster", changes()),
        ("admin", admin()),
    ]
}

fn jobs() -> Vec<Route> {
    vec![
        post("/work/add", jobs::add)
            .says("Adds a job, or finds the one that has its id: 201, or 200 when it existed.")
            .takes::<AddRequest>()
            .takes_idempotency_key()
            .answers::<AddResponse>()
            .with_statuses(&[201, 200]),
        post("/work/add_batch", jobs::add_batch)
            .says("Adds up to 1000 jobs: all or none, or each for itself.")
            .takes::<AddBatchRequest>()
            .takes_idempotency_key()
            .answers::<AddBatchResponse>(),
        post("/work/cancel", jobs::cancel)
            .says("Ends a job that has not ended; a lease on it dies at once.")
            .takes::<CancelRequest>()
            .answers::<SettleResponse>(),
        post("/work/retry", retry::retry)
            .says("Puts a finished job back, or those of a queue; its attempts count anew.")
            .takes::<RetryRequest>()
            .takes_idempotency_key()
            .answers::<RetryResponse>(),
        get("/work/list", list::list)
            .says("Jobs in add order, those that agree with everything named, page by page.")
            .query::<ListQuery>(LIST_QUERY)
            .answers::<ListResponse>(),
        get("/work/history", history::history)
            .says("Finished jobs, the last one first: of the queue's state, then of the node's archive.")
            .query::<HistoryQuery>(HISTORY_QUERY)
            .answers::<HistoryResponse>(),
        get("/work/get/{work_id}", read::get)
            .says("The whole job, now or when it has ended; later its tombstone.")
            .of::<JobId>()
            .query::<ReadQuery>(&["wait_ms", "consistency"])
            .answers::<GetResponse>(),
        get("/work/status", read::status)
            .says("How many jobs there are, by state, kind and queue.")
            .query::<ReadQuery>(&["consistency"])
            .answers::<WorkStatus>(),
        get("/work/for-node/{node_id}", read::for_node)
            .says("What a worker holds, the oldest lease first.")
            .of::<WorkerId>()
            .query::<ReadQuery>(&["consistency"])
            .answers::<ForNodeResponse>(),
    ]
}

fn leases() -> Vec<Route> {
    vec![
        post("/work/claim", claims::claim)
            .says("Leases the first ready job to a worker; waits for one when asked to.")
            .query::<ClaimRequest>(CLAIM_QUERY)
            .may_take::<ClaimRequest>()
            .takes_idempotency_key()
            .answers::<ClaimResponse>(),
        post("/work/claim_batch", claims::claim_batch)
            .says("Leases up to `max` ready jobs to a worker.")
            .query::<ClaimRequest>(CLAIM_BATCH_QUERY)
            .may_take::<ClaimRequest>()
            .takes_idempotency_key()
            .answers::<ClaimBatchResponse>(),
        post("/work/start", settle::start)
            .says("The holder says that it runs the job.")
            .takes::<StartRequest>()
            .answers::<SettleResponse>(),
        post("/work/heartbeat", settle::heartbeat)
            .says("Extends all of a worker's leases, and tells it of cancelled jobs.")
            .takes::<HeartbeatRequest>()
            .answers::<HeartbeatResponse>(),
        post("/work/complete", settle::complete)
            .says("The holder has done the job; jobs that follow are added in the same step.")
            .takes::<CompleteRequest>()
            .answers::<SettleResponse>(),
        post("/work/complete_batch", settle::complete_batch)
            .says("Completes up to 1000 jobs, each for itself.")
            .takes::<CompleteBatchRequest>()
            .answers::<CompleteBatchResponse>(),
        post("/work/fail", settle::fail)
            .says("The attempt failed: the job is tried again, or is a dead letter.")
            .takes::<FailRequest>()
            .answers::<SettleResponse>(),
        post("/work/release", settle::release)
            .says("Gives the job back to its place, the attempt not counted.")
            .takes::<ReleaseRequest>()
            .answers::<SettleResponse>(),
    ]
}

fn queues() -> Vec<Route> {
    let operation = |route: Route, summary| {
        let route = route.says(summary).of::<QueueName>();
        route.may_take::<OperationRequest>().takes_idempotency_key().answers::<QueueOperated>()
    };
    vec![
        get("/queues", queues::list)
            .says("Every queue by name: what it is held to, and how it stands.")
            .query::<NamesQuery<QueueName>>(NAMES_QUERY)
            .answers::<QueuesResponse>(),
        get("/queues/{name}", queues::get)
            .says("One queue.")
            .of::<QueueName>()
            .query::<ReadQuery>(&["consistency"])
            .answers::<QueueResponse>(),
        put("/queues/{name}", queues::set)
            .says("Changes what a queue is held to; makes the queue when there is none.")
            .of::<QueueName>()
            .may_take::<SetQueueRequest>()
            .takes_idempotency_key()
            .answers::<SetQueueResponse>()
            .with_statuses(&[200, 201]),
        operation(
            delete("/queues/{name}", queues::delete),
            "Forgets a queue that has no unfinished job, and what it was held to.",
        ),
        operation(
            post("/queues/{name}/pause", queues::pause),
            "Claims pass the queue over from now on; what is leased stays so.",
        ),
        operation(post("/queues/{name}/resume", queues::resume), "Ends a pause."),
        operation(
            post("/queues/{name}/purge", queues::purge),
            "Cancels every unfinished job of the queue at once; leases on them die.",
        ),
    ]
}

fn workers() -> Vec<Route> {
    let operation = |route: Route, summary| {
        let route = route.says(summary).of::<WorkerId>();
        route.may_take::<OperationRequest>().takes_idempotency_key().answers::<WorkerOperated>()
    };
    vec![
        get("/workers", workers::list)
            .says("The workers that were heard of lately, by name.")
            .query::<NamesQuery<WorkerId>>(NAMES_QUERY)
            .answers::<WorkersResponse>(),
        get("/workers/{node_id}", workers::get)
            .says("One worker.")
            .of::<WorkerId>()
            .query::<ReadQuery>(&["consistency"])
            .answers::<WorkerResponse>(),
        operation(
            post("/workers/{node_id}/drain", workers::drain),
            "Tells a worker, in the answer to its next heartbeat, to claim no more.",
        ),
        operation(post("/workers/{node_id}/resume", workers::resume), "Ends a drain."),
    ]
}

fn node() -> Vec<Route> {
    vec![
        get("/health", cluster::health).says("The process answers.").answers::<Health>(),
        get("/ready", cluster::ready)
            .says("A leader is known and this replica has caught up; else `not_ready`.")
            .answers::<Ready>(),
        get("/status", cluster::status)
            .says("The node's standing in the cluster, and the totals as it has applied them.")
            .answers::<NodeStatus>(),
        get("/election/status", cluster::election)
            .says("Who leads, since which term, and the last change that this node saw.")
            .answers::<ElectionStatus>(),
        get("/lease/status", lease::status)
            .says("How the leader stands with its quorum, as far as this node knows.")
            .answers::<LeaseStatus>(),
        get("/peers", peers::peers)
            .says("Every member that gossip knows, as this node sees it.")
            .answers::<PeersResponse>(),
        get("/gossip/peers", peers::peers).says("The same as `/peers`.").answers::<PeersResponse>(),
        get("/events", events::events)
            .says("What happens, as this node sees it: a stream of server-sent events.")
            .query::<EventsQuery>(EVENTS_QUERY)
            .streams::<Event>(),
        get("/metrics", metrics::metrics)
            .says("Everything worth an alert or a graph, as OpenMetrics text.")
            .answers_media(metrics::OPEN_METRICS),
        get("/openapi.json", openapi::openapi)
            .says("This document, made from the table of routes.")
            .answers_media("application/json"),
    ]
}

fn changes() -> Vec<Route> {
    let change = |route: Route, summary| {
        let route = route.says(summary);
        route.answers::<VoterResponse>().with_statuses(&[200, 202])
    };
    vec![
        change(
            post("/cluster/add", voters::add).takes::<AddVoterRequest>(),
            "Makes a node a voter once it has caught up: 200, or 202 while that takes longer.",
        ),
        change(
            post("/cluster/remove", voters::remove).takes::<RemoveVoterRequest>(),
            "Takes a voter's vote; a leader hands over first.",
        ),
        change(
            post("/cluster/replace", voters::replace).takes::<VoterRequest>(),
            "Gives the place of a voter that is not heard of to a fresh directory.",
        ),
        post("/election/transfer", voters::transfer)
            .says("Has the leader hand over to a voter.")
            .takes::<TransferRequest>()
            .answers::<TransferResponse>(),
        post("/election/start", voters::start)
            .says("Has this node lead: a live leader hands over to it, without one it stands.")
            .answers::<TransferResponse>(),
    ]
}

fn admin() -> Vec<Route> {
    vec![
        post("/admin/shutdown", admin::shutdown)
            .says("Stops this node as SIGTERM does, once this is answered.")
            .answers::<ShutdownResponse>()
            .with_statuses(&[202]),
        get("/admin/config", admin::config)
            .says("Every setting of this node, and where its value came from.")
            .answers::<ConfigResponse>(),
        post("/admin/config", admin::change_config)
            .says("Changes what can change while the node runs, all or nothing.")
            .takes::<ConfigChange>()
            .answers::<ConfigResponse>(),
        post("/admin/snapshot", admin::snapshot)
            .says("Writes a snapshot of this node's replica now.")
            .answers::<SnapshotResponse>(),
        get("/admin/backup", admin::backup)
            .says("A copy of the whole queue, with a checksum at its end.")
            .answers_media(admin::OCTETS),
    ]
}

/// The router of the table.
pub(super) fn router(site: Site) -> Router {
    let routes = table().into_iter().flat_map(|(_, routes)| routes);
    let templated = |path| {
        map_response(move |mut response: Response| async move {
            response.extensions_mut().insert(Template(path));
            response
        })
    };
    routes
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.handler.layer(templated(route.path)))
        })
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_verb)
        .with_state(site)
}

async fn no_such_path(request: Request) -> Failure {
    let error = format!("There is no path {}.", request.uri().path());
    ApiError::new(Code::NotFound, error).with("path", request.uri().path()).into()
}

/// The router adds `Allow`.
async fn wrong_verb(request: Request) -> Failure {
    let error = format!("{} does not take {}.", request.uri().path(), request.method());
    ApiError::new(Code::MethodNotAllowed, error).into()
}
