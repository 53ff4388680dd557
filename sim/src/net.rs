//! The transport's network, inside the simulation.
//!
//! turmoil refuses a connection at once when its first packet is lost, and keeps the socket of every
//! connection that was refused. So what the plan knows to be down or cut is not asked for: a host
//! that is down refuses, and a cut link stays silent until the caller's deadline, as outside.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use raft::{Connection, Listener, Net, net::BoxFuture};
use turmoil::net::{TcpListener, TcpStream};

use crate::schedule::{Cuts, HOSTS, Place};

/// How long a refusal is under way.
const REFUSAL: Duration = Duration::from_millis(1);

/// Who can reach whom.
#[derive(Debug, Clone, Default)]
pub struct Reach(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    cuts: Cuts,
    is_down: [bool; HOSTS.len()],
}

/// What becomes of a connection that is asked for.
enum Fate {
    Open,
    Refused,
    Silent,
}

impl Reach {
    /// These links are cut, and no others.
    pub fn set_cuts(&self, cuts: Cuts) {
        self.0.lock().expect("nothing panics in here").cuts = cuts;
    }

    /// A host goes down, or comes up.
    pub fn set_down(&self, place: Place, is_down: bool) {
        self.0.lock().expect("nothing panics in here").is_down[place] = is_down;
    }

    fn fate(&self, from: Place, address: &str) -> Fate {
        let name = address.split(':').next().unwrap_or_default();
        let Some(to) = HOSTS.iter().position(|host| *host == name) else { return Fate::Refused };
        let links = self.0.lock().expect("nothing panics in here");
        if links.cuts.contains(&(from, to)) || links.cuts.contains(&(to, from)) {
            Fate::Silent
        } else if links.is_down[to] {
            Fate::Refused
        } else {
            Fate::Open
        }
    }
}

/// The simulated network as one host sees it.
#[derive(Debug, Clone)]
pub struct SimNet {
    /// The host.
    pub place: Place,
    /// Who can reach whom.
    pub reach: Reach,
}

impl Net for SimNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            match self.reach.fate(self.place, address) {
                Fate::Silent => std::future::pending().await,
                Fate::Refused => {
                    tokio::time::sleep(REFUSAL).await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
                Fate::Open => {
                    let stream = TcpStream::connect(address).await?;
                    Ok(Box::new(stream) as Box<dyn Connection>)
                }
            }
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            Ok(Box::new(SimListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct SimListener(TcpListener);

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Connection>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
