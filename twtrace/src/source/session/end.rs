//! Owns: the end of a trace: one moment up to which all is told, and a bound on how long that takes.
//! Must not know: why it ends.
//!
//! The moment is taken while all hooks are attached, so no birth is told without the owner that another hook would have told, and
//! none is taken for an overflow. What happens later is not told.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout_at};

use super::Summary;
use super::drain::Message;
use super::engine::{Engine, Why, more_to_tell};
use super::lister::Reply;
use super::run::Error;
use super::verify::{Counting, Moment};
use crate::model::clock::{self, Clock};
use crate::model::limitation::{Limitation, What};
use crate::source::View;

/// All of the end takes no longer, but for what the kernel needs.
const PATIENCE: Duration = Duration::from_millis(800);
/// Of it, for asking what lives when something was lost at last.
const HEALING: Duration = Duration::from_millis(300);
/// And for comparing what was told with the kernel's books.
const COMPARING: Duration = Duration::from_millis(200);
/// Threads that do not end by then are left behind.
const JOINING: Duration = Duration::from_millis(100);

/// What comes while the end is waited for.
enum News {
    Reply(Reply),
    Message(Message),
    Room,
}

/// What was lost at last could not be put right.
fn unhealed() -> Limitation {
    let why = "what was told did not agree with the kernel any more, and there was no time to list again what lives";
    Limitation::new(What::Sockets, why, "a larger --ring-size; `twtrace list` says what lives")
}

impl Engine<'_> {
    /// Ends the trace and says what it came to.
    pub(super) async fn end(mut self, why: Why, view: &mut dyn View) -> Result<Summary, Error> {
        let deadline = Instant::now() + PATIENCE;
        view.ending();
        if why == Why::Told {
            self.compare_at_last(view).await?;
        }
        self.healing.stop_comparing();
        if self.options.verify {
            let books = self.books(view).await?;
            self.ledger.enter(Moment::BeforeEnd, books);
        }
        let until = Clock::read();
        self.until_ns = until.mono_ns;
        self.probe.settle();
        let settled_ns = clock::mono_ns();
        let lost = self.probe.loss();
        if self.options.verify {
            let books = self.books(view).await?;
            self.ledger.enter(Moment::AfterEnd, books);
        }
        self.catch_up(settled_ns, view).await?;
        self.report_loss(lost, self.until_ns, view)?;
        self.heal_at_last(view).await?;
        let batch = view.batch(&self.tracker);
        self.written(batch)?;
        view.timed(self.probe.connect_times());
        view.ended(&self.tracker);
        self.flush(why, deadline, view).await?;
        self.conclude(until, lost.loss, view)
    }

    /// Takes in all that had come by `until_ns`.
    async fn catch_up(&mut self, until_ns: u64, view: &mut dyn View) -> Result<(), Error> {
        while self.caught_up_ns < until_ns {
            self.drain.ask_for_mark();
            let message = self.drain.next().await?;
            self.take(message, view)?;
        }
        Ok(())
    }

    /// Compares what was told with the kernel's books once more, while all is still told: a trace may be over before its next turn, and what
    /// no program saw, nobody has counted.
    async fn compare_at_last(&mut self, view: &mut dyn View) -> Result<(), Error> {
        let deadline = Instant::now() + COMPARING;
        self.healing.compare_soon();
        while self.healing.is_comparing() {
            // Births that are counted as lost are not missed.
            let lost = self.probe.loss();
            let _ = self.report_loss(lost, clock::mono_ns(), view)?;
            // What the view says no longer matters.
            let _ = self.heal(view)?;
            if !self.healing.is_comparing() || !self.await_news(deadline, view).await? {
                break;
            }
        }
        Ok(())
    }

    /// After a loss at the very end, what lives is asked for once more, in bounded time.
    async fn heal_at_last(&mut self, view: &mut dyn View) -> Result<(), Error> {
        let deadline = Instant::now() + HEALING;
        self.healing.hurry();
        while self.healing.owes() {
            // What the view says to it no longer matters.
            let _ = self.heal(view)?;
            if !self.await_news(deadline, view).await? {
                break;
            }
        }
        // What was found is true, whether anybody reads it in time or not.
        let _ = self.heal_in(usize::MAX, view)?;
        if self.healing.owes() {
            self.limit([unhealed()]);
        }
        self.tell_limitations(view);
        Ok(())
    }

    /// Takes in what comes next; whether anything did in time.
    async fn await_news(&mut self, deadline: Instant, view: &mut dyn View) -> Result<bool, Error> {
        let news = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                reply = self.lister.reply() => reply.map(News::Reply),
                message = self.drain.next() => message.map(News::Message),
                () = more_to_tell(&*view, self.healing.has_more()) => Ok(News::Room),
            }
        });
        match news.await {
            Ok(Ok(News::Reply(reply))) => self.healing.take(reply),
            Ok(Ok(News::Message(message))) => drop(self.take(message, view)?),
            Ok(Ok(News::Room)) => {}
            Ok(Err(died)) => return Err(died.into()),
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    /// Lets a reader have what is written. One who asked for a number of events is waited for, until a signal says otherwise.
    async fn flush(&mut self, why: Why, deadline: Instant, view: &mut dyn View) -> Result<(), Error> {
        let Some(output) = view.output() else { return Ok(()) };
        let patience = async {
            match why {
                Why::Told => sleep_until(deadline.into()).await,
                Why::View => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = output.emptied() => {}
            () = patience => {}
            _ = self.signals.any() => {}
        }
        output.finish(Instant::now());
        self.take_error(view).map(drop)
    }

    fn conclude(
        mut self,
        until: Clock,
        mut loss: crate::model::event::Loss,
        view: &dyn View,
    ) -> Result<Summary, Error> {
        let counting = if self.probe.counts_expiries() { Counting::Expiries } else { Counting::Births };
        let verdict = self.options.verify.then(|| self.ledger.close(&self.tracker, &loss, counting));
        loss.missed = self.healing.missed();
        loss.unwritten = view.output().map_or(0, crate::output::Writer::unwritten);
        let summary = Summary {
            backend: self.probe.backend(),
            counts: self.tracker.total(),
            live: self.tracker.live(),
            loss,
            skipped: self.probe.skipped(),
            unread: self.unread,
            elapsed_ns: until.mono_ns.saturating_sub(self.started_ns),
            until,
            verdict,
        };
        let joining = Instant::now() + JOINING;
        self.drain.stop(joining)?;
        self.lister.stop(joining)?;
        self.probe.detach();
        Ok(summary)
    }
}
