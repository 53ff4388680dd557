//! What happens, as it is told: one stream over many servers. When it breaks off it goes on at the next
//! address, after the last event that came; what is missing then is told as a gap.

use std::{collections::VecDeque, mem, time::Duration};

use hyper::Uri;
use tokio::time::{Instant, sleep};

use super::{
    Client, ClientError, Download, Options,
    list::encoded,
    transport::{Transport, jittered},
};
use crate::{queue::QueueName, wire::Event};

/// A server says every 15 s that it is there; one that is not heard for this is taken for lost, also when there
/// is no other to go to. When there is, one that hangs is left sooner ([`Download::next`]).
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// Between two rounds through the addresses, at the most.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest event that is read, bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What to listen to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsRequest {
    /// Of these types; a name that ends in `*` stands for all that begin so. All, when none is named.
    pub types: Vec<String>,
    /// Of what happens to jobs, only in these queues; in any, when none is named.
    pub queues: Vec<QueueName>,
    /// Go on after the event of this id; `None`: what happens from now on.
    pub after: Option<String>,
}

/// A stream of events that outlives its servers.
#[derive(Debug)]
pub struct Events {
    /// The server that is listened to, or is to be, comes first.
    options: Options,
    wanted: EventsRequest,
    open: Option<Open>,
    /// Since when no server is listened to.
    lost_at: Instant,
    /// When the last one was found.
    listened_at: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    download: Download,
    reader: Reader,
    blocks: VecDeque<Block>,
}

/// What a stream has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This server is listened to from now on.
    Listening {
        /// Its base URL.
        address: String,
    },
    /// Something happened.
    Event {
        /// As types.
        event: Box<Event>,
        /// As it came: JSON on one line.
        json: String,
    },
    /// The server is gone, or says that it is going. The next one is asked for what follows.
    Lost {
        /// Its base URL.
        address: String,
        /// Why, for people.
        reason: String,
    },
}

impl EventsRequest {
    fn path(&self) -> String {
        let mut path = String::from("/events");
        let mut add = |name: &str, value: &str| {
            path.extend([if path.contains('?') { "&" } else { "?" }, name, "="]);
            path.extend(value.bytes().map(encoded));
        };
        for name in &self.types {
            add("types", name);
        }
        for queue in &self.queues {
            add("queue", queue.as_str());
        }
        if let Some(after) = &self.after {
            add("after", after);
        }
        path
    }
}

impl Client {
    /// Listens to what happens, at whichever address answers. Nothing is sent yet.
    pub fn events(&self, wanted: EventsRequest) -> Events {
        let options = Options::clone(&self.transport.options);
        Events { options, wanted, open: None, lost_at: Instant::now(), listened_at: None }
    }
}

impl Events {
    /// What is told next. Waits for it, however long.
    ///
    /// # Errors
    /// [`ClientError`] when the request is refused, or no server has answered for as long as a call may
    /// take ([`Options::timeout`]; in the beginning, [`Options::patience`]).
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            let Some(open) = &mut self.open else { return self.listen().await };
            match open.block().await {
                Ok(Block { id, data }) => {
                    if id.is_some() {
                        self.wanted.after = id;
                    }
                    if let Some(json) = data {
                        return self.told(json);
                    }
                }
                Err(Fault::Gone(reason)) => return Ok(self.lose(reason)),
                Err(Fault::Nonsense(reason)) => {
                    let address = open.download.address().to_string();
                    return Err(ClientError::BadAnswer { address, reason });
                }
            }
        }
    }

    /// The last id that came, to go on after.
    pub fn last_id(&self) -> Option<&str> {
        self.wanted.after.as_deref()
    }

    fn told(&self, json: String) -> Result<Told, ClientError> {
        match serde_json::from_str(&json) {
            Ok(event) => Ok(Told::Event { event: Box::new(event), json }),
            Err(fault) => {
                let address = self.options.addresses[0].to_string();
                Err(ClientError::BadAnswer { address, reason: fault.to_string() })
            }
        }
    }

    async fn listen(&mut self) -> Result<Told, ClientError> {
        let path = self.wanted.path();
        let patience = match self.listened_at {
            None => self.options.patience,
            Some(listened_at) => {
                // One that ends each stream at once is not to be asked without end.
                if self.lost_at.duration_since(listened_at) < PAUSE {
                    sleep(jittered(PAUSE)).await;
                }
                self.options.timeout
            }
        };
        // Its own: it begins with the first of the addresses.
        let transport = Transport::new(self.options.clone());
        loop {
            match transport.open(&path).await {
                Ok(download) => {
                    let address = download.address().clone();
                    self.begin_with(&address);
                    let download = download.with_patience(SILENCE_MAX);
                    self.open =
                        Some(Open { download, reader: Reader::default(), blocks: VecDeque::new() });
                    self.listened_at = Some(Instant::now());
                    return Ok(Told::Listening { address: address.to_string() });
                }
                Err(error) => {
                    let is_over = self.lost_at.elapsed() >= patience;
                    if is_over || !error.may_be_answered_yet() {
                        return Err(error);
                    }
                    sleep(jittered(PAUSE)).await;
                }
            }
        }
    }

    /// Has an address be the first to be asked.
    fn begin_with(&mut self, address: &Uri) {
        let addresses = &mut self.options.addresses;
        let place = addresses.iter().position(|other| other == address).unwrap_or(0);
        addresses.rotate_left(place);
    }

    fn lose(&mut self, reason: String) -> Told {
        self.open = None;
        self.lost_at = Instant::now();
        let address = self.options.addresses[0].to_string();
        // Who was just lost is asked last.
        self.options.addresses.rotate_left(1);
        Told::Lost { address, reason }
    }
}

/// Why a stream does not go on.
enum Fault {
    Gone(String),
    Nonsense(String),
}

impl Open {
    async fn block(&mut self) -> Result<Block, Fault> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                return Ok(block);
            }
            match self.download.next().await {
                Some(Ok(piece)) => self.blocks.extend(self.reader.read(&piece)),
                Some(Err(error)) => return Err(Fault::Gone(error.to_string())),
                None => return Err(Fault::Gone("it has ended the stream".to_owned())),
            }
            if self.reader.held() > EVENT_BYTES_MAX {
                let reason = format!("an event of more than {EVENT_BYTES_MAX} bytes");
                return Err(Fault::Nonsense(reason));
            }
        }
    }
}

/// One block of a stream: what stands between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Block {
    id: Option<String>,
    /// `None`: it is no event.
    data: Option<String>,
}

/// Reads a stream of server-sent events from pieces that are cut anywhere (WHATWG HTML §9.2.6).
#[derive(Debug, Default)]
struct Reader {
    line: Vec<u8>,
    block: Block,
}

impl Reader {
    /// The blocks that this piece ends.
    fn read(&mut self, piece: &[u8]) -> Vec<Block> {
        let mut ended = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.pop_if(|last| *last == b'\n').is_none() {
                continue;
            }
            self.line.pop_if(|last| *last == b'\r');
            let line = mem::take(&mut self.line);
            if line.is_empty() {
                ended.push(mem::take(&mut self.block));
            } else {
                self.block.take_line(&String::from_utf8_lossy(&line));
            }
        }
        ended
    }

    /// How many bytes of a block that has not ended are held.
    fn held(&self) -> usize {
        self.line.len() + self.block.data.as_ref().map_or(0, String::len)
    }
}

impl Block {
    fn take_line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => data.extend(["\n", value]),
                None => self.data = Some(value.to_owned()),
            },
            // A comment, the type (which stands in the data as well), or what a newer server says.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::wire::{EventType, EventsQuery};

    #[test]
    fn a_server_reads_what_was_asked_for() {
        let request = EventsRequest {
            types: vec!["host_*".into(), "gap".into()],
            queues: vec![QueueName::parse("a.b").unwrap(), QueueName::parse("c").unwrap()],
            after: Some("00aa-7".into()),
        };
        let path = request.path();
        let read = EventsQuery::parse(path.strip_prefix("/events?")).unwrap();
        assert_eq!(read.types.len(), 4);
        assert!(read.types.contains(&EventType::HostSuspect));
        assert_eq!(read.queues.into_iter().collect::<Vec<_>>(), request.queues);
        assert_eq!(read.after, request.after);
        assert_eq!(EventsRequest::default().path(), "/events");
    }

    /// A server that begins one stream, says that it is there, and then answers nothing, as one that was frozen.
    async fn frozen_under_a_stream() -> (JoinHandle<(TcpListener, TcpStream)>, Uri) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0, "a request");
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let text = format!("{head}9\r\nid: r-1\n\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            (listener, stream)
        });
        (serving, address)
    }

    // Situation: the first of two servers freezes under a stream. Claim: it is left because it answers nothing,
    // not because the stream was silent for long; the next one is asked for what follows.
    #[tokio::test]
    async fn a_server_that_freezes_under_a_stream_is_left_for_the_next() {
        let (first, second) = (frozen_under_a_stream().await, frozen_under_a_stream().await);
        let client = Client::new(Options {
            addresses: vec![first.1.clone(), second.1.clone()],
            timeout: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        });
        let mut events = client.events(EventsRequest::default());
        let told = |address: &Uri| Told::Listening { address: address.to_string() };
        assert_eq!(events.next().await.unwrap(), told(&first.1));
        let Told::Lost { address, reason } = events.next().await.unwrap() else { panic!("lost") };
        assert_eq!(address, first.1.to_string());
        assert!(reason.contains("does not answer at all"), "{reason}");
        assert_eq!(events.next().await.unwrap(), told(&second.1));
        assert_eq!(events.last_id(), Some("r-1"));
    }

    #[test]
    fn a_stream_is_read_wherever_its_pieces_are_cut() {
        let text = "retry: 1000\nid: r-0\n\nid: r-1\r\nevent: gap\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n\
                    : nothing new\nid: r-2\n\nid: r-3\ndata: cut off";
        let block = |id: &str, data: Option<&str>| Block {
            id: Some(id.to_owned()),
            data: data.map(str::to_owned),
        };
        let expected = [block("r-0", None), block("r-1", Some("{\"a\":\n1}")), block("r-2", None)];
        for size in [1, 2, 7, text.len()] {
            let mut reader = Reader::default();
            let blocks: Vec<_> =
                text.as_bytes().chunks(size).flat_map(|piece| reader.read(piece)).collect();
            assert_eq!(blocks, expected, "in pieces of {size}");
            assert_eq!(reader.held(), "data: cut off".len());
        }
    }
}
