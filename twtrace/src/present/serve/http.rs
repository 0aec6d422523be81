//! Owns: connections: how many there may be, how long each may take, which makes room for another.
//! Must not know: what is answered, the trace.
//!
//! All of it is one thread, which shares nothing with the trace but a board. Whoever is slow, idle or too many costs a connection, and
//! nothing else: memory is bounded by the number of connections, and one that waits for its client is closed for one that comes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::access::Peer;
use super::answers::answer;
use super::patience::{Patience, Phase};
use super::shared::Shared;
use super::tls::Tls;
use crate::host::worker::{Alive, Died, Joined, Thread};

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
