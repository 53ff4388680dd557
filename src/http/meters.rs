//! What the HTTP side counts: requests, how long they took, refusals, connections.

use std::{sync::Arc, time::Duration};

use axum::response::Response;
use hyper::Method;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::wire::Code;

/// The upper bounds of the classes of durations, seconds: up to the longest hold and long poll.
const DURATIONS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The template of the route that answered, in its answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template(pub(super) &'static str);

/// The counters, shared by every connection.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    refused: Family<CodeLabels, Counter>,
    connections: Arc<Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Gauge>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            refused: Family::default(),
            connections: Arc::default(),
        }
    }

    /// A connection was accepted.
    pub(super) fn connection(&self) -> Open {
        self.connections.inc();
        Open(Arc::clone(&self.connections))
    }

    /// A request has its answer. No label is taken from what a client sent.
    pub(super) fn answered(&self, method: &Method, response: &Response, took: Duration) {
        let extensions = response.extensions();
        let route = extensions.get::<Template>().map_or("none", |Template(path)| *path);
        let status = class(response.status().as_u16());
        let labels = RequestLabels { method: known(method), route, status };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
        if let Some(code) = extensions.get::<Code>() {
            self.refused.get_or_create(&CodeLabels { code: code.as_str() }).inc();
        }
    }

    /// Enters the counters into the registry of an answer.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests answered, by the template of their route";
        registry.register("http_requests", help, self.requests.clone());
        let help =
            "From a request's head to its answer's head; a long poll's waiting is part of it";
        let durations = self.durations.clone();
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, durations);
        let help = "Requests that were refused or failed, by the code of their error";
        registry.register("http_refused_requests", help, self.refused.clone());
        let connections = Gauge::<i64>::clone(&self.connections);
        registry.register("http_open_connections", "Connections of clients", connections);
    }
}

const fn class(status: u16) -> &'static str {
    match status {
        0..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// A method of the API; what a client makes up is `other`.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    methods.into_iter().find(|known| method == *known).unwrap_or("other")
}
