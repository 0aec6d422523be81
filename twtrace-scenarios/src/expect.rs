//! Owns: what a scenario says must be told: patterns of events, as plain data that travel from the scenario's
//! process to the harness.
//! Must not know: what was told, nor how the two are compared.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use twtrace_kit::actor::{Actor, Sock};

/// What TCP_TIMEWAIT_LEN is in every kernel (include/net/tcp.h, 5.10 to 7.3).
pub(crate) const TIMEWAIT_MS: u64 = 60_000;

/// What the value of one key must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Want {
    /// Exactly this.
    Is(Value),
    /// One of these.
    OneOf(Vec<Value>),
    /// A number from the first to the second, both included.
    Between(u64, u64),
    /// The key is there.
    Present,
    /// The key is not there.
    Absent,
}

impl Want {
    /// Does the value, or its absence, satisfy this?
    pub fn allows(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Is(want), Some(got)) => want == got,
            (Self::OneOf(wants), Some(got)) => wants.contains(got),
            (Self::Between(low, high), Some(got)) => {
                got.as_u64().is_some_and(|n| (*low..=*high).contains(&n))
            }
            (Self::Present, Some(_)) | (Self::Absent, None) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(value) => write!(f, "{value}"),
            Self::OneOf(values) => write!(f, "one of {}", Value::from(values.clone())),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::Present => f.write_str("anything"),
            Self::Absent => f.write_str("nothing"),
        }
    }
}

/// So many events that agree with all of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// How many.
    pub count: usize,
    /// What each key must be; keys that are not here may be as they like, within the schema.
    pub wants: BTreeMap<String, Want>,
}

fn family(addr: SocketAddr) -> &'static str {
    if addr.is_ipv4() { "ipv4" } else { "ipv6" }
}

impl Pattern {
    /// Events of `kind` in the network namespace `netns`.
    pub fn new(kind: &str, netns: u32) -> Self {
        let wants = BTreeMap::new();
        Self { count: 1, wants }.is("event", kind).is("netns", netns)
    }

    /// Events of `kind` about this end of a connection.
    pub fn about(kind: &str, sock: &Sock) -> Self {
        Self::new(kind, sock.netns)
            .is("family", family(sock.local))
            .is("saddr", sock.local.ip().to_string())
            .is("sport", sock.local.port())
            .is("daddr", sock.peer.ip().to_string())
            .is("dport", sock.peer.port())
    }

    /// A failed call of `actor`.
    pub fn failed(kind: &str, actor: &Actor, errno: &str) -> Self {
        Self::new(kind, actor.netns()).process(actor).is("errno", errno)
    }

    /// `key` is this.
    pub fn is(self, key: &str, value: impl Into<Value>) -> Self {
        self.want(key, Want::Is(value.into()))
    }

    /// `key` is like that.
    pub fn want(mut self, key: &str, want: Want) -> Self {
        self.wants.insert(key.to_owned(), want);
        self
    }

    /// Not one but `count` of these.
    pub fn times(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    fn process(self, actor: &Actor) -> Self {
        let pid = actor.pid();
        self.is("pid", pid).is("tid", pid).is("comm", actor.comm()).is("uid", actor.uid())
    }

    /// The owner, and what it called.
    pub fn owner(self, actor: &Actor, via: &str) -> Self {
        self.process(actor).is("owner_via", via)
    }

    /// Nobody who could be known.
    pub fn no_owner(self) -> Self {
        let pattern = self.want("pid", Want::Absent).want("comm", Want::Absent);
        pattern.want("owner_via", Want::Is("none".into()))
    }

    /// The opener.
    pub fn opener(self, actor: &Actor) -> Self {
        self.is("opener_pid", actor.pid()).is("opener_comm", actor.comm())
    }

    /// Payload over the connection's life.
    pub fn bytes(self, sent: u64, received: u64) -> Self {
        self.is("bytes_sent", sent).is("bytes_received", received)
    }

    /// Does this hold of a pattern for `key`? What a filter asks.
    pub fn says(&self, key: &str, value: impl Into<Value>) -> bool {
        self.wants.get(key) == Some(&Want::Is(value.into()))
    }

    /// The kind of event.
    pub fn kind(&self) -> &str {
        match self.wants.get("event") {
            Some(Want::Is(Value::String(kind))) => kind,
            _ => "",
        }
    }

    /// What does not agree, as `key: wanted …, told …`; nothing where all does.
    pub fn disagreements(&self, event: &serde_json::Map<String, Value>) -> Vec<String> {
        let wrong = self.wants.iter().filter(|(key, want)| !want.allows(event.get(*key)));
        wrong.map(|(key, want)| format!("{key}: wanted {want}, told {}", told(event.get(key)))).collect()
    }
}

fn told(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// The `substate` of a TIME_WAIT socket made by close(): the peer's ACK and FIN come in one packet or in two, and the
/// orphan waits in a mini-socket between them. Which, is up to the peer's delayed ACK.
pub(crate) fn either_substate() -> Want {
    Want::OneOf(vec![json!("TIME_WAIT"), json!("FIN_WAIT2")])
}

/// A socket cookie that `ss` has shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cookie {
    /// Inode of the network namespace.
    pub netns: u32,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// What stood behind `sk:`.
    pub cookie: u64,
}

/// What a scenario hands to the harness when its actions are over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Inodes of its network namespaces.
    pub netns: Vec<u32>,
    /// What must be told, and nothing else.
    pub expected: Vec<Pattern>,
    /// What `ss` showed.
    pub cookies: Vec<Cookie>,
    /// Its last events come from work that the kernel does later: wait until they have been told.
    pub await_told: bool,
    /// What went wrong already.
    pub failures: Vec<String>,
}
