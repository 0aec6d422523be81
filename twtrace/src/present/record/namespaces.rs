//! Owns: what is recorded of network namespaces: their settings and counters, at the start, at the end, and when one is met
//! that was not there at the start.
//! Must not know: events, files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host::net::books::{Books, time_waits};
use crate::host::net::netns::{Netns, cookie_here, discover};
use crate::host::net::sysctls;
use crate::host::worker::{Died, Worker};
use crate::model::ordering::Ordered as _;
use crate::recording::Namespace;

/// How long namespaces are asked, one after the other, while a trace begins or ends.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same on a thread of its own.
const BESIDE: Duration = Duration::from_secs(10);

/// How long the answers of the end are waited for: one namespace alone may take long.
const LAST: Duration = Duration::from_millis(600);

/// What tells namespaces that were asked for from later ones that have their inodes.
type Cookies = HashMap<u32, u64>;

/// Asks those in `only`; where there are none, the caller's own and those that have TIME_WAIT sockets: the others are asked when an event
/// comes from there. What cannot be asked in time is left out, and so is what is another one than `cookies` say.
fn ask(only: &[u32], patience: Duration, cookies: &Cookies) -> Vec<Namespace> {
    let deadline = Instant::now() + patience;
    let mut all = discover();
    if only.is_empty() {
        let counts = time_waits(&all).unwrap_or_default();
        let mut busy = counts.into_iter().map(|(_, count)| count.is_ok_and(|count| count != 0)).enumerate();
        // The caller's own comes first.
        all.retain(|_| busy.next().is_none_or(|(at, is_busy)| at == 0 || is_busy));
    } else {
        all.retain(|netns| only.contains(&netns.inode));
    }
    let in_time = all.iter().take_while(|_| Instant::now() < deadline);
    in_time.filter_map(|netns| namespace(netns, cookies)).collect()
}

/// What is known of namespaces, without counters, which are of another time.
pub(super) fn remembered(known: &BTreeMap<u32, Namespace>) -> impl Iterator<Item = Namespace> {
    known.values().map(|namespace| Namespace { counters: None, ..namespace.clone() })
}

fn namespace(netns: &Netns, cookies: &Cookies) -> Option<Namespace> {
    let asked = || (cookie_here(), sysctls::read(netns).ok(), Books::read(netns).ok());
    let (cookie, sysctls, counters) = netns.within(asked).unwrap_or_default();
    let known = cookies.get(&netns.inode);
    let is_another = known.zip(cookie).is_some_and(|(one, other)| *one != other);
    let name = netns.name.clone();
    (!is_another).then_some(Namespace { netns: netns.inode, name, sysctls, counters })
}

/// Is asked for inodes, and says what is known of them.
type Asker = Worker<Vec<u32>, Vec<Namespace>>;

/// Asks namespaces that are met on the way, on a thread of its own: finding one among many takes longer than events may wait.
#[derive(Default)]
pub(super) struct Met {
    cookies: Arc<Cookies>,
    known: HashSet<u32>,
    last: u32,
    unasked: Vec<u32>,
    worker: Option<Asker>,
    is_asking: bool,
}

impl Met {
    /// Of those namespaces that these cookies, by inode, are of, later ones are not asked.
    pub(super) fn expecting(cookies: &Cookies) -> Self {
        Self { cookies: Arc::new(cookies.clone()), ..Self::default() }
    }

    /// Asks those in `only`, or all, while a trace begins: they need not be asked later.
    pub(super) fn ask(&mut self, only: &[u32]) -> Vec<Namespace> {
        let asked = ask(only, PATIENCE, &self.cookies);
        self.known.extend(asked.iter().map(|namespace| namespace.netns));
        asked
    }

    /// Begins to ask those in `known` again, which nobody waits for meanwhile.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn ask_again(&self, known: &BTreeMap<u32, Namespace>) -> io::Result<Again> {
        let inodes: Vec<u32> = known.keys().copied().collect();
        let cookies = Arc::clone(&self.cookies);
        let asker = start(move |inodes| ask(inodes, PATIENCE, &cookies))?;
        if !inodes.is_empty() {
            asker.ask(inodes);
        }
        Ok(Again { asker, until: Instant::now() + LAST })
    }

    /// Asks all but those in `known` again, once an event comes from there.
    pub(super) fn forget(&mut self, known: &BTreeMap<u32, Namespace>) {
        (self.known, self.last) = (known.keys().copied().collect(), 0);
    }

    /// An event came from here.
    pub(super) fn meet(&mut self, netns: u32) {
        if netns != self.last {
            self.last = netns;
            if self.known.insert(netns) {
                self.unasked.push(netns);
            }
        }
    }

    /// Asks what is to be asked, and gives what was answered since the last time.
    ///
    /// # Errors
    /// If no thread can be started, or it has ended: what it was asked last is not known. The next time there is another one.
    pub(super) fn poll(&mut self) -> io::Result<Vec<Namespace>> {
        let cookies = Arc::clone(&self.cookies);
        self.poll_with(|| start(move |inodes| ask(inodes, BESIDE, &cookies)))
    }

    fn poll_with(&mut self, start: impl FnOnce() -> io::Result<Asker>) -> io::Result<Vec<Namespace>> {
        let answer = match self.worker.as_mut().map_or(Ok(None), Worker::reply_if_any) {
            Ok(answer) => answer,
            Err(died) => {
                (self.worker, self.is_asking) = (None, false);
                return Err(died.into());
            }
        };
        self.is_asking &= answer.is_none();
        if !self.unasked.is_empty() && !self.is_asking {
            let worker = match self.worker.take() {
                Some(worker) => worker,
                None => start()?,
            };
            worker.ask(std::mem::take(&mut self.unasked));
            (self.worker, self.is_asking) = (Some(worker), true);
        }
        Ok(answer.unwrap_or_default())
    }
}

/// Namespaces that are asked again.
pub(super) struct Again {
    asker: Asker,
    until: Instant,
}

impl Again {
    /// What is known of those in `known` now: settings that cannot be read any more, or not in time, stay as they were, counters that cannot are
    /// not known.
    ///
    /// # Errors
    /// If whoever asks died.
    pub(super) fn answered(self, known: &BTreeMap<u32, Namespace>) -> Result<Vec<Namespace>, Died> {
        let mut now = self.asker.last_replies(self.until)?.concat();
        let asked: HashSet<u32> = now.iter().map(|namespace| namespace.netns).collect();
        now.extend(remembered(known).filter(|namespace| !asked.contains(&namespace.netns)));
        now.order_by_key(|namespace| namespace.netns);
        Ok(now)
    }
}

/// The thread ends with the value. `ask`: see [`ask`].
fn start(ask: impl Fn(&[u32]) -> Vec<Namespace> + Send + 'static) -> io::Result<Asker> {
    Asker::start("namespaces", move |questions, answers| {
        while let Some(inodes) = questions.next() {
            if !answers.send(ask(&inodes)) {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn await_answer(met: &mut Met) -> Vec<Namespace> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = met.poll().unwrap();
            if !answer.is_empty() || Instant::now() > deadline {
                return answer;
            }
            std::thread::yield_now();
        }
    }

    /// The own namespace can be asked without privilege.
    #[test]
    fn a_namespace_that_is_met_is_asked_once() {
        let own = Netns::own().unwrap().inode;
        let mut met = Met::default();
        assert!(met.poll().unwrap().is_empty() && met.worker.is_none(), "nothing was to be asked");
        [own, own, own].into_iter().for_each(|netns| met.meet(netns));
        let answer = await_answer(&mut met);
        assert_eq!(answer.iter().map(|namespace| namespace.netns).collect::<Vec<_>>(), [own]);
        assert!(answer[0].sysctls.as_ref().is_some_and(|sysctls| sysctls.max_tw_buckets > Some(0)));
        assert!(answer[0].counters.is_some());
        met.meet(1);
        met.meet(own);
        assert_eq!(met.unasked, [1], "the own one was asked for already");
        let mut known = Met::default();
        assert_eq!(known.ask(&[own]).len(), 1);
        known.meet(own);
        assert!(known.unasked.is_empty());
        known.forget(&BTreeMap::new());
        known.meet(own);
        assert_eq!(known.unasked, [own], "another one may have its inode by now");
    }

    /// Whoever records again after that asks what it meets then.
    #[test]
    fn that_nobody_asks_any_more_is_an_error_and_the_next_time_there_is_another_one() {
        let mut met = Met::default();
        met.meet(1);
        let deadline = Instant::now() + Duration::from_secs(30);
        let polls = std::iter::repeat_with(|| met.poll_with(|| start(|_| panic!("no such namespace"))));
        let died = polls.take_while(|_| Instant::now() < deadline).find_map(Result::err);
        let died = died.expect("its death is heard of").downcast::<Died>().unwrap();
        assert_eq!(died, Died { name: "namespaces", why: "no such namespace".to_owned() });
        let own = Netns::own().unwrap().inode;
        met.meet(own);
        assert_eq!(await_answer(&mut met).iter().map(|namespace| namespace.netns).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn what_another_one_says_that_has_the_inode_is_not_taken_for_what_was_asked_for() {
        let own = Netns::own().unwrap().inode;
        let Some(cookie) = cookie_here() else { return };
        let known = BTreeMap::from([(
            own,
            Namespace { netns: own, name: Some("nv5".into()), ..Namespace::default() },
        )]);
        let mut same = Met::expecting(&[(own, cookie)].into());
        let ask_again = |met: &Met| met.ask_again(&known).unwrap().answered(&known).unwrap();
        assert!(ask_again(&same)[0].sysctls.is_some() && same.ask(&[own]).len() == 1);
        let mut another = Met::expecting(&[(own, cookie + 1)].into());
        assert!(another.ask(&[own]).is_empty());
        let at_end = ask_again(&another);
        assert_eq!((at_end[0].name.as_deref(), &at_end[0].sysctls), (Some("nv5"), &None));
    }
}
