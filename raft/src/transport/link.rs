//! A connection on which both sides know each other.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::{
    Connection, Net, Peer,
    transport::{
        frame::{FrameError, FrameReader, FrameWriter, Kind},
        hello::{Channel, HELLO_BYTES_MAX, Hello, HelloReply, Refusal, Welcome},
    },
};

/// A client closes a connection that it has not used for this long, well before the listener does.
pub(crate) const CLIENT_IDLE: Duration = Duration::from_secs(30);
/// A listener closes a connection that has been silent for this long: longer than any request may
/// be in hand, so that a long one does not lose its answer.
pub(crate) const SERVER_IDLE: Duration = Duration::from_mins(3);

/// Both halves of a connection, past its hello.
pub(crate) struct Link {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
    /// Who is at the other end, by its own word.
    pub(crate) welcome: Welcome,
}

/// Why there is no link. Nothing was asked of the peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no answer in time")]
    Timeout,
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("{0:016x} answered instead")]
    AnotherNode(u64),
    #[error("it answered the hello with something else")]
    NotRaft,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Says hello for one replica.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) net: Arc<dyn Net>,
    pub(crate) identity: Arc<Identity>,
    /// How long a connect with its hello may take.
    pub(crate) deadline: Duration,
}

/// Who this replica is. The cluster's id comes with the bootstrap.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) group: u64,
    pub(crate) me: Peer,
    pub(crate) cluster_id: watch::Sender<u64>,
}

impl Identity {
    /// The cluster's minted id; 0 while this replica is in none.
    pub(crate) fn cluster_id(&self) -> u64 {
        *self.cluster_id.borrow()
    }
}

impl Dialer {
    /// Connects to `peer` for one purpose. A peer whose id is 0 is known by its address (and its
    /// label, when that is not empty) alone.
    pub(crate) async fn dial(&self, peer: &Peer, channel: Channel) -> Result<Link, DialError> {
        timeout(self.deadline, self.dial_now(peer, channel))
            .await
            .map_err(|_| DialError::Timeout)?
    }

    async fn dial_now(&self, peer: &Peer, channel: Channel) -> Result<Link, DialError> {
        let connection = self.net.connect(&peer.address).await?;
        self.introduce(connection, peer, channel).await
    }

    /// Says hello on a connection to `peer`. The caller sets the deadline.
    pub(crate) async fn introduce(
        &self,
        connection: Box<dyn Connection>,
        peer: &Peer,
        channel: Channel,
    ) -> Result<Link, DialError> {
        let hello = Hello {
            cluster: self.identity.cluster.clone(),
            group: self.identity.group,
            cluster_id: self.identity.cluster_id(),
            from: self.identity.me.clone(),
            to: peer.id,
            to_label: peer.label.clone(),
            channel,
        };
        let link = greet(connection, &hello).await?;
        if peer.id != 0 && link.welcome.me.id != peer.id {
            return Err(DialError::AnotherNode(link.welcome.me.id));
        }
        Ok(link)
    }
}

async fn greet(connection: Box<dyn Connection>, hello: &Hello) -> Result<Link, DialError> {
    let (source, sink) = tokio::io::split(connection);
    let mut reader = FrameReader::new(source, HELLO_BYTES_MAX, CLIENT_IDLE);
    let mut writer = FrameWriter::new(sink);
    writer.queue_raw(Kind::Hello, 0, &hello.to_body())?;
    writer.flush().await?;
    let frame = reader.next().await?;
    if frame.kind != Kind::HelloReply {
        return Err(DialError::NotRaft);
    }
    match crate::codec::decode(&frame.body).map_err(|_| DialError::NotRaft)? {
        HelloReply::Refused(refusal) => Err(DialError::Refused(refusal)),
        HelloReply::Welcome(welcome) => {
            reader.trust(SERVER_IDLE);
            Ok(Link { reader, writer, welcome })
        }
    }
}
