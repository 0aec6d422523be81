//! Owns: what the tracker cannot know by itself: how many ports each network namespace has, which are held by other sockets,
//! which processes are gone, and how much memory the kernel holds.
//! Must not know: what is shown of it.
//!
//! Namespaces are asked on a thread of their own: with many of them, or many sockets, that takes longer than events may wait.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::ports::in_use;
use crate::diagnose::gather::holders;
use crate::engine::{Capacity, PortKey, ProcessKey, Tracker, TupleKey};
use crate::host::identity::pids;
use crate::host::net::netns::{Netns, cookie_here, discover, host_inode};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::host::net::{slabinfo, sysctls};
use crate::host::worker::{Died, Worker};
use crate::model::event::Comm;
use crate::model::ports::Ports;

const SECOND_NS: u64 = 1_000_000_000;
/// How often namespaces are asked, at most.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// The share of its time that the asking thread may work.
const IDLE_FACTOR: u32 = 50;
/// The same where nothing happens, and at which pause it ends: what is told then is a minute old at most.
const SPARING_FACTOR: u32 = 2000;
const SPARING_PAUSE: Duration = Duration::from_secs(60);
/// Namespaces that no event was about and that are asked as well, at most.
const BESIDE: usize = 64;

/// A TIME_WAIT socket with more time left than this may have been born so lately that nobody has heard of it yet, in milliseconds.
const HEARD_OF_MS: u32 = 59_000;

/// What a namespace said.
#[derive(Debug)]
struct Answer {
    netns: u32,
    /// Whose answer it is: see [`cookie_here`].
    cookie: Option<u64>,
    capacity: Capacity,
    others: HashMap<TupleKey, Ports>,
    /// Its TIME_WAIT sockets, where they were asked for.
    waiting: Vec<DiagSocket>,
}

/// What all that were asked said.
#[derive(Debug)]
struct Round {
    answers: Vec<Answer>,
    slab_bytes: Option<u64>,
    /// Who listens where; `None` where that was not asked for.
    listeners: Option<HashMap<PortKey, ProcessKey>>,
    took: Duration,
}

/// What is asked: about these namespaces, whether who listens there, and which TIME_WAIT sockets they have.
#[derive(Debug)]
struct Question {
    namespaces: Vec<u32>,
    wants_listeners: bool,
    wants_waiting: bool,
}

/// Keeps a tracker informed.
#[derive(Debug)]
pub struct Upkeep {
    worker: Worker<Question, Round>,
    /// Namespaces that are being asked, or were asked last.
    asked: Vec<u32>,
    is_asking: bool,
    ask_at_ns: u64,
    /// The same where something has happened since.
    ask_stirred_at_ns: u64,
    /// Something has happened since they were asked.
    is_stirred: bool,
    /// When namespaces that were never asked may be.
    ask_new_at_ns: u64,
    refresh_at_ns: u64,
    /// Pids can be looked up here.
    sees_processes: bool,
    slab_bytes: Option<u64>,
    is_sparing: bool,
}

impl Upkeep {
    /// Starts the asking thread, which ends with the value returned.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start() -> std::io::Result<Self> {
        Self::asking(ask)
    }

    /// `ask`: see [`ask`].
    fn asking(ask: fn(&Question) -> Round) -> std::io::Result<Self> {
        let worker = Worker::start("upkeep", move |questions, rounds| {
            while let Some(question) = questions.next() {
                if !rounds.send(ask(&question)) {
                    return;
                }
            }
        })?;
        let sees_processes = pids::are_ours();
        Ok(Self {
            worker,
            asked: Vec::new(),
            is_asking: false,
            ask_at_ns: 0,
            ask_stirred_at_ns: 0,
            is_stirred: false,
            ask_new_at_ns: 0,
            refresh_at_ns: 0,
            sees_processes,
            slab_bytes: None,
            is_sparing: false,
        })
    }

    /// Asks less often while nothing happens, so that it costs less: for who stays, and says when something does ([`Upkeep::stir`]).
    #[must_use]
    pub fn sparing(self) -> Self {
        Self { is_sparing: true, ..self }
    }

    /// Something happened: what was answered before may be so no more.
    pub fn stir(&mut self) {
        self.is_stirred = true;
        self.ask_at_ns = self.ask_at_ns.min(self.ask_stirred_at_ns);
    }

    /// Memory of all TIME_WAIT sockets in the kernel, in bytes, when last looked; `None` where it may not be read.
    pub fn slab_bytes(&self) -> Option<u64> {
        self.slab_bytes
    }

    /// Does what is due at `now_ns` of CLOCK_MONOTONIC. Cheap when nothing is: meant to be called often.
    ///
    /// # Errors
    /// If the asking thread has ended: what it said last would stay, and be taken for what is so now.
    pub fn run(&mut self, tracker: &mut Tracker, now_ns: u64) -> Result<(), Died> {
        if let Some(round) = self.worker.reply_if_any()? {
            self.take(round, tracker, now_ns);
        }
        if now_ns < self.refresh_at_ns {
            return Ok(());
        }
        self.refresh_at_ns = now_ns + SECOND_NS;
        if self.sees_processes {
            let gone = gone(tracker.present().into_iter().collect(), pids::exists);
            if !gone.is_empty() {
                tracker.mark_gone(&gone);
            }
        }
        let new = |(netns, known): (u32, Option<&Capacity>)| known.is_none() && !self.asked.contains(&netns);
        let is_due =
            now_ns >= self.ask_at_ns || now_ns >= self.ask_new_at_ns && tracker.capacities().any(new);
        if is_due && !self.is_asking {
            self.asked = tracker.capacities().map(|(netns, _)| netns).collect();
            let wants_listeners = tracker.wants_listeners();
            // Whoever is left out takes ports as well.
            let wants_waiting = tracker.hides_sockets();
            if wants_waiting {
                tracker.note_ends();
            }
            let question = Question { namespaces: self.asked.clone(), wants_listeners, wants_waiting };
            self.worker.ask(question);
            (self.is_asking, self.is_stirred) = (true, false);
        }
        Ok(())
    }

    fn take(&mut self, round: Round, tracker: &mut Tracker, now_ns: u64) {
        let Round { mut answers, slab_bytes, listeners, took } = round;
        // Of what is gone, nobody else's answer says anything.
        answers.retain(|answer| !tracker.is_another(answer.netns, answer.cookie));
        if let Some(mut listeners) = listeners {
            let answered: HashSet<u32> = answers.iter().map(|answer| answer.netns).collect();
            listeners.retain(|port, _| answered.contains(&port.netns));
            tracker.set_listeners(listeners);
        }
        // Of a list that was too long on its way nothing is known by now.
        let (ended, is_known) = tracker.take_ends();
        let (mut capacities, mut other_ports) = (Vec::new(), Vec::new());
        for Answer { netns, capacity, mut others, waiting, .. } in answers {
            let is_hidden = |socket: &&DiagSocket| {
                let conn = socket.conn(netns);
                socket.expires_ms <= HEARD_OF_MS && !tracker.knows(&conn) && !ended.contains(&conn)
            };
            let hidden = waiting.iter().filter(|_| is_known).filter(is_hidden);
            for (tuple, hidden) in in_use(netns, hidden, &capacity.settings) {
                let held = others.entry(tuple).or_default();
                (held.time_wait, held.fin_wait2) = (hidden.time_wait, hidden.fin_wait2);
            }
            capacities.push((netns, capacity));
            other_ports.push((netns, others));
        }
        tracker.set_capacities(capacities);
        tracker.set_other_ports(other_ports);
        let pause = took * IDLE_FACTOR;
        let after =
            |pause: Duration| now_ns.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        let usual = pause.max(ASK_EVERY);
        let sparing = (took * SPARING_FACTOR).min(SPARING_PAUSE);
        let is_quiet = self.is_sparing && !self.is_stirred && !tracker.hides_sockets();
        let next = if is_quiet { usual.max(sparing) } else { usual };
        (self.ask_at_ns, self.ask_stirred_at_ns) = (after(next), after(usual));
        self.ask_new_at_ns = after(pause);
        self.slab_bytes = slab_bytes;
        self.is_asking = false;
    }
}

fn ask(question: &Question) -> Round {
    let began = Instant::now();
    let namespaces = discover();
    let is_wanted = |netns: &&Netns| question.namespaces.contains(&netns.inode);
    // Where nothing happened ports may be in use as well.
    let beside = namespaces.iter().filter(|netns| !is_wanted(netns)).take(BESIDE);
    let host = host_inode();
    let here = namespaces.iter().filter(is_wanted).map(|netns| answer(netns, host, question.wants_waiting));
    // One that cannot be entered, or is gone, has no capacity that anybody knows.
    let answers = here.chain(beside.map(|netns| answer(netns, host, false))).flatten().collect();
    let slab_bytes = slabinfo::time_wait().ok().flatten().map(|slab| slab.bytes);
    let listeners = question.wants_listeners.then(|| listeners(namespaces.iter().filter(is_wanted)));
    Round { answers, slab_bytes, listeners, took: began.elapsed() }
}

/// Who listens on which port of these namespaces. Where several do, none: nobody can tell whose a socket was.
fn listeners<'a>(namespaces: impl Iterator<Item = &'a Netns>) -> HashMap<PortKey, ProcessKey> {
    let listening = |netns: &'a Netns| {
        let sockets = sockdiag::tcp(netns, States::LISTEN).map_or_else(|_| Vec::new(), |found| found.sockets);
        sockets.into_iter().map(|socket| (PortKey { netns: netns.inode, sport: socket.sport }, socket.inode))
    };
    let inodes: Vec<(PortKey, u32)> = namespaces.flat_map(listening).collect();
    let holders = holders::find(&inodes.iter().map(|(_, inode)| *inode).collect());
    let mut known: HashMap<PortKey, Option<ProcessKey>> = HashMap::new();
    for (port, inode) in inodes {
        let Some(holder) = holders.get(&inode) else { continue };
        let key = ProcessKey {
            pid: holder.pid.unwrap_or(0),
            start_ns: holder.start_ns,
            comm: Comm::new(&holder.comm),
        };
        known.entry(port).and_modify(|one| *one = one.filter(|one| *one == key)).or_insert(Some(key));
    }
    known.into_iter().filter_map(|(port, key)| Some((port, key?))).collect()
}

fn answer(netns: &Netns, host: Option<u32>, wants_waiting: bool) -> Result<Answer, crate::host::net::Error> {
    let states =
        if wants_waiting { States::CONNECTED.or(States::TIME_WAIT_OR_FIN_WAIT2) } else { States::CONNECTED };
    let asked = || Ok((cookie_here(), sysctls::read(netns)?, sockdiag::tcp(netns, states)?.sockets));
    let (cookie, settings, sockets) = netns.within(asked)??;
    let (waiting, others): (Vec<_>, Vec<_>) = sockets.into_iter().partition(DiagSocket::is_time_wait);
    // Those in FIN_WAIT2 come either way.
    let waiting = if wants_waiting { waiting } else { Vec::new() };
    let others = in_use(netns.inode, others.iter(), &settings);
    let capacity = Capacity { name: netns.called(host), settings };
    Ok(Answer { netns: netns.inode, cookie, capacity, others, waiting })
}

/// Which of `present`, told by pid and start time, are gone. Of two with the same pid, the one that started later is who has it now.
fn gone(mut present: Vec<(u32, u64)>, exists: impl Fn(u32) -> bool) -> HashSet<(u32, u64)> {
    present.sort_unstable();
    let is_last = |at: usize| present.get(at + 1).is_none_or(|next| next.0 != present[at].0);
    (0..present.len()).filter(|&at| !is_last(at) || !exists(present[at].0)).map(|at| present[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_is_used_again_leaves_its_first_owner_gone() {
        let present = vec![(7, 30), (5, 1), (7, 10), (9, 2)];
        assert_eq!(gone(present, |pid| pid != 9), [(7, 10), (9, 2)].into());
    }

    #[test]
    fn that_nobody_asks_any_more_is_an_error_and_no_old_figures() {
        let mut upkeep = Upkeep::asking(|_| panic!("no such namespace")).unwrap();
        let mut tracker = Tracker::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        let runs = std::iter::repeat_with(|| upkeep.run(&mut tracker, 0));
        let died = runs.take_while(|_| Instant::now() < deadline).find_map(Result::err);
        let died = died.expect("its death is heard of");
        assert_eq!(died, Died { name: "upkeep", why: "no such namespace".to_owned() });
    }

    #[test]
    fn own_namespace_answers_for_itself() {
        let own = Netns::own().unwrap();
        let question =
            |inode| Question { namespaces: vec![inode], wants_listeners: true, wants_waiting: false };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sport = listener.local_addr().unwrap().port();
        let round = ask(&question(own.inode));
        assert_eq!(round.answers[0].netns, own.inode, "what was asked for comes first");
        let settings = sysctls::read(&own).unwrap();
        assert_eq!(round.answers[0].capacity, Capacity { name: own.called(host_inode()), settings });
        let found = round.listeners.unwrap();
        let pid = found.get(&PortKey { netns: own.inode, sport }).map(|key| key.pid);
        assert_eq!(pid, pids::are_the_kernels().then(std::process::id));
        assert!(ask(&question(1)).answers.iter().all(|answer| answer.netns != 1));
    }
}
