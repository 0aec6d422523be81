//! Owns: how a trace begins: hooks attached, the drain and the lister started, what lives listed beside the first events.
//! Must not know: what the view does, how a trace goes on.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::alarm::Alarm;
use super::drain::Drain;
use super::engine::{Engine, more_to_tell, next_signal};
use super::healing::Healing;
use super::lister::{self, Lister, Reply, Request, Same};
use super::scope::Scope;
use super::signals::Signals;
use super::verify::{Moment, Verification};
use super::{Error, Options};
use crate::engine::Tracker;
use crate::host::identity::IdentityCache;
use crate::host::net::netns::own_inode;
use crate::host::runtimes::Runtimes;
use crate::kernel::probe::{self, Probe};
use crate::model::clock;
use crate::model::event::Loss;
use crate::model::filter::Omissions;
use crate::model::limitation::Limitations;
use crate::source::{Flow, View};

/// How long the beginning waits for the list of what lives.
const FIRST_LISTING: Duration = Duration::from_secs(1);
/// How long the first books are waited for: every process is looked through for them, for the first time.
const FIRST_BOOKS: Duration = Duration::from_secs(2);
/// Processes whose identity is remembered.
const IDENTITIES: usize = 16_384;

impl<'a> Engine<'a> {
    /// Attaches the hooks and begins to drain.
    pub(super) async fn attach(options: &'a Options) -> Result<Self, Error> {
        super::surroundings::permit(&options.filter)?;
        let mut signals = Signals::listen().map_err(Error::Wait)?;
        let children = signal(SignalKind::child()).map_err(Error::Wait)?;
        let same = Same::of(&options.filter.netns);
        let cookies = same.cookies();
        let (filter, namespaces) = (options.filter.kernel(), all_of(&options.filter.netns, &cookies));
        let setup = probe::Options { filter, namespaces, ..options.probe.clone() };
        let mut lister = lister::start(same).map_err(Error::Wait)?;
        let mut early = Early::default();
        early.read(Moment::BeforeAttach, options, &mut lister, late(&mut signals)).await?;
        let mut probe = Probe::attach(&setup, &|| lister::listeners(&options.filter.netns))?;
        if probe.tells_namespaces_apart() {
            lister.ask(Request::AreToldApart);
        }
        let started_ns = clock::mono_ns();
        early.read(Moment::AfterAttach, options, &mut lister, late(&mut signals)).await?;
        let ring = probe.take_ring().ok_or_else(|| Error::Wait(std::io::Error::other("there is no ring")))?;
        let mut tracker = Tracker::new();
        tracker.advance(started_ns);
        tracker.expect_netns(cookies);
        let scope = Scope::of(&options.filter);
        tracker.count_a_part(Omissions::of(&scope.filter().words()));
        let mut healing = Healing::new(scope.filter().clone(), !probe.counts_expiries());
        healing.watch(others(&options.filter.netns));
        early.replies.into_iter().for_each(|reply| healing.take(reply));
        Ok(Self {
            options,
            scope,
            probe,
            drain: Drain::start(ring).map_err(Error::Wait)?,
            lister,
            signals,
            early: early.signal,
            children,
            woken: Arc::default(),
            tracker,
            identities: IdentityCache::new(
                IDENTITIES,
                options.runtimes.clone().map(Runtimes::new),
                options.command_lines,
            ),
            healing,
            reported: Loss::default(),
            verification: early.verification,
            started_ns,
            over: options.over(),
            alarm: Alarm::new().map_err(Error::Wait)?,
            looked: Instant::now(),
            loss_checked_ns: started_ns,
            until_ns: u64::MAX,
            caught_up_ns: 0,
            unread: false,
            limitations: Limitations::default(),
            limitations_told: 0,
        })
    }

    /// Lists what lives, beside the events. Where that takes long, the rest is told later.
    pub(super) async fn list_first(&mut self, view: &mut dyn View) -> Result<Flow, Error> {
        self.healing.begin();
        let patience = sleep(FIRST_LISTING);
        let mut patience = pin!(patience);
        loop {
            if self.heal(view)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            if !self.healing.is_listing() {
                return Ok(Flow::Go);
            }
            let flow = tokio::select! {
                biased;
                signal = next_signal(&mut self.early, &mut self.signals) => {
                    self.early = Some(signal);
                    return Ok(Flow::Go);
                }
                reply = self.lister.reply() => {
                    self.healing.take(reply?);
                    Flow::Go
                }
                message = self.drain.next() => self.take(message?, view)?,
                () = more_to_tell(&*view, self.healing.has_more()) => Flow::Go,
                () = &mut patience => {
                    crate::note!("twtrace: sockets that were there before are still being listed: the rest is told later");
                    return Ok(Flow::Go);
                }
            };
            if flow == Flow::Stop {
                return Ok(flow);
            }
        }
    }
}

/// Those that can go while this process is there.
fn others(netns: &[u32]) -> impl Iterator<Item = u32> {
    let own = own_inode().ok();
    netns.iter().copied().filter(move |netns| Some(*netns) != own)
}

/// What tells namespaces from later ones, where that is known of all of them.
fn all_of(inodes: &[u32], cookies: &HashMap<u32, u64>) -> Vec<(u32, u64)> {
    let inodes: BTreeSet<u32> = inodes.iter().copied().collect();
    let known = inodes.iter().map(|inode| Some((*inode, *cookies.get(inode)?)));
    known.collect::<Option<_>>().unwrap_or_default()
}

/// What the lister says before there is anybody to take it in.
#[derive(Default)]
struct Early {
    verification: Verification,
    /// Besides the books: what became of a namespace is said once.
    replies: Vec<Reply>,
    /// A signal that came meanwhile.
    signal: Option<i32>,
}

/// A signal, or nothing where that much time has passed.
async fn late(signals: &mut Signals) -> Option<i32> {
    timeout(FIRST_BOOKS, signals.any()).await.ok()
}

impl Early {
    /// Reads the books where they are to be compared, until it is `late`: then nothing is compared, as at the end.
    async fn read(
        &mut self,
        moment: Moment,
        options: &Options,
        lister: &mut Lister,
        late: impl Future<Output = Option<i32>>,
    ) -> Result<(), Error> {
        if !options.verify || self.verification.is_short() {
            return Ok(());
        }
        lister.ask(Request::Books { only: options.filter.netns.clone() });
        let mut late = pin!(late);
        loop {
            let reply = tokio::select! {
                biased;
                reply = lister.reply() => reply?,
                signal = &mut late => {
                    self.signal = signal;
                    self.verification.fall_short();
                    return Ok(());
                }
            };
            match reply {
                Reply::Books { books, .. } => {
                    self.verification.enter(moment, books?);
                    return Ok(());
                }
                other => self.replies.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_is_said_besides_the_first_books_is_kept() {
        let mut lister = Lister::start("books", |requests, replies| {
            while let Some(Request::Books { .. }) = requests.next() {
                replies.send(Reply::Changed { span: lister::Span::default(), changed: Vec::new() });
                replies.send(Reply::Books { books: Ok(Vec::new()) });
            }
        })
        .unwrap();
        let mut early = Early::default();
        early.read(Moment::BeforeAttach, &Options::default(), &mut lister, pending()).await.unwrap();
        assert!(early.replies.is_empty(), "nobody wants to compare");
        let options = Options { verify: true, ..Options::default() };
        early.read(Moment::BeforeAttach, &options, &mut lister, pending()).await.unwrap();
        early.read(Moment::AfterAttach, &options, &mut lister, pending()).await.unwrap();
        assert!(matches!(early.replies[..], [Reply::Changed { .. }, Reply::Changed { .. }]));
    }

    #[tokio::test]
    async fn first_books_that_do_not_come_are_left_for_a_signal_and_when_time_is_up() {
        for signal in [Some(libc::SIGTERM), None] {
            let (asked, count) = std::sync::mpsc::channel();
            let mut lister = Lister::start("books", move |requests, _| {
                while let Some(request) = requests.next() {
                    asked.send(request).unwrap();
                }
            })
            .unwrap();
            let mut early = Early::default();
            let options = Options { verify: true, ..Options::default() };
            for moment in [Moment::BeforeAttach, Moment::AfterAttach] {
                early.read(moment, &options, &mut lister, ready(signal)).await.unwrap();
            }
            assert_eq!((early.signal, early.verification.is_short()), (signal, true));
            drop(lister);
            assert_eq!(count.iter().count(), 1, "what comes late is not taken for the next answer");
        }
    }
}
