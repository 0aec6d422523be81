//! Owns: looking into network namespaces, one or many, and what to say where that fails.
//! Must not know: what is shown of it.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;

use super::{Owners, Socket, passes, role};
use crate::engine::{Capacity, Live};
use crate::host::net::Error;
use crate::host::net::netns::{Netns, hidden, host_inode, survey};
use crate::host::net::sockdiag::{self, DiagSocket, States};
use crate::host::net::sysctls;
use crate::model::clock;
use crate::model::escape;
use crate::model::event::Conn;
use crate::model::filter::Filter;
use crate::model::limitation::{Gathered, Limitation, What};

/// Which namespaces to look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The caller's own.
    Own,
    /// Every one that can be reached.
    All,
    /// These inodes.
    These(Vec<u32>),
}

/// What one namespace showed, past the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetnsSockets {
    /// Inode of the namespace.
    pub netns: u32,
    /// The sockets, in the kernel's order.
    pub sockets: Vec<DiagSocket>,
    /// Ports that somebody listens on.
    pub listeners: HashSet<u16>,
    /// What the namespace allows; `None` where its settings cannot be read.
    pub capacity: Option<Capacity>,
    /// Names of the interfaces that sockets are bound to. Hostile until escaped.
    pub interfaces: HashMap<u32, String>,
    /// What is known of them from elsewhere.
    pub known: HashMap<Conn, Live>,
}

impl NetnsSockets {
    /// What its namespace is called, escaped; the inode where it has no name.
    pub fn called(&self) -> String {
        let name = self.capacity.as_ref().and_then(|capacity| capacity.name.as_deref());
        escape::netns(name, self.netns)
    }

    /// The TIME_WAIT sockets among them, sorted.
    pub fn time_wait(&self) -> Vec<Socket> {
        let waiting = self.sockets.iter().filter(|socket| socket.is_time_wait());
        let mut sockets: Vec<Socket> = waiting
            .map(|socket| {
                let known = self.known.get(&socket.conn(self.netns));
                let role = role(self.listeners.contains(&socket.sport), known);
                let ifname = self.interfaces.get(&socket.ifindex).cloned();
                Socket::of(self.netns, socket, role, ifname, known.cloned())
            })
            .collect();
        sockets.sort_by_cached_key(Socket::order);
        sockets
    }
}

/// Looks into the chosen namespaces for sockets in `states`.
///
/// # Errors
/// [`Error::Spec`] for an inode that no way leads to. Where namespaces were named, or there is but one: what went wrong
/// with it. Where all are looked into, that is a note.
pub fn sockets_in(
    choice: &Choice,
    states: States,
    filter: &Filter,
    owners: &Owners,
) -> Result<(Vec<NetnsSockets>, Vec<Limitation>), Error> {
    let Listed { all, mut notes } = listed(choice, states)?;
    let seen = join(all, choice, states, (filter, owners), &mut notes)?;
    Ok((seen, notes.told()))
}

/// What the kernel listed of one namespace.
struct One {
    netns: Netns,
    sockets: Vec<DiagSocket>,
    /// CLOCK_MONOTONIC when that began, in nanoseconds.
    listed_ns: u64,
}

/// What the kernel listed. Who owns what is to be learnt next: then it need be learnt of these only.
pub struct Listed {
    all: Vec<One>,
    notes: Gathered,
}

impl Listed {
    /// The TIME_WAIT sockets among them.
    pub fn conns(&self) -> HashSet<Conn> {
        let of = |one: &One| {
            let netns = one.netns.inode;
            let waiting = one.sockets.iter().filter(|socket| socket.is_time_wait());
            waiting.map(move |socket| socket.conn(netns)).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of).collect()
    }

    /// How many TIME_WAIT sockets there are.
    pub fn time_waits(&self) -> usize {
        self.all.iter().flat_map(|one| &one.sockets).filter(|socket| socket.is_time_wait()).count()
    }

    /// Joins them with what is known of them, and leaves what the filter lets pass.
    ///
    /// # Errors
    /// As [`sockets_in`].
    pub fn seen(
        self,
        choice: &Choice,
        states: States,
        filter: &Filter,
        owners: &Owners,
    ) -> Result<(Vec<NetnsSockets>, Vec<Limitation>), Error> {
        let Self { all, mut notes } = self;
        let seen = join(all, choice, states, (filter, owners), &mut notes)?;
        Ok((seen, notes.told()))
    }
}

/// What the kernel lists: the first half, before who owns what is learnt ([`Listed::seen`]).
///
/// # Errors
/// As [`sockets_in`].
pub fn listed(choice: &Choice, states: States) -> Result<Listed, Error> {
    let (mut notes, mut all) = (Gathered::default(), Vec::new());
    for netns in chosen(choice, &mut notes)? {
        let listed_ns = clock::mono_ns();
        let listing = sockdiag::tcp(&netns, states.or(States::LISTEN));
        if let Some(listing) = tolerated(listing, choice, netns.inode, &mut notes)? {
            if let Some(degraded) = listing.degraded {
                notes.add_of(netns.inode, What::Sockets, &degraded, degraded.remedy());
            }
            all.push(One { netns, sockets: listing.sockets, listed_ns });
        }
    }
    Ok(Listed { all, notes })
}

fn join(
    all: Vec<One>,
    choice: &Choice,
    states: States,
    known: (&Filter, &Owners),
    notes: &mut Gathered,
) -> Result<Vec<NetnsSockets>, Error> {
    let mut seen = Vec::new();
    for one in all {
        let inode = one.netns.inode;
        let joined = join_one(one, states, known, notes);
        seen.extend(tolerated(joined, choice, inode, notes)?);
    }
    Ok(seen)
}

/// Where all namespaces are looked into, one that cannot be is a note.
fn tolerated<T>(
    done: Result<T, Error>,
    choice: &Choice,
    netns: u32,
    notes: &mut Gathered,
) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        // It went away between the two looks, and its sockets with it.
        Err(Error::Gone { .. }) if *choice == Choice::All => Ok(None),
        Err(error) if *choice == Choice::All => {
            notes.add_of(netns, What::Namespaces, &error, &error.remedy());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn chosen(choice: &Choice, notes: &mut Gathered) -> Result<Vec<Netns>, Error> {
    if *choice == Choice::Own {
        return Ok(vec![Netns::own()?]);
    }
    let found = survey();
    let Choice::These(wanted) = choice else {
        if !found.hidden_processes.is_empty() {
            notes.add(hidden(&found.hidden_processes));
        }
        return Ok(found.namespaces);
    };
    let one = |inode: &u32| {
        let netns = found.namespaces.iter().find(|netns| netns.inode == *inode);
        netns.cloned().ok_or_else(|| Error::Spec {
            value: inode.to_string(),
            why: "no process and no mount leads to that namespace; `lsns -t net` lists those there are, and as root \
                  there are more"
                .to_owned(),
        })
    };
    wanted.iter().map(one).collect()
}

fn join_one(
    one: One,
    states: States,
    (filter, owners): (&Filter, &Owners),
    notes: &mut Gathered,
) -> Result<NetnsSockets, Error> {
    let One { netns, mut sockets, listed_ns } = one;
    let listeners: HashSet<u16> = sockdiag::listening_ports(&sockets);
    let mut known = HashMap::new();
    sockets.retain(|socket| {
        let conn = socket.conn(netns.inode);
        let live = socket.is_time_wait().then(|| owners.of(&conn, socket, listed_ns)).flatten();
        let is_served = listeners.contains(&socket.sport);
        let is_wanted = states.contains(socket.state) && passes(filter, netns.inode, socket, is_served, live);
        if let (true, Some(live)) = (is_wanted, live) {
            known.insert(conn, live.clone());
        }
        is_wanted
    });
    let capacity = match sysctls::read(&netns) {
        Ok(settings) => Some(Capacity { name: netns.called(host_inode()), settings }),
        Err(error) => {
            notes.add_of(netns.inode, What::Settings, &error, &error.remedy());
            None
        }
    };
    let bound: HashSet<u32> =
        sockets.iter().map(|socket| socket.ifindex).filter(|index| *index != 0).collect();
    let interfaces = if bound.is_empty() { HashMap::new() } else { netns.within(|| names(&bound))? };
    Ok(NetnsSockets { netns: netns.inode, sockets, listeners, capacity, interfaces, known })
}

/// Names of interfaces in the calling thread's namespace.
fn names(indexes: &HashSet<u32>) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for index in indexes {
        let mut buffer = [0_u8; libc::IF_NAMESIZE];
        // SAFETY: the buffer has the IF_NAMESIZE bytes that if_indextoname(3) writes at most.
        let name = unsafe { libc::if_indextoname(*index, buffer.as_mut_ptr().cast()) };
        if let (false, Ok(name)) = (name.is_null(), CStr::from_bytes_until_nul(&buffer)) {
            names.insert(*index, name.to_string_lossy().into_owned());
        }
    }
    names
}
