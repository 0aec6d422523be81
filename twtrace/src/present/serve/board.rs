//! Owns: how those who answer ask the trace for a picture: they say that they want one, and take the newest that there is. The trace
//! waits for nobody.
//! Must not know: what is in a picture, who asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::picture::Picture;
use crate::model::clock;

/// So long a picture is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The trace looks at its view once a second at least; one that did not for so long does not go on.
const STUCK_NS: u64 = 30_000_000_000;

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPicture {
    /// Not everything is attached yet.
    #[error("not attached yet")]
    NotAttached,
    /// The trace does not answer.
    #[error("the trace has not answered for {0} s")]
    Stuck(u64),
}

/// See the head of the file.
#[derive(Debug)]
pub struct Board {
    is_wanted: AtomicBool,
    waker: OnceLock<Arc<Notify>>,
    newest: watch::Sender<Option<Arc<Picture>>>,
    /// CLOCK_MONOTONIC when the trace last looked at its view, 0 before.
    seen_ns: AtomicU64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            is_wanted: AtomicBool::new(false),
            waker: OnceLock::new(),
            newest: watch::Sender::new(None),
            seen_ns: AtomicU64::new(0),
        }
    }
}

impl Board {
    /// For the trace: `waker` makes it look.
    pub(super) fn wake_with(&self, waker: Arc<Notify>) {
        // There is one trace.
        let _ = self.waker.set(waker);
    }

    /// For the trace: it is there, at `now_ns` of CLOCK_MONOTONIC. Whether somebody wants a picture.
    pub(super) fn is_wanted(&self, now_ns: u64) -> bool {
        self.seen_ns.store(now_ns, Ordering::Release);
        self.is_wanted.load(Ordering::Acquire)
    }

    /// For the trace: gives a picture to all who wait.
    pub(super) fn give(&self, picture: Picture) {
        self.is_wanted.store(false, Ordering::Release);
        self.newest.send_replace(Some(Arc::new(picture)));
    }

    /// A picture that is fresh enough.
    ///
    /// # Errors
    /// See [`NoPicture`].
    pub(super) async fn picture(&self) -> Result<Arc<Picture>, NoPicture> {
        self.picture_within(PATIENCE).await
    }

    async fn picture_within(&self, patience: Duration) -> Result<Arc<Picture>, NoPicture> {
        let mut newest = self.newest.subscribe();
        let fresh = newest.borrow_and_update().clone();
        if let Some(picture) = fresh.filter(|picture| picture.fresh_until_ns > clock::mono_ns()) {
            return Ok(picture);
        }
        let Some(waker) = self.waker.get() else { return Err(NoPicture::NotAttached) };
        self.is_wanted.store(true, Ordering::Release);
        waker.notify_one();
        match timeout(patience, newest.changed()).await {
            Ok(Ok(())) => newest.borrow().clone().ok_or(NoPicture::NotAttached),
            _ => Err(self.why_not()),
        }
    }

    /// Whether the trace goes on, as far as can be told without asking it.
    pub(super) fn is_stuck(&self) -> bool {
        let seen_ns = self.seen_ns.load(Ordering::Acquire);
        seen_ns != 0 && clock::mono_ns().saturating_sub(seen_ns) > STUCK_NS
    }

    fn why_not(&self) -> NoPicture {
        match self.seen_ns.load(Ordering::Acquire) {
            0 => NoPicture::NotAttached,
            seen_ns => NoPicture::Stuck(clock::mono_ns().saturating_sub(seen_ns) / 1_000_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn nobody_waits_for_a_trace_that_has_not_begun() {
        let board = Board::default();
        assert_eq!(block_on(board.picture()).unwrap_err(), NoPicture::NotAttached);
    }

    #[test]
    fn a_trace_that_does_not_answer_is_stuck_and_one_that_does_is_not() {
        let board = Board::default();
        board.wake_with(Arc::default());
        assert!(!board.is_wanted(clock::mono_ns()));
        assert!(matches!(block_on(board.picture_within(Duration::ZERO)), Err(NoPicture::Stuck(_))));
        assert!(board.is_wanted(clock::mono_ns()) && !board.is_stuck());
        let answer = async {
            let (picture, ()) = tokio::join!(board.picture(), async {
                board.give(Picture { fresh_until_ns: u64::MAX, backend: "fentry", ..Picture::default() });
            });
            picture
        };
        assert_eq!(block_on(answer).unwrap().backend, "fentry");
        // It is fresh: nobody is asked.
        assert!(!board.is_wanted(1));
        assert_eq!(block_on(board.picture()).unwrap().backend, "fentry");
        assert!(board.is_stuck());
    }
}
