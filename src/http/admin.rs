//! What an operator asks of one node: `POST /admin/shutdown`, `GET` and `POST /admin/config`,
//! `POST /admin/snapshot`, `GET /admin/backup`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::{
    StatusCode,
    body::Frame,
    header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue},
};
use tokio::time::timeout;

use super::{
    answer::{Answer, Failure, X_QUEUE_REV},
    operator::LocalCall,
};
use crate::{
    node::{Backup, Unavailable},
    queue::Rev,
    wire::{ConfigChange, ConfigResponse, Freshness, ShutdownResponse, SnapshotResponse},
};

/// The media type of a backup.
pub(super) const OCTETS: &str = "application/octet-stream";
/// How long a snapshot may take before its outcome is unknown; it is written all the same.
const SNAPSHOT_PATIENCE: Duration = Duration::from_mins(1);

/// The server lets this answer finish before it stops.
pub(super) async fn shutdown(call: LocalCall) -> Result<Answer, Failure> {
    call.0.no_query()?;
    let operator = call.operator()?;
    tracing::info!("told to stop by POST /admin/shutdown");
    operator.shut_down();
    let node_id = call.0.site.handle.status().raft.me.label;
    let body = ShutdownResponse { status: "shutting_down".to_owned(), node_id };
    Ok(Answer::ok(&body).with_status(StatusCode::ACCEPTED).seen(Freshness::Stale))
}

pub(super) async fn config(call: LocalCall) -> Result<Answer, Failure> {
    call.0.no_query()?;
    let settings = call.operator()?.settings();
    Ok(Answer::ok(&ConfigResponse { settings }).seen(Freshness::Stale))
}

pub(super) async fn change_config(mut call: LocalCall) -> Result<Answer, Failure> {
    let values = ConfigChange::parse(&call.0.body_alone()?)?;
    let operator = call.operator()?;
    operator.change(&values)?;
    let settings = operator.settings();
    Ok(Answer::ok(&ConfigResponse { settings }).seen(Freshness::Stale))
}

pub(super) async fn snapshot(call: LocalCall) -> Result<Answer, Failure> {
    call.0.no_query()?;
    let handle = &call.0.site.handle;
    let written = timeout(SNAPSHOT_PATIENCE, handle.snapshot()).await;
    let log_index = written.map_err(|_| Unavailable::OutcomeUnknown)??;
    let node_id = handle.status().raft.me.label;
    let body = SnapshotResponse { status: "written".to_owned(), node_id, log_index };
    Ok(Answer::ok(&body).seen(Freshness::Stale))
}

pub(super) async fn backup(call: LocalCall) -> Result<Response, Failure> {
    call.0.no_query()?;
    let backup = call.0.site.handle.backup(call.0.hold).await?;
    let Rev(rev) = backup.rev();
    let disposition = format!("attachment; filename=\"queue-{rev}.backup\"");
    let disposition = HeaderValue::from_str(&disposition).expect("it is ASCII");
    let mut response = Body::new(BackupBody(backup)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(X_QUEUE_REV, rev.into());
    Ok(response)
}

/// A backup as a body of unknown length. An error cuts it, and the connection with it.
#[derive(Debug)]
struct BackupBody(Backup);

impl hyper::body::Body for BackupBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.0.poll_piece(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
