//! Owns: what a trace, a listing or a recording cannot see on the machine it looks at, why, and what would help; and of many namespaces for
//! the same reason, told once for all of them.
//! Must not know: who found it out, how it is shown.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use crate::model::escape::printable;

/// What cannot be seen. The names in JSON are for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Who accepted a connection.
    Openers,
    /// Failures of connect().
    ConnectFailed,
    /// Failures of connect() of IPv6 sockets.
    ConnectFailedIpv6,
    /// Failures of bind() and listen().
    BindFailed,
    /// What io_uring and 32-bit programs do: who accepted a connection, failures of bind() and listen().
    OtherCalls,
    /// Connections that this host ends with an RST of its own.
    Aborted,
    /// SYNs that met a TIME_WAIT socket and were not taken.
    SynRefused,
    /// How long connect() looks for a port.
    ConnectTimes,
    /// Nothing: another hook tells the same, at more cost.
    Cost,
    /// Why TIME_WAIT sockets end early.
    EndReasons,
    /// What is in network namespaces that cannot be found or entered.
    Namespaces,
    /// Sockets of a namespace: who lives now.
    Sockets,
    /// The kernel's own counters.
    Counters,
    /// Settings of a namespace.
    Settings,
    /// Programs, command lines and containers of processes.
    Processes,
    /// Memory of TIME_WAIT sockets.
    Memory,
    /// What is in network namespaces that were asked for and are gone.
    GoneNamespaces,
    /// Which of the network namespaces that had one inode in turn something was of.
    ReusedNamespaces,
    /// Nothing: twtrace has more power than it needs while it runs.
    Sandbox,
    /// Something that a later version knows.
    #[serde(other)]
    Other,
}

impl What {
    /// In words for a user.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Openers => "the opener of accepted connections",
            Self::ConnectFailed => "connect_failed events",
            Self::ConnectFailedIpv6 => "connect_failed events of IPv6 sockets",
            Self::BindFailed => "bind_failed events",
            Self::OtherCalls => "bind_failed events and openers of io_uring and of 32-bit programs",
            Self::Aborted => "aborted events",
            Self::SynRefused => "syn_refused events",
            Self::ConnectTimes => "how long connect() takes",
            Self::Cost => "nothing, at more cost a connection",
            Self::EndReasons => "the reason of TIME_WAIT sockets that end early (shown as unknown)",
            Self::Namespaces => "settings of other network namespaces, and sockets that are there already",
            Self::Sockets => "some sockets that are there already",
            Self::Counters => "the kernel's counters",
            Self::Settings => "settings of network namespaces",
            Self::Processes => "programs, command lines and containers of processes",
            Self::Memory => "memory of TIME_WAIT sockets",
            Self::GoneNamespaces => "network namespaces that are gone",
            Self::ReusedNamespaces => "which one it was of network namespaces that had an inode in turn",
            Self::Sandbox => "nothing, with more power than is needed",
            Self::Other => "something that this version does not know",
        }
    }

    /// Whether it is so on every machine with such a kernel or backend, and of little moment: then nobody is told at start.
    pub const fn is_usual(self) -> bool {
        matches!(self, Self::OtherCalls | Self::SynRefused | Self::Cost | Self::Sandbox)
    }

    /// Whether trouble with ports can hide in it: a diagnosis that does not have it cannot say that all is well.
    pub const fn hides_trouble(self) -> bool {
        match self {
            Self::ConnectFailed
            | Self::ConnectFailedIpv6
            | Self::BindFailed
            | Self::Namespaces
            | Self::Sockets
            | Self::GoneNamespaces
            | Self::Other => true,
            Self::OtherCalls
            | Self::Openers
            | Self::Aborted
            | Self::SynRefused
            | Self::ConnectTimes
            | Self::Cost
            | Self::EndReasons
            | Self::Counters
            | Self::Settings
            | Self::Processes
            | Self::Memory
            | Self::ReusedNamespaces
            | Self::Sandbox => false,
        }
    }

    /// Its name in JSON.
    pub fn id(self) -> String {
        serde_json::to_value(self).ok().and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Longest reason or remedy, in characters: both may quote names from strangers.
const LONGEST: usize = 400;
/// Most limitations that are kept: there are few kinds, but many namespaces.
const MOST: usize = 64;

/// One thing that cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Limitation {
    /// What.
    pub what: What,
    /// Why not. Escaped; of a recording, hostile.
    pub why: String,
    /// What would help. Escaped; of a recording, hostile.
    pub remedy: String,
}

impl Limitation {
    /// Escapes and bounds both texts.
    pub fn new(what: What, why: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self { what, why: bounded(why.as_ref()), remedy: bounded(remedy.as_ref()) }
    }
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, remedy) = (bounded(&self.why), bounded(&self.remedy));
        write!(f, "not seen: {}: {why}; remedy: {remedy}", self.what.words())
    }
}

fn bounded(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// What cannot be seen, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limitations(Vec<Limitation>);

impl Limitations {
    /// Adds one; says whether it is new. More than can be kept are not.
    pub fn add(&mut self, limitation: Limitation) -> bool {
        let is_new = self.0.len() < MOST && !self.0.contains(&limitation);
        if is_new {
            self.0.push(limitation);
        }
        is_new
    }

    /// Adds one, unless there is one of the same thing with the same remedy: for what is found again and again, of more or fewer namespaces.
    pub fn add_first(&mut self, limitation: Limitation) -> bool {
        let is_it = |one: &Limitation| one.what == limitation.what && one.remedy == limitation.remedy;
        !self.0.iter().any(is_it) && self.add(limitation)
    }

    /// All, as they were found.
    pub fn all(&self) -> &[Limitation] {
        &self.0
    }
}

impl FromIterator<Limitation> for Limitations {
    fn from_iter<T: IntoIterator<Item = Limitation>>(all: T) -> Self {
        let mut limitations = Self::default();
        for limitation in all {
            limitations.add(Limitation::new(limitation.what, limitation.why, limitation.remedy));
        }
        limitations
    }
}

/// What is found out while many namespaces are looked at, in the order in which it was.
#[derive(Debug, Default)]
pub struct Gathered(Vec<Group>);

#[derive(Debug)]
struct Group {
    /// Of the first namespace; of none where it is about something else.
    netns: Option<u32>,
    /// Other namespaces of which the same is true.
    others: u64,
    what: What,
    why: String,
    remedy: String,
}

impl Gathered {
    /// Adds one that is of no single namespace.
    pub fn add(&mut self, limitation: Limitation) {
        let Limitation { what, why, remedy } = limitation;
        self.0.push(Group { netns: None, others: 0, what, why, remedy });
    }

    /// Adds one of a namespace. What is the same of another one, and has the same remedy, is counted there.
    pub fn add_of(&mut self, netns: u32, what: What, why: impl Display, remedy: &str) {
        let is_same =
            |group: &&mut Group| group.netns.is_some() && group.what == what && group.remedy == remedy;
        match self.0.iter_mut().find(is_same) {
            Some(group) => group.others += u64::from(group.netns != Some(netns)),
            None => self.0.push(Group {
                netns: Some(netns),
                others: 0,
                what,
                why: why.to_string(),
                remedy: remedy.to_owned(),
            }),
        }
    }

    /// One line for each thing.
    pub fn told(self) -> Vec<Limitation> {
        let told = |group: Group| {
            let why = match (group.netns, group.others) {
                (None, _) => group.why,
                (Some(netns), 0) => format!("netns {netns}: {}", group.why),
                (Some(netns), others) => format!("netns {netns}, and {others} more: {}", group.why),
            };
            Limitation::new(group.what, why, group.remedy)
        };
        self.0.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_bounded() {
        let made = Limitation::new(What::Namespaces, "\u{1b}[31m".to_owned() + &"x".repeat(997), "none");
        assert!(!made.why.contains('\u{1b}') && made.why.chars().count() == LONGEST + 1, "{made}");
        let read = Limitation { what: What::Other, why: "\u{7}".into(), remedy: "\n".into() };
        assert!(!read.to_string().contains(['\u{7}', '\n']));
    }

    #[test]
    fn each_is_kept_once_and_not_without_end() {
        let mut all = Limitations::default();
        assert!(all.add(Limitation::new(What::Openers, "a", "b")));
        assert!(!all.add(Limitation::new(What::Openers, "a", "b")));
        for number in 0..997 {
            all.add(Limitation::new(What::Namespaces, number.to_string(), "b"));
        }
        assert_eq!(all.all().len(), MOST);
    }

    #[test]
    fn names_are_stable_and_those_of_later_versions_are_read() {
        assert_eq!(What::BindFailed.id(), "bind_failed");
        let read: Limitation =
            serde_json::from_str(r#"{"what":"telepathy","why":"w","remedy":"r","more":1}"#).unwrap();
        assert_eq!(read, Limitation { what: What::Other, why: "w".into(), remedy: "r".into() });
    }

    #[test]
    fn a_thousand_namespaces_that_cannot_be_entered_are_one_line() {
        let mut all = Gathered::default();
        all.add(Limitation::new(What::Counters, "no counters", "a newer kernel"));
        for netns in 0..1009 {
            all.add_of(netns, What::Namespaces, format_args!("/proc/{netns}: permission denied"), "sudo");
        }
        all.add_of(7, What::Sockets, "sockets changed too fast", "list again");
        let told: Vec<String> = all.told().into_iter().map(|one| one.why).collect();
        assert_eq!(
            told,
            [
                "no counters",
                "netns 0, and 1008 more: /proc/0: permission denied",
                "netns 7: sockets changed too fast"
            ]
        );
    }
}
