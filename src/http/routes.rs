//! Every path and its verb.

use axum::{
    Router,
    extract::Request,
    routing::{get, post},
};

use super::{answer::Failure, claims, cluster, gate::Site, history, jobs, read, settle};
use crate::wire::{ApiError, Code};

pub(super) fn router(site: Site) -> Router {
    Router::new()
        .route("/work/add", post(jobs::add))
        .route("/work/add_batch", post(jobs::add_batch))
        .route("/work/claim", post(claims::claim))
        .route("/work/claim_batch", post(claims::claim_batch))
        .route("/work/start", post(settle::start))
        .route("/work/heartbeat", post(settle::heartbeat))
        .route("/work/complete", post(settle::complete))
        .route("/work/complete_batch", post(settle::complete_batch))
        .route("/work/fail", post(settle::fail))
        .route("/work/release", post(settle::release))
        .route("/work/cancel", post(jobs::cancel))
        .route("/work/get/{work_id}", get(read::get))
        .route("/work/history", get(history::history))
        .route("/work/status", get(read::status))
        .route("/work/for-node/{node_id}", get(read::for_node))
        .route("/health", get(cluster::health))
        .route("/ready", get(cluster::ready))
        .route("/status", get(cluster::status))
        .route("/election/status", get(cluster::election))
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
