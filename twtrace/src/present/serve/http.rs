//! Owns: connections: how many there may be, how long each may take, which makes room for another.
//! Must not know: what is answered, the trace.
//!
//! All of it is one thread, which shares nothing with the trace but a board. Whoever is slow, idle or too many costs a connection, and
//! nothing else: memory is bounded by the number of connections, and one that waits for its client is closed for one that comes.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::access::{Peer, Token};
use super::answers::answer;
use super::board::Board;
use super::families::{Exported, Served};
use super::fate::Fate;
use super::patience::{Patience, Phase};
use super::refusals::Refusals;
use super::tls::Tls;
use crate::host::worker::{Alive, Died, Joined, Thread};
use crate::model::clock::Clock;

/// Connections at a time.
const MOST: usize = 64;
/// The head of a request, in bytes, and its lines.
const HEAD_BYTES: usize = 16 << 10;
const HEAD_LINES: usize = 64;
/// When the kernel gives no connection (no descriptor is free, say), it is asked again after so long.
const PAUSE: Duration = Duration::from_millis(100);
/// Answers that are on their way when all ends get so long.
const PARTING: Duration = Duration::from_millis(200);
/// And the thread so long.
const JOINING: Duration = Duration::from_millis(500);

/// What all answers are made of.
pub struct Shared {
    /// Where pictures come from.
    pub(super) board: Arc<Board>,
    /// Who may ask; all, where there is none.
    pub(super) token: Option<Token>,
    /// So many owners, destinations and pools are told apart.
    pub(super) top: usize,
    /// When this process started, CLOCK_BOOTTIME in nanoseconds.
    pub(super) started_ns: u64,
    clock: Mutex<Clock>,
    /// What was counted here.
    pub(super) counters: Counters,
    /// What becomes of what is exported.
    pub(super) fate: Fate,
    is_exporting: bool,
}

impl Shared {
    /// Answers from `board`, with the `top` busiest told apart, those who know the token.
    pub fn new(board: Arc<Board>, token: Option<Token>, top: usize) -> Self {
        let clock = Clock::of_boot();
        let (started_ns, clock) = (clock.mono_ns, Mutex::new(clock));
        let (counters, fate) = (Counters::default(), Fate::default());
        Self { board, token, top, started_ns, clock, counters, fate, is_exporting: false }
    }

    /// What ties CLOCK_BOOTTIME to the calendar, which may have been set since the last time: a service may start before the network has told
    /// the time.
    pub(super) fn clock(&self) -> Clock {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.follow(Clock::of_boot());
        *clock
    }

    /// When this process started, in seconds since 1970.
    pub(super) fn started_s(&self) -> f64 {
        self.clock().wall_ns(self.started_ns) as f64 / 1e9
    }

    /// The same is exported.
    #[must_use]
    pub fn exported(self) -> Self {
        Self { is_exporting: true, ..self }
    }

    /// What is told of those who answer and export.
    pub(super) fn served(&self) -> Served {
        let Fate { points, findings, .. } = &self.fate;
        let exported = self.is_exporting.then(|| {
            let (is_up, failures) = self.fate.told();
            Exported { is_up, failures, points: points.told(), findings: findings.told() }
        });
        Served { exported, ..self.counters.served() }
    }
}

/// What the server counts of itself.
#[derive(Debug, Default)]
pub(super) struct Counters {
    refused: AtomicU64,
    failed_handshakes: AtomicU64,
    refusals: Mutex<Refusals>,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    pub(super) fn answered(&self, status: StatusCode) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(status.as_u16()).or_default() += 1;
    }

    /// A connection that came to nothing. Whose certificate was refused hears no reason, and who runs this has to know it.
    fn failed_handshake(&self, error: &io::Error, peer: io::Result<SocketAddr>) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
        let told = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).told(error, Instant::now());
        if let Some(why) = told {
            let who =
                peer.map_or_else(|_| "a client".to_owned(), |peer| peer.ip().to_canonical().to_string());
            crate::note!("twtrace: refused the certificate of {who}: {why}; said once an hour");
        }
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn served(&self) -> Served {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = answers.iter().map(|(status, count)| (*status, *count)).collect();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Served {
            refused: count(&self.refused),
            failed_handshakes: count(&self.failed_handshakes),
            answers,
            exported: None,
        }
    }
}

/// The thread that answers.
pub struct Server {
    thread: Thread,
    stop: oneshot::Sender<()>,
    address: SocketAddr,
}

impl Server {
    /// Answers on `listener` from now on, by TLS where that is wanted.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(listener: TcpListener, tls: Option<Tls>, shared: Arc<Shared>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = Thread::start("http", move || {
            if let Err(error) = runtime.block_on(serve(listener, tls, shared, stopped)) {
                panic!("cannot listen any more: {error}");
            }
        })?;
        Ok(Self { thread, stop, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still answers.
    pub fn alive(&self) -> Alive {
        self.thread.alive()
    }

    /// Ends it, in bounded time.
    ///
    /// # Errors
    /// If it panicked.
    pub fn stop(self) -> Result<Joined, Died> {
        // It may have ended.
        let _ = self.stop.send(());
        self.thread.join_by(Instant::now() + JOINING)
    }
}

/// The connections that there are.
struct Connections {
    tasks: JoinSet<()>,
    open: HashMap<Id, (Arc<Patience>, AbortHandle)>,
}

impl Connections {
    /// Makes room for one more, where one does nothing but wait for its client: the one that waits longest goes.
    fn make_room(&mut self) -> bool {
        if self.open.len() < MOST {
            return true;
        }
        let waiting = self.open.iter().filter(|(_, (patience, _))| patience.phase() != Phase::Answering);
        let longest = waiting.min_by_key(|(_, (patience, _))| patience.since_ns()).map(|(id, _)| *id);
        let Some((_, task)) = longest.and_then(|id| self.open.remove(&id)) else { return false };
        task.abort();
        true
    }

    fn add(&mut self, stream: TcpStream, tls: &mut Option<Tls>, shared: &Arc<Shared>) {
        let patience = Arc::new(Patience::default());
        let tls = tls.as_mut().map(|tls| (tls.acceptor(), tls.wants_certificates()));
        let task = self.tasks.spawn(connection(stream, tls, Arc::clone(shared), Arc::clone(&patience)));
        self.open.insert(task.id(), (patience, task));
    }
}

async fn serve(
    listener: TcpListener,
    mut tls: Option<Tls>,
    shared: Arc<Shared>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = Connections { tasks: JoinSet::new(), open: HashMap::new() };
    loop {
        let accepted = tokio::select! {
            _ = &mut stopped => break,
            Some(ended) = connections.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                connections.open.remove(&id);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let was_full = connections.open.len() >= MOST;
                if was_full {
                    shared.counters.refuse();
                }
                if connections.make_room() {
                    connections.add(stream, &mut tls, &shared);
                }
            }
            // Too many descriptors, or a client that has gone: neither is a reason to end.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    let finished = async { while connections.tasks.join_next().await.is_some() {} };
    // Who only waits for a next request is not waited for.
    for (patience, task) in connections.open.values() {
        if patience.phase() != Phase::Answering {
            task.abort();
        }
    }
    let _ = tokio::time::timeout(PARTING, finished).await;
    Ok(())
}

/// `tls` has whether clients must have a certificate.
async fn connection(
    stream: TcpStream,
    tls: Option<(TlsAcceptor, bool)>,
    shared: Arc<Shared>,
    patience: Arc<Patience>,
) {
    // An answer is one write: it is not to wait for more.
    let _ = stream.set_nodelay(true);
    let spoken = async {
        let Some((acceptor, wants_certificate)) = tls else {
            return speak(stream, Peer::Known, &shared, &patience).await;
        };
        let address = stream.peer_addr();
        let stream = match acceptor.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return shared.counters.failed_handshake(&error, address),
        };
        let is_known = !wants_certificate || stream.get_ref().1.peer_certificates().is_some();
        let peer = if is_known { Peer::Known } else { Peer::Uncertified };
        speak(stream, peer, &shared, &patience).await;
    };
    tokio::select! {
        () = spoken => {}
        () = patience.ends() => {}
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: Peer,
    shared: &Arc<Shared>,
    patience: &Arc<Patience>,
) {
    let service = service_fn(|request| {
        let (shared, patience) = (Arc::clone(shared), Arc::clone(patience));
        async move {
            patience.enter(Phase::Answering);
            let answer = answer(&request, peer, &shared).await;
            patience.enter(Phase::Idle);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_LINES).header_read_timeout(None);
    // How a client ends it is of no interest.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

#[cfg(test)]
mod tests;
