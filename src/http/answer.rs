//! What a handler returns.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::Serialize;

use super::{body::AnswerBody, connection::Activity, delivery::Grants};
use crate::{
    queue::Rev,
    wire::{ApiError, Freshness},
};

pub(super) const X_QUEUE_REV: HeaderName = HeaderName::from_static("x-queue-rev");
const X_QUEUE_CONSISTENCY: HeaderName = HeaderName::from_static("x-queue-consistency");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A success: its JSON and the revision it was answered at.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    json: Vec<u8>,
    rev: Option<Rev>,
    freshness: Freshness,
    delivery: Option<(Arc<Activity>, Grants)>,
}

impl Answer {
    /// 200 with this body.
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self {
            status: StatusCode::OK,
            json: serde_json::to_vec(body).expect("an answer has string keys and serializes"),
            rev: None,
            freshness: Freshness::Linearizable,
            delivery: None,
        }
    }

    pub(super) fn at(self, rev: Rev) -> Self {
        Self { rev: Some(rev), ..self }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn seen(self, freshness: Freshness) -> Self {
        Self { freshness, ..self }
    }

    /// Releases these grants when the answer does not reach the kernel.
    pub(super) fn delivering(self, activity: Arc<Activity>, grants: Grants) -> Self {
        Self { delivery: Some((activity, grants)), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let body = AnswerBody::new(self.json.into(), self.delivery);
        let mut response = json_response(self.status, Body::new(body), self.rev);
        let freshness = HeaderValue::from_static(self.freshness.as_str());
        response.headers_mut().insert(X_QUEUE_CONSISTENCY, freshness);
        response
    }
}

/// A failure: one row of the error table, and what goes into headers.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the body says.
    pub(super) error: Box<ApiError>,
    /// The revision it was decided at, when a replica decided it.
    pub(super) rev: Option<Rev>,
    /// The request was not read to its end.
    pub(super) closes_connection: bool,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), rev: None, closes_connection: false }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.code.http_status())
            .expect("the table holds HTTP status codes");
        let json = serde_json::to_vec(&self.error).expect("an error serializes");
        let body = Body::new(AnswerBody::new(json.into(), None));
        let mut response = json_response(status, body, self.rev);
        failure_headers(&self, response.headers_mut());
        response.extensions_mut().insert(self.error.code);
        response
    }
}

fn failure_headers(failure: &Failure, headers: &mut HeaderMap) {
    if let Some(retry_after_ms) = failure.error.retry_after_ms() {
        // Whole seconds, rounded up: too early a try is a wasted one.
        headers.insert(RETRY_AFTER, retry_after_ms.div_ceil(1000).max(1).into());
    }
    if failure.closes_connection {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn json_response(status: StatusCode, body: Body, rev: Option<Rev>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    if let Some(Rev(rev)) = rev {
        response.headers_mut().insert(X_QUEUE_REV, rev.into());
    }
    response
}
