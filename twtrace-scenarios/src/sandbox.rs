//! Owns: the sandbox of one scenario: a network namespace, its actors, what must be told of it, and whether the
//! kernel's own books agree that it happened.
//! Must not know: any particular scenario, nor how the harness runs them.

use std::fs::File;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use twtrace_kit::actor::{Actor, Half, Pair, Raw, Sock, complete};
use twtrace_kit::books::{self, Books, FIN_WAIT2, Row};
use twtrace_kit::kernel;
use twtrace_kit::netns;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::expect::{Cookie, Outcome, Pattern};
use crate::judge::judge;
use crate::ss;
use crate::tracer::{Setup, Told, within};

/// See the head of the file.
#[derive(Debug)]
pub struct Sandbox {
    /// The twtrace under test, for scenarios that run one of their own.
    pub setup: Setup,
    home: u32,
    spaces: Vec<(u32, File)>,
    actors: Vec<Actor>,
    created_untold: usize,
    ended_untold: usize,
    balanced: bool,
    outcome: Outcome,
}

impl Sandbox {
    /// Moves the calling process into a new network namespace, which is the sandbox's home.
    pub fn new(setup: Setup) -> Result<Self> {
        let home = netns::enter_new()?;
        let spaces = vec![(home, netns::own()?)];
        let outcome = Outcome { netns: vec![home], ..Outcome::default() };
        let (actors, created_untold, ended_untold, balanced) = (Vec::new(), 0, 0, false);
        Ok(Self { setup, home, spaces, actors, created_untold, ended_untold, balanced, outcome })
    }

    /// Inode of the sandbox's home.
    pub fn netns(&self) -> u32 {
        self.home
    }

    /// A new process named `comm`.
    pub fn actor(&mut self, comm: &str) -> Result<Actor> {
        let actor = Actor::start(comm, self.home)?;
        self.actors.push(actor.clone());
        Ok(actor)
    }

    /// A child of `parent` with copies of its sockets.
    pub fn fork(&mut self, parent: &Actor) -> Result<Actor> {
        let child = parent.fork()?;
        self.actors.push(child.clone());
        Ok(child)
    }

    /// A client, a server, and where the server listens: 127.0.0.1:10007.
    pub fn cast(&mut self) -> Result<(Actor, Raw)> {
        let server = self.actor("server")?;
        let listener = server.listen(([127, 0, 0, 1], 10007))?;
        Ok((self.actor("client")?, listener))
    }

    /// Counts the network namespace of `actor` as part of this sandbox and keeps it to the end.
    pub fn keep_netns_of(&mut self, actor: &Actor) -> Result<()> {
        self.spaces.push((actor.netns(), actor.netns_file()?));
        self.watch_netns_of(actor);
        Ok(())
    }

    /// Counts the network namespace of `actor` as part of this sandbox, but lets it go with its processes.
    pub fn watch_netns_of(&mut self, actor: &Actor) {
        self.outcome.netns.push(actor.netns());
    }

    /// A connection from any port.
    pub fn pair(&self, client: &Actor, listener: &Raw) -> Result<Pair> {
        let to = listener.local()?;
        complete(&client.socket(to.is_ipv6(), false)?, listener, to)
    }

    /// A connection from the address `from`, bound with SO_REUSEADDR.
    pub fn pair_from(&self, from: impl Into<SocketAddr>, client: &Actor, listener: &Raw) -> Result<Pair> {
        let (from, to) = (from.into(), listener.local()?);
        let raw = client.socket(to.is_ipv6(), true)?;
        raw.bind(from)?.map_err(|errno| anyhow!("bind to {from}: errno {errno}"))?;
        complete(&raw, listener, to)
    }

    /// These events must be told.
    pub fn expect(&mut self, pattern: Pattern) {
        self.outcome.expected.push(pattern);
    }

    /// All that must be told.
    pub fn expected(&self) -> &[Pattern] {
        &self.outcome.expected
    }

    /// So many TIME_WAIT sockets are in the kernel's books, but were created before anyone could tell.
    pub fn created_untold(&mut self, count: usize) {
        self.created_untold += count;
    }

    /// So many of them ended before anyone could tell.
    pub fn ended_untold(&mut self, count: usize) {
        self.ended_untold += count;
    }

    /// The scenario has compared the kernel's books itself, because it makes too many sockets to expect each.
    pub fn balanced(&mut self) {
        self.balanced = true;
    }

    /// The last events come from what the kernel does in its own time: the harness waits until they have been told.
    pub fn await_told(&mut self) {
        self.outcome.await_told = true;
    }

    /// Something went wrong that is no reason to stop.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.outcome.failures.push(reason.into());
    }

    /// Judges what a twtrace of the scenario's own has told.
    pub fn judge(&mut self, told: &Told, expected: &[Pattern]) -> Result<()> {
        let mut events = told.events()?;
        events.retain(|event| within(event, &self.outcome.netns));
        self.outcome.failures.extend(judge(&events, expected, &self.outcome.cookies));
        Ok(())
    }

    /// As [`Self::judge`], for one of several twtraces; `which` goes before each reason.
    pub fn judge_as(&mut self, which: &str, told: &Told, expected: &[Pattern]) -> Result<()> {
        let before = self.outcome.failures.len();
        if let Err(error) = self.judge(told, expected) {
            self.fail(format!("{error:#}"));
        }
        for reason in self.outcome.failures.iter_mut().skip(before) {
            reason.insert_str(0, &format!("{which}: "));
        }
        Ok(())
    }

    /// Waits until this end is in `state`, as a TIME_WAIT socket or not.
    pub fn wait_state(&self, sock: &Sock, state: u8, time_wait: bool) -> Result<()> {
        let what = format!("state {state} (time_wait {time_wait}) of {} -> {}", sock.local, sock.peer);
        let mut seen = Vec::new();
        let reached = until_true(&what, PATIENCE, || {
            seen = rows_of(sock)?;
            Ok(seen.iter().any(|row| row.state == state && row.time_wait == time_wait))
        });
        reached.with_context(|| format!("{} -> {} is {seen:?}", sock.local, sock.peer))
    }

    /// Has this end wait for its peer's FIN as a mini-socket: shutdown() first, and close() once the FIN is acknowledged. An ACK that
    /// comes during close() may find the socket in use and leave a full one (tcp_rcv_state_process(), net/ipv4/tcp_input.c, 5.10 to
    /// 7.3: `sock_owned_by_user`), which a preemptible kernel in a slow guest does often.
    pub fn half_close(&self, sock: &Sock) -> Result<()> {
        sock.shutdown(Half::Write)?;
        self.wait_state(sock, FIN_WAIT2, false)?;
        sock.close()?;
        self.wait_state(sock, FIN_WAIT2, true)
    }

    /// Waits until the kernel has no socket for this end any more.
    pub fn wait_gone(&self, sock: &Sock) -> Result<()> {
        let what = format!("the end of {} -> {}", sock.local, sock.peer);
        until_true(&what, PATIENCE, || Ok(rows_of(sock)?.is_empty()))
    }

    /// Waits until the sandbox's home has so many TIME_WAIT sockets.
    pub fn wait_live(&self, count: u64) -> Result<()> {
        until_true(&format!("{count} TIME_WAIT sockets"), PATIENCE, || Ok(books::live("self")? == count))
    }

    /// Waits until the kernel's books say what is expected; the reasons where they do not.
    pub fn settle(&mut self) -> Result<()> {
        for (inode, file) in &self.spaces {
            netns::enter(file)?;
            let want = self.wanted(*inode);
            let mut wrong = Vec::new();
            let settled = until_true("the kernel's books", PATIENCE, || {
                wrong = want.against(&books::read("self")?)?;
                Ok(wrong.is_empty())
            });
            if settled.is_err() {
                self.outcome.failures.extend(wrong);
            }
        }
        let (_, home) = self.spaces.first().context("a sandbox has a home")?;
        netns::enter(home)
    }

    fn wanted(&self, inode: u32) -> Wanted {
        let count = |test: &dyn Fn(&Pattern) -> bool| {
            let ours = self.outcome.expected.iter().filter(|pattern| pattern.says("netns", inode));
            ours.filter(|pattern| test(pattern)).map(|pattern| pattern.count as u64).sum::<u64>()
        };
        let at_home = |count: usize| if inode == self.home { count as u64 } else { 0 };
        Wanted {
            created: count(&|pattern| pattern.kind() == "created") + at_home(self.created_untold),
            ended: count(&|pattern| pattern.kind() == "ended") + at_home(self.ended_untold),
            recycled: count(&|pattern| pattern.says("reason", "reused_outgoing")),
            overflow: count(&|pattern| pattern.kind() == "overflow"),
        }
    }

    /// Ends the sandbox: all actors exit, the books are read once more, `ss` is asked. The namespaces stay until the
    /// calling process is gone.
    pub fn finish(mut self) -> Result<Outcome> {
        self.actors.iter().for_each(Actor::dismiss);
        until_true("the actors' end", PATIENCE, || {
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => Ok(true),
                Ok(WaitStatus::StillAlive | WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => Ok(false),
                other => bail!("waiting for an actor: {other:?}"),
            }
        })?;
        if !self.balanced {
            self.settle()?;
            self.ask_ss()?;
        }
        std::mem::forget(self.spaces);
        Ok(self.outcome)
    }

    fn ask_ss(&mut self) -> Result<()> {
        let Some(shown) = ss::time_waits()? else { return Ok(()) };
        let want = self.wanted(self.home);
        if shown.len() as u64 != want.created - want.ended {
            let want = want.created - want.ended;
            self.fail(format!("ss shows {} TIME_WAIT sockets where {want} were made", shown.len()));
        }
        if !ss::has_tcp_diag() {
            return Ok(());
        }
        let cookies = shown.into_iter().filter_map(|shown| {
            let cookie = shown.cookie?;
            Some(Cookie { netns: self.home, local: shown.local, peer: shown.peer, cookie })
        });
        self.outcome.cookies.extend(cookies);
        Ok(())
    }
}

fn rows_of(sock: &Sock) -> Result<Vec<Row>> {
    let mut rows = books::rows(&sock.actor().pid().to_string())?;
    rows.retain(|row| (row.local, row.peer) == (sock.local, sock.peer));
    Ok(rows)
}

/// What the kernel's books must say.
struct Wanted {
    created: u64,
    ended: u64,
    recycled: u64,
    overflow: u64,
}

impl Wanted {
    fn against(&self, books: &Books) -> Result<Vec<String>> {
        let mut pairs = vec![
            ("sockstat tw", self.created - self.ended, books.tw),
            ("TWRecycled", self.recycled, books.tw_recycled),
            ("TCPTimeWaitOverflow", self.overflow, books.overflow),
        ];
        if kernel::counts_creations()? {
            pairs.push(("TW + TWKilled", self.created, books.tw_counter + books.tw_killed));
        }
        let wrong = pairs.into_iter().filter(|(_, want, has)| want != has);
        Ok(wrong.map(|(name, want, has)| format!("the kernel's {name} is {has}, meant {want}")).collect())
    }
}
