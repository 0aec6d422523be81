//! Owns: what is recorded of network namespaces: their settings and counters, at the start, at the end, and when one is met
//! that was not there at the start.
//! Must not know: events, files.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::host::net::books::{Books, time_waits};
use crate::host::net::netns::{Netns, discover};
use crate::host::net::sysctls;
use crate::recording::Namespace;

/// How long namespaces are asked, one after the other, while a trace begins or ends.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);
/// The same on a thread of its own.
const BESIDE: Duration = Duration::from_secs(10);

/// Asks those in `only`; where there are none, the caller's own and those that have TIME_WAIT sockets: the others are asked when an event
/// comes from there. What cannot be asked in time is left out.
pub(super) fn ask(only: &[u32], patience: Duration) -> Vec<Namespace> {
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
    in_time.map(namespace).collect()
}

/// Asks those in `known` again: settings that cannot be read any more stay as they were, counters that cannot are not known.
pub(super) fn ask_again(known: &BTreeMap<u32, Namespace>) -> Vec<Namespace> {
    let inodes: Vec<u32> = known.keys().copied().collect();
    let mut now = if inodes.is_empty() { Vec::new() } else { ask(&inodes, PATIENCE) };
    let asked: HashSet<u32> = now.iter().map(|namespace| namespace.netns).collect();
    now.extend(remembered(known).filter(|namespace| !asked.contains(&namespace.netns)));
    now.sort_by_key(|namespace| namespace.netns);
    now
}

/// What is known of namespaces, without counters, which are of another time.
pub(super) fn remembered(known: &BTreeMap<u32, Namespace>) -> impl Iterator<Item = Namespace> {
    known.values().map(|namespace| Namespace { counters: None, ..namespace.clone() })
}

fn namespace(netns: &Netns) -> Namespace {
    Namespace {
        netns: netns.inode,
        name: netns.name.clone(),
        sysctls: sysctls::read(netns).ok(),
        counters: Books::read(netns).ok(),
    }
}

/// Where to send inodes, and where what is known of them comes from.
type Thread = (Sender<Vec<u32>>, Receiver<Vec<Namespace>>);

/// Asks namespaces that are met on the way, on a thread of its own: finding one among many takes longer than events may wait.
pub(super) struct Met {
    known: HashSet<u32>,
    last: u32,
    unasked: Vec<u32>,
    thread: Option<Thread>,
    is_asking: bool,
}

impl Met {
    /// `known` need not be asked.
    pub(super) fn new(known: &[Namespace]) -> Self {
        let known = known.iter().map(|namespace| namespace.netns).collect();
        Self { known, last: 0, unasked: Vec::new(), thread: None, is_asking: false }
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
    pub(super) fn poll(&mut self) -> std::io::Result<Vec<Namespace>> {
        let answer = self.thread.as_ref().and_then(|(_, answers)| answers.try_recv().ok());
        self.is_asking &= answer.is_none();
        if !self.unasked.is_empty() && !self.is_asking {
            if self.thread.is_none() {
                self.thread = Some(start()?);
            }
            let questions = self.thread.as_ref().map(|(questions, _)| questions);
            let unasked = std::mem::take(&mut self.unasked);
            self.is_asking = questions.is_some_and(|questions| questions.send(unasked).is_ok());
        }
        Ok(answer.unwrap_or_default())
    }
}

/// The thread ends with the sender of its questions.
fn start() -> std::io::Result<Thread> {
    let (questions, asked) = channel::<Vec<u32>>();
    let (reply, answers) = channel();
    std::thread::Builder::new().name("namespaces".into()).spawn(move || {
        for namespaces in asked {
            if reply.send(ask(&namespaces, BESIDE)).is_err() {
                return;
            }
        }
    })?;
    Ok((questions, answers))
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
        let mut met = Met::new(&[]);
        assert!(met.poll().unwrap().is_empty() && met.thread.is_none(), "nothing was to be asked");
        [own, own, own].into_iter().for_each(|netns| met.meet(netns));
        let answer = await_answer(&mut met);
        assert_eq!(answer.iter().map(|namespace| namespace.netns).collect::<Vec<_>>(), [own]);
        assert!(answer[0].sysctls.as_ref().is_some_and(|sysctls| sysctls.max_tw_buckets > Some(0)));
        assert!(answer[0].counters.is_some());
        met.meet(1);
        met.meet(own);
        assert_eq!(met.unasked, [1], "the own one was asked for already");
        let mut known = Met::new(&answer);
        known.meet(own);
        assert!(known.unasked.is_empty());
        known.forget(&BTreeMap::new());
        known.meet(own);
        assert_eq!(known.unasked, [own], "another one may have its inode by now");
    }
}
