//! Owns: the side that answers: the socket, a thread that serves whoever comes, and the answer that all of them share.
//! Must not know: who asks, how sockets are counted.
//!
//! The trace itself is asked for one thing only, and by a message: what lives. It is asked once for all who came before it answered, and
//! not again while the answer is young, so that many clients cost little more than one. All else happens on a thread of its own: who
//! reads slowly, or not at all, keeps nobody waiting.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
#[cfg(test)]
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::answer::told;
use super::ask::is_ours;
use crate::engine::{Live, Tracker};
use crate::host::worker::{Died, Thread};
use crate::model::clock::Clock;
use crate::model::event::Conn;

/// Connections that end are waited for so long when all ends; a thread that is making an answer is left to that.
const PARTING: Duration = Duration::from_millis(200);
/// A client who does not read for so long has gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients that are served at a time. The next ones wait in the socket's own queue.
const MOST: usize = 512;
/// Bytes that are written in one go.
const CHUNK: usize = 256 << 10;
/// An answer is given again until it is so many times as old as it took to make: making answers takes a fifth of the time at most.
const KEEPS: u32 = 4;

/// What lives, as far as its birth was seen.
type Sockets = Vec<(Conn, Live)>;

/// Somebody wants to know what lives.
#[derive(Debug)]
pub struct Question(oneshot::Sender<Sockets>);

impl Question {
    /// Answers it. Nothing is written and nothing is waited for.
    pub fn answer(self, tracker: &Tracker) {
        let born = tracker.sockets().filter(|(_, live)| live.born_ns.is_some());
        // Who asked may have ended.
        let _ = self.0.send(born.collect());
    }
}

/// Where clients are answered. The socket goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    questions: mpsc::Receiver<Question>,
    /// Gone: the thread ends.
    stop: Option<oneshot::Sender<()>>,
    /// `None` once it was said that it has ended.
    thread: Option<Thread>,
    path: PathBuf,
}

impl Server {
    /// Listens in `dir`, which is made if it is not there. `backend` is the word for what tells the events.
    ///
    /// # Errors
    /// Of files, sockets and threads; mostly because only root may write there. A trace goes on without.
    pub fn start(dir: &Path, backend: &'static str) -> io::Result<Self> {
        let (path, listener) = listen(dir)?;
        Self::on(listener, path.clone(), backend).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    }

    fn on(listener: StdListener, path: PathBuf, backend: &'static str) -> io::Result<Self> {
        let (ask, questions) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = Thread::start("server", move || {
            if let Err(error) = serve(listener, ask, stopped, backend) {
                panic!("cannot listen any more: {error}");
            }
        })?;
        Ok(Self { questions, stop: Some(stop), thread: Some(thread), path })
    }

    /// The next question; of a server whose thread has ended, never, which is said. Can be given up at any time.
    pub async fn question(&mut self) -> Question {
        match self.questions.recv().await {
            Some(question) => question,
            None => {
                if let Some(died) = self.has_died() {
                    crate::note!("twtrace: {died}; `twtrace list` learns no owners from this trace any more");
                }
                std::future::pending().await
            }
        }
    }

    /// Why the thread ended, once, when its questions have.
    fn has_died(&mut self) -> Option<Died> {
        self.thread.take().map(Thread::died)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be removed now is swept away by the next. Others may still be there.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.path.parent().map(std::fs::remove_dir);
        self.stop.take();
        self.questions.close();
        let Some(thread) = self.thread.take() else { return };
        // It waits for nobody for long.
        if let Err(died) = thread.join_by(Instant::now() + PARTING) {
            crate::note!("twtrace: {died}");
        }
    }
}

fn listen(dir: &Path) -> io::Result<(PathBuf, StdListener)> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !is_ours(dir)? {
        return Err(io::Error::other("others may write there"));
    }
    sweep(dir);
    // A pid is used again, and may be the same in two pid namespaces.
    let path = dir.join(format!("{}-{}.sock", std::process::id(), Clock::read().mono_ns));
    let listener = StdListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((path, listener))
}

/// Removes sockets that nobody listens on.
fn sweep(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if super::ask::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The thread.
fn serve(
    listener: StdListener,
    ask: mpsc::Sender<Question>,
    stopped: oneshot::Receiver<()>,
    backend: &'static str,
) -> io::Result<()> {
    // Made here: where the thread cannot be started, a runtime cannot be dropped either, in the middle of another one.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let service = Rc::new(Service { ask, backend, answer: Mutex::default() });
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async move {
        tokio::select! {
            _ = stopped => Ok(()),
            ended = accept(listener, service) => ended,
        }
    }))
}

async fn accept(listener: StdListener, service: Rc<Service>) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let permits = std::sync::Arc::new(Semaphore::new(MOST));
    loop {
        let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Ok((client, _)) => {
                let service = service.clone();
                tokio::task::spawn_local(async move {
                    // A client who left has what there is of an answer.
                    let _ = service.receive(client).await;
                    drop(permit);
                });
            }
            // Out of descriptors, say: those who are here will go.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// An answer as it is sent.
#[derive(Debug)]
struct Answer {
    bytes: Bytes,
    asked: Instant,
    took: Duration,
}

struct Service {
    ask: mpsc::Sender<Question>,
    backend: &'static str,
    answer: Mutex<Option<Answer>>,
}

impl Service {
    async fn receive(self: Rc<Self>, mut client: UnixStream) -> io::Result<()> {
        let Some(bytes) = self.clone().answer(Instant::now()).await else { return Ok(()) };
        for chunk in bytes.chunks(CHUNK) {
            timeout(PATIENCE, client.write_all(chunk)).await??;
        }
        Ok(())
    }

    /// An answer for somebody who came at `came`.
    async fn answer(self: Rc<Self>, came: Instant) -> Option<Bytes> {
        let mut answer = self.answer.lock().await;
        let is_good = |answer: &Answer| answer.asked >= came || answer.asked.elapsed() < answer.took * KEEPS;
        if let Some(answer) = answer.as_ref().filter(|answer| is_good(answer)) {
            return Some(answer.bytes.clone());
        }
        let asked = Instant::now();
        let (reply, sockets) = oneshot::channel();
        self.ask.send(Question(reply)).await.ok()?;
        let sockets = sockets.await.ok()?;
        let bytes = Bytes::from(told(self.backend, &sockets).ok()?);
        let took = asked.elapsed();
        *answer = Some(Answer { bytes: bytes.clone(), asked, took });
        drop(answer);
        let service = self.clone();
        // Memory is not kept for somebody who may never come.
        tokio::task::spawn_local(async move {
            tokio::time::sleep(took * KEEPS).await;
            service.answer.lock().await.take_if(|answer| answer.asked == asked);
        });
        Some(bytes)
    }
}

/// For tests: the other side of a connection, as a client has it.
#[cfg(test)]
pub(super) fn connect(dir: &Path) -> StdStream {
    let entry = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap();
    StdStream::connect(entry.path()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file is nothing that can be listened on.
    #[test]
    fn that_nobody_can_ask_any_more_is_said_once_and_the_trace_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-1.sock");
        let listener = StdListener::from(std::os::fd::OwnedFd::from(std::fs::File::create(&path).unwrap()));
        listener.set_nonblocking(true).unwrap();
        let mut server = Server::on(listener, path, "tracepoint").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert!(server.questions.recv().await.is_none());
            let died = server.has_died().unwrap();
            assert!(died.why.starts_with("cannot listen any more: "), "{died}");
            assert_eq!(server.has_died(), None);
            tokio::select! {
                biased;
                _ = server.question() => panic!("nobody asks"),
                () = std::future::ready(()) => {}
            }
        });
    }
}
