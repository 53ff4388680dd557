//! The accept loop: hyper serves each connection, under one watchdog each.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Exposure, HttpOptions, Limits, ServeError,
    body::Budget,
    connection::Activity,
    gate::{Gate, Site},
    meters::Meters,
    operator::Peer,
    routes,
    stream::Stream,
};
use crate::node::Handle;

/// What hyper itself takes of a head. The gate refuses at [`Limits::header_bytes_max`] already, with
/// an answer that says so; this bounds memory.
const HEAD_BUFFER_BYTES: u32 = 64 << 10;
/// The most resets of one HTTP/2 connection that wait to be noticed (CVE-2023-44487).
const RESETS_MAX: usize = 32;
/// An HTTP/2 peer that answers no ping for as long again is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A client whose machine takes nothing of what is sent to it, and says nothing, for so long is gone: nobody
/// else says so when a cable is pulled. Twice what a stream of events is silent for.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Waits until it has stopped: the port is free, and every request was answered or its time,
    /// [`Limits::drain_timeout`], was up.
    pub async fn stopped(self) {
        if let Err(fault) = self.accepting.await {
            tracing::error!(%fault, "the accept loop ended badly");
        }
    }
}

/// Binds [`HttpOptions::listen`] and serves `handle` there until `shutdown` ends. Then it takes its leave so
/// that no client loses an answer: for [`Limits::farewell`] it goes on, and each answer says that its
/// connection ends with it; then it stops listening, has whoever waits for something answered
/// ([`Handle::end_waits`]), lets requests finish and closes what is idle.
pub async fn serve(
    options: HttpOptions,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Server, ServeError> {
    let address = options.listen;
    check_exposure(&options, address)?;
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| ServeError::Listen { address, source })?;
    serve_on(listener, options, handle, shutdown)
}

/// As [`serve`], on a listener that is bound already, so that nobody can take its port between a
/// check of it and its use. [`HttpOptions::listen`] has no say then.
pub fn serve_on(
    listener: TcpListener,
    options: HttpOptions,
    handle: Handle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Server, ServeError> {
    let address = options.listen;
    let bound = listener.local_addr();
    let local_addr = bound.map_err(|source| ServeError::Listen { address, source })?;
    check_exposure(&options, local_addr)?;
    if options.exposure == Exposure::Insecure && !local_addr.ip().is_loopback() {
        tracing::warn!(address = %local_addr, "anyone who reaches this address may use the queue");
    }
    let limits = Arc::new(options.limits);
    let site = Site {
        handle,
        budget: Budget::new(limits.bodies_bytes_max),
        limits: Arc::clone(&limits),
        bound: local_addr,
        exposure: options.exposure,
        meters: Meters::new(),
        operator: options.operator,
    };
    let meters = site.meters.clone();
    let gate = Gate::new(site.clone(), routes::router(site));
    let front = Front { gate, meters, builder: Arc::new(builder(&limits)), limits };
    let accepting = tokio::spawn(front.accept_until(shutdown, listener));
    Ok(Server { local_addr, accepting })
}

fn check_exposure(options: &HttpOptions, address: SocketAddr) -> Result<(), ServeError> {
    if options.exposure == Exposure::LoopbackOnly && !address.ip().is_loopback() {
        return Err(ServeError::Exposed { address });
    }
    Ok(())
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The watchdog keeps this deadline, and does not confuse it with being idle.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BUFFER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_header_list_size(HEAD_BUFFER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}

/// What the accept loop hands to each connection.
#[derive(Debug, Clone)]
struct Front {
    gate: Gate,
    meters: Meters,
    builder: Arc<Builder<TokioExecutor>>,
    limits: Arc<Limits>,
}

impl Front {
    async fn accept_until(self, shutdown: impl Future<Output = ()> + Send, listener: TcpListener) {
        let mut connections = Connections::new(&self.limits);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.open.join_next() => {}
                accepted = accept(&listener, &connections.places) => {
                    connections.take_in(&self, accepted);
                }
            }
        }
        self.gate.close();
        let farewell = sleep(self.limits.farewell);
        tokio::pin!(farewell);
        while !connections.open.is_empty() {
            tokio::select! {
                () = &mut farewell => break,
                Some(_) = connections.open.join_next() => {}
                accepted = accept(&listener, &connections.places) => {
                    connections.take_in(&self, accepted);
                }
            }
        }
        connections.take_in_the_rest(&self, listener);
        self.gate.end_waits();
        connections.close(self.limits.drain_timeout).await;
    }

    async fn serve(
        self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        mut closing: watch::Receiver<bool>,
    ) {
        let (_open, activity) = (self.meters.connection(), Activity::new(&self.limits));
        // A connection that is gone already comes from nowhere.
        let peer = stream.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
        let stream = TokioIo::new(Stream::new(stream, Arc::clone(&activity)));
        let (gate, own_activity) = (self.gate, Arc::clone(&activity));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let answer = gate.clone().answer(Arc::clone(&own_activity), Peer(peer), request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = self.builder.serve_connection(stream, service).into_owned();
        tokio::pin!(connection);
        let may_close = async {
            // An error says that the server is gone, and the connection with it.
            _ = closing.wait_for(|is_closing| *is_closing).await;
            activity.may_close(self.limits.farewell).await;
        };
        let served = async {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = may_close => connection.as_mut().graceful_shutdown(),
            }
            connection.await
        };
        tokio::select! {
            ended = served => {
                if let Err(fault) = ended {
                    tracing::debug!(%fault, "a connection ended early");
                }
            }
            overdue = activity.overdue() => tracing::debug!(?overdue, "cut a connection"),
        }
        drop(place);
    }
}

/// The connections, and what they are told when the server stops.
struct Connections {
    open: JoinSet<()>,
    places: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Connections {
    fn new(limits: &Limits) -> Self {
        Self {
            open: JoinSet::new(),
            places: Arc::new(Semaphore::new(limits.connections_max)),
            closing: watch::Sender::new(false),
        }
    }

    fn take_in(&mut self, front: &Front, (stream, place): (TcpStream, OwnedSemaphorePermit)) {
        self.open.spawn(front.clone().serve(stream, place, self.closing.subscribe()));
    }

    /// Takes in what the kernel has accepted so far, as far as there is room, and stops listening: a
    /// listener that is closed resets what is left in its backlog.
    fn take_in_the_rest(&mut self, front: &Front, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                // It was gone before it was accepted, and is off the backlog: those behind it are there.
                Err(fault) if fault.kind() == io::ErrorKind::ConnectionAborted => continue,
                // It does not block: `WouldBlock` says that there is no more. After any other fault, of which
                // a want of descriptors is the likely one, the next would fail like this one.
                Err(_) => return,
            };
            if let Ok(stream) =
                stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream))
            {
                prepare(&stream);
                self.take_in(front, (stream, place));
            }
        }
    }

    async fn close(mut self, patience: Duration) {
        self.closing.send_replace(true);
        let all = async { while self.open.join_next().await.is_some() {} };
        if timeout(patience, all).await.is_err() {
            tracing::warn!(connections = self.open.len(), "cut requests that did not finish");
        }
        self.open.shutdown().await;
    }
}

/// Sets what the kernel is to do for a connection. One that is gone already takes no setting, and needs none.
fn prepare(stream: &TcpStream) {
    // Answers are small and whole: Nagle would only delay them.
    _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let timeout_ms = u32::try_from(USER_TIMEOUT.as_millis()).expect("it is half a minute");
        _ = rustix::net::sockopt::set_tcp_user_timeout(stream, timeout_ms);
    }
}

/// The next connection and its place. Waits for a place first, so that what has none stays in the
/// listener's backlog. Safe to drop between two polls: an accepted connection is returned at once.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("it is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                prepare(&stream);
                return (stream, place);
            }
            // Out of descriptors, or a connection that was gone before it was accepted: others go on.
            Err(fault) => {
                tracing::warn!(%fault, "could not accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_gives_up_a_client_that_takes_nothing_for_half_a_minute() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _place) = accept(&listener, &Arc::new(Semaphore::new(1))).await;
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&stream), Ok(30_000));
        assert!(stream.nodelay().unwrap());
    }
}
