//! The harness's own questions to the nodes, one at a time, outside any measurement.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::{
    exit::Failure,
    http::{Answer, Connection, NoAnswer},
};

/// A node that does not answer within this is taken for one that cannot.
const LIMIT: Duration = Duration::from_millis(700);

/// Connections to every node that was ever asked, for one thread.
pub(crate) struct Control {
    runtime: Runtime,
    connections: RefCell<BTreeMap<SocketAddr, Connection>>,
}

impl Control {
    pub(crate) fn new() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::harness("starting a runtime"))?;
        Ok(Self { runtime, connections: RefCell::default() })
    }

    /// The JSON of a 200; `None` for anything else, and for silence.
    pub(crate) fn get(&self, address: SocketAddr, path: &str) -> Option<Value> {
        let answer = self.call(address, Method::GET, path, Bytes::new()).ok()?;
        answer.is_ok().then(|| answer.json())
    }

    /// The text of a 200.
    pub(crate) fn text(&self, address: SocketAddr, path: &str) -> Option<String> {
        let answer = self.call(address, Method::GET, path, Bytes::new()).ok()?;
        answer.is_ok().then(|| String::from_utf8_lossy(&answer.body).into_owned())
    }

    pub(crate) fn post(
        &self,
        address: SocketAddr,
        path: &str,
        body: &Value,
    ) -> Result<Answer, NoAnswer> {
        self.call(address, Method::POST, path, body.to_string().into())
    }

    /// A kept connection that turns out to have been closed meanwhile is replaced once.
    fn call(
        &self,
        address: SocketAddr,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, NoAnswer> {
        self.runtime.block_on(async {
            let kept = self.connections.borrow_mut().remove(&address);
            if let Some(mut connection) = kept {
                match connection.call(method.clone(), path, body.clone(), LIMIT).await {
                    Err(NoAnswer::Lost) => {}
                    result => return self.keep(address, connection, result),
                }
            }
            let mut connection = Connection::open(address).await?;
            let result = connection.call(method, path, body, LIMIT).await;
            self.keep(address, connection, result)
        })
    }

    fn keep(
        &self,
        address: SocketAddr,
        connection: Connection,
        result: Result<Answer, NoAnswer>,
    ) -> Result<Answer, NoAnswer> {
        if result.is_ok() {
            self.connections.borrow_mut().insert(address, connection);
        }
        result
    }
}
