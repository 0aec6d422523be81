//! Owns: named threads beside the engine: started, asked, heard, and joined by a deadline. One that hangs is left behind, one that
//! panics is an error with its name.
//! Must not know: what any of them does.

use std::any::Any;
use std::io;
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc as queue;

/// Of a thread that ended by itself.
const NO_REASON: &str = "it gave no reason";

/// A thread ended that was still needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread '{name}' ended too early: {why}")]
pub struct Died {
    /// Its name.
    pub name: &'static str,
    /// What it said when it panicked.
    pub why: String,
}

/// For those who can say of an error only that it is one of the system's.
impl From<Died> for io::Error {
    fn from(died: Died) -> Self {
        Self::other(died)
    }
}

/// How a thread took being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It has ended.
    Ended,
    /// It did not end in time, and goes with the process.
    LeftBehind,
}

/// A thread that can be waited for with a deadline, which std's cannot.
#[derive(Debug)]
pub struct Thread {
    name: &'static str,
    handle: JoinHandle<()>,
    /// Says that it is closed once the thread has ended, however it did.
    ended: mpsc::Receiver<()>,
    /// Gone once it has ended.
    life: Weak<()>,
}

impl Thread {
    /// Starts one. `name` has 15 bytes at most, which is what the kernel keeps.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel::<()>();
        let living = Arc::new(());
        let life = Arc::downgrade(&living);
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = (alive, living);
            work();
        })?;
        Ok(Self { name, handle, ended, life })
    }

    /// For somebody who needs it and does not join it.
    pub fn alive(&self) -> Alive {
        Alive { name: self.name, life: self.life.clone() }
    }

    /// Waits until it has ended, or `deadline` has come.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join_by(self, deadline: Instant) -> Result<Joined, Died> {
        let patience = deadline.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            return Ok(Joined::LeftBehind);
        }
        self.join()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> Result<Joined, Died> {
        let name = self.name;
        self.handle.join().map(|()| Joined::Ended).map_err(|panic| Died { name, why: said(&*panic) })
    }

    /// Why it ended, when it has or is about to, and should not have.
    pub fn died(self) -> Died {
        let name = self.name;
        match self.join_by(Instant::now() + Duration::from_secs(1)) {
            Err(died) => died,
            Ok(_) => Died { name, why: NO_REASON.to_owned() },
        }
    }
}

/// Whether a thread goes on.
#[derive(Clone, Debug)]
pub struct Alive {
    name: &'static str,
    life: Weak<()>,
}

impl Alive {
    /// Looks, and does not wait.
    ///
    /// # Errors
    /// If it has ended, however it did. Whoever joins it hears why.
    pub fn check(&self) -> Result<(), Died> {
        match self.life.strong_count() {
            0 => Err(Died { name: self.name, why: NO_REASON.to_owned() }),
            _ => Ok(()),
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

/// What a worker is asked.
#[derive(Debug)]
pub struct Requests<Q>(mpsc::Receiver<Q>);

impl<Q> Requests<Q> {
    /// The next one; `None` when there will be none, and the worker is to end.
    pub fn next(&self) -> Option<Q> {
        self.0.recv().ok()
    }

    /// The next one if it comes within `patience`; `Err` when there will be none.
    ///
    /// # Errors
    /// When the worker is to end.
    pub fn next_within(&self, patience: Duration) -> Result<Option<Q>, Closed> {
        match self.0.recv_timeout(patience) {
            Ok(request) => Ok(Some(request)),
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }
}

/// Nobody asks any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Where a worker says what it found.
#[derive(Debug)]
pub struct Replies<A>(queue::UnboundedSender<A>);

impl<A> Replies<A> {
    /// Says it. `false` when nobody hears it: the worker may as well end.
    pub fn send(&self, reply: A) -> bool {
        self.0.send(reply).is_ok()
    }
}

/// A thread that is asked for things and says what it found, in its own time.
#[derive(Debug)]
pub struct Worker<Q, A> {
    requests: mpsc::Sender<Q>,
    replies: queue::UnboundedReceiver<A>,
    thread: Option<Thread>,
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// Starts it. `work` is to end when its requests do.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        name: &'static str,
        work: impl FnOnce(&Requests<Q>, &Replies<A>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = mpsc::channel();
        let (reply, replies) = queue::unbounded_channel();
        let thread = Thread::start(name, move || work(&Requests(asked), &Replies(reply)))?;
        Ok(Self { requests, replies, thread: Some(thread) })
    }

    /// Asks, and does not wait. That the thread is gone shows in [`Worker::reply`].
    pub fn ask(&self, request: Q) {
        let _ = self.requests.send(request);
    }

    /// The next reply. Nothing is lost when this is given up half-way.
    ///
    /// # Errors
    /// If the thread has ended, which it must not while it may be asked.
    pub async fn reply(&mut self) -> Result<A, Died> {
        match (self.replies.recv().await, &mut self.thread) {
            (Some(reply), _) => Ok(reply),
            (None, thread) if thread.is_some() => {
                Err(thread.take().map_or_else(|| std::unreachable!("it is there"), Thread::died))
            }
            (None, _) => std::future::pending().await,
        }
    }

    /// The next reply, if one has come.
    ///
    /// # Errors
    /// As [`Worker::reply`]. It says so once.
    pub fn reply_if_any(&mut self) -> Result<Option<A>, Died> {
        match self.replies.try_recv() {
            Ok(reply) => Ok(Some(reply)),
            Err(queue::error::TryRecvError::Empty) => Ok(None),
            Err(queue::error::TryRecvError::Disconnected) => {
                self.thread.take().map_or(Ok(None), |thread| Err(thread.died()))
            }
        }
    }

    /// Says that nothing will be asked any more, and waits until `deadline` for the thread to end.
    ///
    /// # Errors
    /// If it panicked.
    pub fn stop(self, deadline: Instant) -> Result<Joined, Died> {
        let Self { requests, replies, thread } = self;
        drop((requests, replies));
        thread.map_or(Ok(Joined::Ended), |thread| thread.join_by(deadline))
    }

    /// As [`Worker::stop`], and gives what it has said by then that was not heard yet.
    ///
    /// # Errors
    /// If it panicked.
    pub fn last_replies(self, deadline: Instant) -> Result<Vec<A>, Died> {
        let Self { requests, mut replies, thread } = self;
        drop(requests);
        thread.map_or(Ok(Joined::Ended), |thread| thread.join_by(deadline))?;
        Ok(std::iter::from_fn(|| replies.try_recv().ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_worker_answers_in_order_and_ends_when_nobody_asks() {
        let work = |asked: &Requests<u32>, replies: &Replies<u32>| {
            while let Some(request) = asked.next() {
                replies.send(request * 2);
            }
        };
        let mut worker = Worker::start("doubler", work).unwrap();
        (1..=97).for_each(|request| worker.ask(request));
        let all: Vec<u32> = (1..=97).map(|_| wait(worker.reply()).unwrap()).collect();
        assert_eq!(all, (1..=97).map(|request| request * 2).collect::<Vec<_>>());
        assert_eq!(worker.stop(soon()), Ok(Joined::Ended));
    }

    #[test]
    fn a_worker_that_dies_is_an_error_with_its_name() {
        let work = |asked: &Requests<u32>, _: &Replies<u32>| {
            let request = asked.next().unwrap_or(0);
            panic!("{request} is too much");
        };
        let mut worker = Worker::<u32, u32>::start("weakling", work).unwrap();
        worker.ask(7);
        let died = wait(worker.reply()).unwrap_err();
        assert_eq!(died, Died { name: "weakling", why: "7 is too much".to_owned() });
        assert!(died.to_string().contains("'weakling' ended too early: 7 is too much"));
        assert_eq!(io::Error::from(died.clone()).downcast::<Died>().unwrap(), died);
    }

    #[test]
    fn whoever_needs_a_thread_can_see_that_it_has_ended() {
        for panics in [false, true] {
            let (release, held) = mpsc::channel::<()>();
            let work = move || {
                let _ = held.recv();
                assert!(!panics, "it was told to");
            };
            let thread = Thread::start("needed", work).unwrap();
            let alive = thread.alive();
            assert_eq!(alive.check(), Ok(()));
            drop(release);
            let joined = thread.join();
            assert_eq!(
                joined.map_err(|died| died.why),
                if panics { Err("it was told to".to_owned()) } else { Ok(Joined::Ended) }
            );
            assert_eq!(alive.check().unwrap_err().name, "needed");
        }
    }

    #[test]
    fn whoever_only_looks_whether_there_is_a_reply_hears_of_a_death_once() {
        let work = |asked: &Requests<u32>, replies: &Replies<u32>| {
            replies.send(asked.next().unwrap_or(0));
            panic!("one is enough");
        };
        let mut worker = Worker::start("weakling", work).unwrap();
        assert_eq!(worker.reply_if_any(), Ok(None));
        worker.ask(7);
        let deadline = soon();
        let checks =
            std::iter::repeat_with(|| worker.reply_if_any()).take_while(|_| Instant::now() < deadline);
        let mut told = checks.filter(|reply| *reply != Ok(None));
        assert_eq!(told.next(), Some(Ok(Some(7))));
        assert_eq!(told.next(), Some(Err(Died { name: "weakling", why: "one is enough".to_owned() })));
        drop(told);
        assert_eq!(worker.reply_if_any(), Ok(None));
    }

    #[test]
    fn a_worker_that_hangs_is_left_behind() {
        for is_stopped in [true, false] {
            let (release, hung) = mpsc::channel::<()>();
            let work = move |_: &Requests<u32>, _: &Replies<u32>| {
                let _ = hung.recv();
            };
            let worker = Worker::<u32, u32>::start("sleeper", work).unwrap();
            if is_stopped {
                assert_eq!(worker.stop(Instant::now()), Ok(Joined::LeftBehind));
            } else {
                assert_eq!(worker.last_replies(Instant::now()), Ok(Vec::new()));
            }
            drop(release);
        }
    }

    #[test]
    fn what_a_worker_says_while_it_ends_is_heard() {
        let work = |asked: &Requests<u32>, replies: &Replies<u32>| {
            while let Some(request) = asked.next() {
                replies.send(request * 2);
            }
            replies.send(7);
        };
        let worker = Worker::start("doubler", work).unwrap();
        [11, 13].into_iter().for_each(|request| worker.ask(request));
        assert_eq!(worker.last_replies(soon()), Ok(vec![22, 26, 7]));
    }
}
