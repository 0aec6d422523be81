//! Owns: the drain: a thread that moves records from the ring into a bounded queue, and does nothing else.
//! Must not know: what a record says.
//!
//! Nothing here waits for anything but room in the queue. When there is none, records stay in the ring; when the ring is full, the
//! kernel side drops what comes and counts it by kind, which nobody here could do more exactly.

mod pace;
mod records;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use pace::Pace;
use records::Filling;
pub(super) use records::Records;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::host::worker::{Died, Joined, Thread};
use crate::kernel::probe::Ring;
use crate::model::clock;
use crate::source::Health;

/// Batches that may wait for the engine.
const QUEUE: usize = 32;

/// What the drain says.
#[derive(Debug)]
pub(super) enum Message {
    /// Records in the order of the ring.
    Records(Records),
    /// All that lay in the ring at `at_ns` (CLOCK_MONOTONIC, read before the ring was looked at) was said before this.
    Emptied {
        /// When.
        at_ns: u64,
    },
}

/// The thread, from the engine's side.
#[derive(Debug)]
pub(super) struct Drain {
    messages: Receiver<Message>,
    orders: Arc<Orders>,
    ring_bytes: u64,
    thread: Option<Thread>,
}

/// What the engine wants of the thread.
#[derive(Debug)]
struct Orders {
    wants_mark: AtomicBool,
    is_over: AtomicBool,
    /// The most that was found in the ring at one look, for the engine to know.
    most_bytes: AtomicU64,
    /// Written to when one of them has changed.
    bell: EventFd,
}

impl Drain {
    /// Starts to drain.
    ///
    /// # Errors
    /// Of the kernel.
    pub(super) fn start(ring: Ring) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let orders = Arc::new(Orders {
            wants_mark: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            most_bytes: AtomicU64::new(0),
            bell: EventFd::from_value_and_flags(0, flags)?,
        });
        let (send, messages) = channel(QUEUE);
        let ring_bytes = ring.bytes() as u64;
        let mut drainer = Drainer::new(ring, send, Arc::clone(&orders))?;
        let thread = Thread::start("drain", move || drainer.run())?;
        Ok(Self { messages, orders, ring_bytes, thread: Some(thread) })
    }

    /// What comes next. Nothing is lost when this is given up half-way.
    ///
    /// # Errors
    /// If the thread has ended.
    pub(super) async fn next(&mut self) -> Result<Message, Died> {
        match self.messages.recv().await {
            Some(message) => Ok(message),
            None => match self.thread.take() {
                Some(thread) => Err(thread.died()),
                None => std::future::pending().await,
            },
        }
    }

    /// Asks for a [`Message::Emptied`] soon, though nothing may have come.
    pub(super) fn ask_for_mark(&self) {
        self.orders.wants_mark.store(true, Ordering::Release);
        self.orders.ring();
    }

    /// How full the ring was since this was last asked.
    pub(super) fn health(&self) -> Health {
        let ring_used_bytes = self.orders.most_bytes.swap(0, Ordering::AcqRel);
        Health { ring_bytes: self.ring_bytes, ring_used_bytes }
    }

    /// Ends it; what it has not said yet is not said any more.
    ///
    /// # Errors
    /// If it panicked.
    pub(super) fn stop(mut self, deadline: Instant) -> Result<Joined, Died> {
        self.orders.is_over.store(true, Ordering::Release);
        self.orders.ring();
        self.messages.close();
        while self.messages.try_recv().is_ok() {}
        self.thread.take().map_or(Ok(Joined::Ended), |thread| thread.join_by(deadline))
    }
}

impl Orders {
    fn ring(&self) {
        // It cannot be full: nobody writes more than a few.
        let _ = self.bell.write(1);
    }
}

/// Which of the two made the thread wake.
const RING: u64 = 0;
const BELL: u64 = 1;

/// The thread itself.
struct Drainer {
    ring: Ring,
    send: Sender<Message>,
    orders: Arc<Orders>,
    epoll: Epoll,
    filling: Filling,
    pace: Pace,
}

/// Why it ends.
enum Over {
    /// It was told to, or nobody listens any more.
    Told,
    /// The kernel said so of the wait.
    Failed(Errno),
}

impl Drainer {
    fn new(ring: Ring, send: Sender<Message>, orders: Arc<Orders>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Edges, so that a record that is left to lie for a moment does not keep the thread awake.
        epoll.add(&ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, RING))?;
        epoll.add(&orders.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self { ring, send, orders, epoll, filling: Filling::new(), pace: Pace::new() })
    }

    fn run(&mut self) {
        let mut is_empty = true;
        loop {
            let waited = if is_empty { self.wait() } else { Ok(()) };
            match waited.and_then(|()| self.read_ring()) {
                Ok(empty) => is_empty = empty,
                Err(Over::Told) => return,
                Err(Over::Failed(errno)) => panic!("cannot wait for the ring: {errno}"),
            }
        }
    }

    /// Until it is time to look at the ring: at once for the first record after a quiet time, else when a while has passed or
    /// much is waiting.
    fn wait(&mut self) -> Result<(), Over> {
        let deadline = Instant::now() + self.pace.pause();
        let mut may_ignore = self.pace.ignores_first();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = left.as_micros().div_ceil(1000).try_into().unwrap_or(u16::MAX);
            let mut came = [EpollEvent::empty(); 2];
            let count = match self.epoll.wait(&mut came, EpollTimeout::from(millis)) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Over::Failed(errno)),
            };
            if came[..count].iter().any(|event| event.data() == BELL) {
                let _ = self.orders.bell.read();
                return if self.orders.is_over.load(Ordering::Acquire) { Err(Over::Told) } else { Ok(()) };
            }
            if count == 0 || !std::mem::take(&mut may_ignore) {
                return Ok(());
            }
        }
    }

    /// Moves what lies in the ring, and no more than fits into it, so that a look has an end. Says whether the ring is empty now.
    fn read_ring(&mut self) -> Result<bool, Over> {
        let wants_mark = self.orders.wants_mark.swap(false, Ordering::AcqRel);
        let at_ns = clock::mono_ns();
        let mut most = self.ring.bytes();
        let mut is_empty = false;
        while !is_empty && most > 0 {
            let filling = &mut self.filling;
            while !is_empty && !filling.is_full() {
                is_empty = !self.ring.next(|record| filling.put(record));
            }
            most = most.saturating_sub(filling.len());
            if let Some(batch) = filling.finish() {
                self.say(Message::Records(batch))?;
            }
        }
        let moved = (self.ring.bytes() - most) as u64;
        self.orders.most_bytes.fetch_max(moved, Ordering::AcqRel);
        self.pace.read(at_ns, moved);
        if moved != 0 || wants_mark {
            // One that is still being written hides what came behind it.
            if is_empty && self.ring.has_unread() {
                self.orders.wants_mark.store(true, Ordering::Release);
                if wants_mark {
                    self.pace.hold_up();
                }
            } else {
                self.say(Message::Emptied { at_ns })?;
            }
        }
        Ok(is_empty)
    }

    fn say(&self, message: Message) -> Result<(), Over> {
        // Waits while there is no room; fails once the engine has gone.
        self.send.blocking_send(message).map_err(|_| Over::Told)
    }
}
