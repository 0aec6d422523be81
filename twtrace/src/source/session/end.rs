//! Owns: the end of a trace: one moment up to which all is told, and a bound on how long that takes.
//! Must not know: why it ends.
//!
//! The moment is taken while all hooks are attached, so no birth is told without the owner that another hook would have told, and
//! none is taken for an overflow. What happens later is not told.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::drain::Message;
use super::engine::{Engine, Why, more_to_tell, time_is_up};
use super::lister::{Reply, Request};
use super::verify::{Counting, Moment};
use super::{Error, Summary};
use crate::model::clock::{self, Clock};
use crate::model::event::Loss;
use crate::model::limitation::{Limitation, What};
use crate::output::Writer;
use crate::source::View;

/// All of the end takes no longer, but for what the kernel needs, for the books of a `--verify`, each of which may take as long, and for a reader
/// who has had too little of it.
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

/// How long a reader may take for what is written. One who asked for a number of events, or for all until a command ends, is waited for: until
/// `over`, where there is such a time, or else until a signal says otherwise.
fn reader_until(why: Why, deadline: Instant, over: Option<Instant>) -> Option<Instant> {
    match why {
        Why::Told => Some(deadline),
        Why::View => over.map(|over| over.max(deadline)),
    }
}

/// All that was lost: what the tracker heard of, ends that it cannot tell whose they are included; and what came to be known, `last`, since that
/// was `reported`.
fn all_lost(heard: &Loss, reported: &Loss, last: &Loss) -> Loss {
    heard.and(&last.since(reported))
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
            self.enter_books(Moment::BeforeEnd, view).await?;
        }
        let until = Clock::read();
        self.until_ns = until.mono_ns;
        self.probe.settle();
        let settled_ns = clock::mono_ns();
        let lost = self.probe.loss();
        if self.options.verify {
            self.enter_books(Moment::AfterEnd, view).await?;
        }
        self.catch_up(settled_ns, view).await?;
        self.report_loss(lost, self.until_ns, view)?;
        self.heal_at_last(view).await?;
        let batch = view.batch(&self.tracker);
        self.written(batch)?;
        view.timed(self.probe.connect_times());
        view.ended(&self.tracker);
        let reader_until = reader_until(why, deadline, self.over.map(tokio::time::Instant::into_std));
        // The last batch of a recording is only handed over by now.
        let reader_until = view.output().map_or(reader_until, |output| output.deadline(reader_until));
        self.flush(why, reader_until, view).await?;
        self.conclude(until, lost.loss, reader_until, view)
    }

    /// Enters the books of every namespace of interest, while events come in. Where that takes too long, nothing is compared: what was asked for
    /// and comes late would be taken for the next answer.
    async fn enter_books(&mut self, moment: Moment, view: &mut dyn View) -> Result<(), Error> {
        if self.verification.is_short() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        self.lister.ask(Request::Books { only: self.options.filter.netns.clone() });
        while let Some(news) = self.news(deadline, false, view).await? {
            match news {
                News::Reply(Reply::Books { books, .. }) => {
                    self.verification.enter(moment, books?);
                    return Ok(());
                }
                news => self.take_news(news, view)?,
            }
        }
        self.verification.fall_short();
        Ok(())
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
        let has_more = self.healing.has_more();
        let Some(news) = self.news(deadline, has_more, view).await? else { return Ok(false) };
        self.take_news(news, view)?;
        Ok(true)
    }

    /// What comes next, if it comes in time. Room for more is none where there is none to tell.
    async fn news(
        &mut self,
        deadline: Instant,
        has_more: bool,
        view: &dyn View,
    ) -> Result<Option<News>, Error> {
        let news = timeout_at(deadline.into(), async {
            tokio::select! {
                biased;
                reply = self.lister.reply() => reply.map(News::Reply),
                message = self.drain.next() => message.map(News::Message),
                () = more_to_tell(view, has_more) => Ok(News::Room),
            }
        });
        Ok(news.await.ok().transpose()?)
    }

    fn take_news(&mut self, news: News, view: &mut dyn View) -> Result<(), Error> {
        match news {
            News::Reply(reply) => self.healing.take(reply),
            // What the view says to it no longer matters.
            News::Message(message) => drop(self.take(message, view)?),
            News::Room => {}
        }
        Ok(())
    }

    /// Lets a reader have what is written. A signal ends that where none did before: `timeout` sends one to a process and to its group.
    async fn flush(
        &mut self,
        why: Why,
        reader_until: Option<Instant>,
        view: &mut dyn View,
    ) -> Result<(), Error> {
        let Some(output) = view.output() else { return Ok(()) };
        tokio::select! {
            biased;
            () = output.emptied() => {}
            () = time_is_up(reader_until.map(tokio::time::Instant::from_std)) => {}
            _ = self.signals.any(), if why == Why::View => {}
        }
        // One that has written all may have more to write: the end of a recording, say.
        if !output.is_idle() {
            output.finish(Instant::now());
        }
        self.take_error(view).map(drop)
    }

    fn conclude(
        mut self,
        until: Clock,
        loss: Loss,
        reader_until: Option<Instant>,
        view: &dyn View,
    ) -> Result<Summary, Error> {
        let counting = if self.probe.counts_expiries() { Counting::Expiries } else { Counting::Births };
        let unwritten = view.output().map_or(0, Writer::unwritten);
        let last = Loss { missed: self.healing.missed(), unwritten, ..loss };
        let loss = all_lost(self.tracker.loss(), &self.reported, &last);
        let verdict = self.options.verify.then(|| self.verification.close(&self.tracker, &loss, counting));
        let summary = Summary {
            backend: self.probe.backend(),
            counts: self.tracker.total(),
            live: self.tracker.live(),
            loss,
            skipped: self.probe.skipped(),
            unread: self.unread,
            reader_until,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_waited_for_until_the_duration_is_over_if_the_view_ended_before() {
        let now = Instant::now();
        let [deadline, soon, late] = [800, 7, 10_007].map(|ms| now + Duration::from_millis(ms));
        assert_eq!(reader_until(Why::Told, deadline, Some(late)), Some(deadline));
        assert_eq!(reader_until(Why::View, deadline, Some(late)), Some(late));
        assert_eq!(reader_until(Why::View, deadline, Some(soon)), Some(deadline));
        assert_eq!(reader_until(Why::View, deadline, None), None);
    }

    #[test]
    fn what_was_told_as_lost_is_lost_at_the_end_whoever_found_it_out() {
        let reported = Loss { created: 7, ended: 3, unwritten: 11, ..Loss::default() };
        let heard = Loss { ended: 4, ..reported };
        let last = Loss { missed: 2, unwritten: 13, ..reported };
        let want = Loss { created: 7, ended: 4, missed: 2, unwritten: 13, ..Loss::default() };
        assert_eq!(all_lost(&heard, &reported, &last), want);
    }
}
