//! Owns: what is recorded of network namespaces: their settings and counters, at the start, at the end, and when one is met
//! that was not there at the start.
//! Must not know: events, files.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::net::books::snapshot_all;
use crate::net::netns::{Netns, discover};
use crate::net::sysctls::Sysctls;
use crate::recording::Namespace;

/// Asks every namespace that can be reached, or only those in `only` where there are any.
pub(super) fn ask(only: &[u32]) -> Vec<Namespace> {
    let mut all = discover();
    all.retain(|netns| only.is_empty() || only.contains(&netns.inode));
    let books = snapshot_all(&all).unwrap_or_default();
    let counters = |netns: &Netns| {
        let found = books.iter().find(|(inode, _)| *inode == netns.inode)?;
        found.1.as_ref().ok().map(|books| (*books).into())
    };
    let namespace = |netns: &Netns| Namespace {
        netns: netns.inode,
        name: netns.name.clone(),
        sysctls: Sysctls::read(netns).ok().as_ref().map(Into::into),
        counters: counters(netns),
    };
    all.iter().map(namespace).collect()
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
            if reply.send(ask(&namespaces)).is_err() {
                return;
            }
        }
    })?;
    Ok((questions, answers))
}
