//! Owns: an event as one JSON object on a line. The keys are the interface's, the same in every format.
//! Must not know: where events come from, where lines go.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use crate::model::address::{self, MOST};
use crate::model::clock::Clock;
use crate::model::event::{Conn, Event, Kind, Loss, Opener, Process, Via};
use crate::model::identity::{Identity, Names};
use crate::model::limitation::Limitation;
use crate::output::Stamp;

/// `SCHEMA_VERSION`, as it stands in every line, from the end of the word before it to the time behind it.
const VERSION: &str = "\",\"schema_version\":1,\"time\":\"";

/// Writes events as JSON lines. Keeps what is the same from line to line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
    stamp: Stamp,
    /// What was written last of processes, by [`slot`]: mostly it is the same again, of some threads that take turns.
    recent: [Written; SLOTS],
    /// The line that is being made, in a vector: a queue's buffer takes longer for each of its forty pieces than for the whole.
    line: Vec<u8>,
}

/// Threads whose text is kept.
const SLOTS: usize = 64;

/// Where the text of an event's processes is kept, if it is.
fn slot(event: &Event) -> usize {
    let owner = event.owner.map_or(0, |owner| owner.tid);
    let opener = event.opener.map_or(0, |opener| opener.pid);
    // Numbers that follow one another have different places.
    (owner.wrapping_add(opener.rotate_left(3))) as usize % SLOTS
}

/// A part of a line, and what it says. It begins as what is said of nobody, which is nothing.
#[derive(Debug, Default)]
struct Written {
    owner: Option<Process>,
    via: Option<Via>,
    opener: Option<Opener>,
    identity: Option<Arc<Identity>>,
    /// What its container is called may become known between two events.
    is_named: bool,
    text: Vec<u8>,
}

impl Written {
    fn write(&mut self, event: &Event, is_named: bool) {
        (self.owner, self.via, self.opener) = (event.owner, event.via, event.opener);
        self.identity.clone_from(&event.identity);
        self.is_named = is_named;
        self.text.clear();
        put_processes(event, &mut Object { out: &mut self.text });
    }

    fn says(&self, event: &Event, is_named: bool) -> bool {
        let identity = |of: &Option<Arc<Identity>>| of.as_ref().map(Arc::as_ptr);
        (&self.owner, &self.via, &self.opener) == (&event.owner, &event.via, &event.opener)
            && (identity(&self.identity), self.is_named) == (identity(&event.identity), is_named)
    }
}

/// One object under construction, in a buffer that is used again for each line. Values that come from outside go through serde_json.
struct Object<'a> {
    out: &'a mut Vec<u8>,
}

/// A key as it stands in a line, after another one. The keys are ours and need no escaping.
macro_rules! key {
    ($key:literal) => {
        concat!(",\"", $key, "\":")
    };
}

/// A key and the quote that a word begins with.
macro_rules! key_of_word {
    ($key:literal) => {
        concat!(",\"", $key, "\":\"")
    };
}

impl Object<'_> {
    #[inline]
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn number(&mut self, key: &'static str, value: impl itoa::Integer) {
        self.put(key);
        self.put(itoa::Buffer::new().format(value));
    }

    fn flag(&mut self, key: &'static str, value: bool) {
        self.put(key);
        self.put(if value { "true" } else { "false" });
    }

    /// A word of ours, behind a [`key_of_word`]: nothing in it needs escaping.
    #[inline]
    fn word(&mut self, key: &'static str, value: &str) {
        self.put(key);
        self.put(value);
        self.put("\"");
    }

    #[inline]
    fn address(&mut self, key: &'static str, address: IpAddr) {
        self.put(key);
        match address {
            IpAddr::V4(address) => {
                let mut text = [b'"'; MOST + 1];
                let len = address::write(address, &mut text[1..]);
                text[len + 1] = b'"';
                self.out.extend_from_slice(&text[..len + 2]);
            }
            // Writing to memory cannot fail.
            IpAddr::V6(address) => drop(write!(self.out, "\"{address}\"")),
        }
    }

    /// Text from strangers.
    fn text(&mut self, key: &'static str, value: &[u8]) {
        // Looks at all of them, several at a time.
        let is_plain = |byte: u8| (byte.wrapping_sub(b' ') < 95) & (byte != b'"') & (byte != b'\\');
        self.put(key);
        if value.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value);
            self.out.push(b'"');
        } else {
            // Writing to memory cannot fail, and a str is always valid JSON.
            let _ = serde_json::to_writer(&mut *self.out, &String::from_utf8_lossy(value));
        }
    }
}

impl Json {
    /// A writer whose times are read off `clock`.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            stamp: Stamp::default(),
            recent: std::array::from_fn(|_| Written::default()),
            line: Vec::new(),
        }
    }

    /// Reads times off the clock as it is `now` from now on, where it was set.
    pub fn follow(&mut self, now: Clock) {
        self.clock.follow(now);
    }

    /// Appends `event` and a newline to `out`.
    pub fn line(&mut self, event: &Event, out: &mut BytesMut) {
        let mut line = self.begin(event.kind.word(), event.mono_ns);
        let mut object = Object { out: &mut line };
        if let Some(conn) = &event.conn {
            put_conn(conn, &mut object);
        }
        put_socket(event, &mut object);
        self.processes(event, &mut object);
        put_outcome(event, &mut object);
        if let Some(loss) = &event.loss {
            put_loss(loss, &mut object);
        }
        self.end(line, out);
    }

    /// Appends what cannot be seen, as an object that reads like an event, and a newline to `out`.
    pub fn limitation(&mut self, limitation: &Limitation, mono_ns: u64, out: &mut BytesMut) {
        let mut line = self.begin("limitation", mono_ns);
        let mut object = Object { out: &mut line };
        object.text(key!("what"), limitation.what.id().as_bytes());
        object.text(key!("why"), limitation.why.as_bytes());
        object.text(key!("remedy"), limitation.remedy.as_bytes());
        self.end(line, out);
    }

    /// A line that says so far what happened and when.
    #[inline]
    fn begin(&mut self, event: &str, mono_ns: u64) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let mut object = Object { out: &mut line };
        object.put("{\"event\":\"");
        object.put(event);
        object.put(VERSION);
        self.stamp.write(self.clock.wall_ns(mono_ns), object.out);
        object.number(concat!("\"", key!("mono_ns")), mono_ns);
        line
    }

    #[inline]
    fn end(&mut self, mut line: Vec<u8>, out: &mut BytesMut) {
        line.extend_from_slice(b"}\n");
        out.extend_from_slice(&line);
        self.line = line;
    }

    fn processes(&mut self, event: &Event, object: &mut Object<'_>) {
        let is_named = event.identity.as_ref().is_some_and(|identity| identity.names.get().is_some());
        let written = &mut self.recent[slot(event)];
        if !written.says(event, is_named) {
            written.write(event, is_named);
        }
        object.out.extend_from_slice(&written.text);
    }
}

fn put_conn(conn: &Conn, object: &mut Object<'_>) {
    object.number(key!("netns"), conn.netns);
    object.word(key_of_word!("family"), conn.family());
    object.address(key!("saddr"), conn.saddr);
    object.number(key!("sport"), conn.sport);
    object.address(key!("daddr"), conn.daddr);
    object.number(key!("dport"), conn.dport);
}

fn put_socket(event: &Event, object: &mut Object<'_>) {
    if matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted) {
        object.word(key_of_word!("role"), event.role.word());
    }
    if let Some(substate) = event.substate {
        object.word(key_of_word!("substate"), substate.word());
    }
    if let Some(timeout_ms) = event.timeout_ms {
        object.number(key!("timeout_ms"), timeout_ms);
    }
    if let Some(cookie) = event.cookie {
        object.number(key!("cookie"), cookie);
    }
}

fn put_processes(event: &Event, object: &mut Object<'_>) {
    if let Some(owner) = &event.owner {
        object.number(key!("pid"), owner.pid);
        object.number(key!("tid"), owner.tid);
        object.text(key!("comm"), owner.comm.bytes());
        object.number(key!("uid"), owner.uid);
        if owner.cgroup_id != 0 {
            object.number(key!("cgroup_id"), owner.cgroup_id);
        }
    }
    if let Some(identity) = &event.identity {
        if let Some(exe) = &identity.exe {
            object.text(key!("exe"), exe.as_bytes());
        }
        if let Some(cgroup) = &identity.cgroup {
            object.text(key!("cgroup"), cgroup.as_bytes());
        }
        if let Some(container) = &identity.container {
            object.text(key!("container"), container.to_string().as_bytes());
        }
        if let Some(names) = identity.names.get() {
            put_names(names, object);
        }
    }
    if let Some(via) = event.via {
        object.word(key_of_word!("owner_via"), via.word());
    }
    if let Some(opener) = &event.opener {
        object.number(key!("opener_pid"), opener.pid);
        object.text(key!("opener_comm"), opener.comm.bytes());
    }
}

fn put_names(names: &Names, object: &mut Object<'_>) {
    let Names { name, image, pod, pod_namespace } = names;
    for (key, text) in [
        (key!("container_name"), name),
        (key!("image"), image),
        (key!("pod"), pod),
        (key!("pod_namespace"), pod_namespace),
    ] {
        if let Some(text) = text {
            object.text(key, text.as_bytes());
        }
    }
}

fn put_outcome(event: &Event, object: &mut Object<'_>) {
    if let Some(age_ns) = event.age_ns {
        object.number(key!("age_ms"), age_ns / 1_000_000);
    }
    if let Some(bytes) = event.bytes_sent {
        object.number(key!("bytes_sent"), bytes);
    }
    if let Some(bytes) = event.bytes_received {
        object.number(key!("bytes_received"), bytes);
    }
    if let Some(reason) = event.reason {
        object.word(key_of_word!("reason"), reason.word());
    }
    if let Some(lifetime_ns) = event.lifetime_ns {
        object.number(key!("lifetime_ms"), lifetime_ns / 1_000_000);
    }
    if let Some(errno) = event.errno {
        object.word(key_of_word!("errno"), errno.word());
    }
    if let Some(via) = event.port_via {
        object.word(key_of_word!("port_via"), via.word());
    }
    if let Some(reuseaddr) = event.reuseaddr {
        object.flag(key!("reuseaddr"), reuseaddr);
    }
    if let Some((low, high)) = event.own_range {
        object.number(key!("range_low"), u64::from(low));
        object.number(key!("range_high"), u64::from(high));
    }
    if let Some(why) = event.why {
        object.word(key_of_word!("why"), why.word());
    }
}

/// `count` is the interface's; the rest says what it is made of.
fn put_loss(loss: &Loss, object: &mut Object<'_>) {
    object.number(key!("count"), loss.events());
    for (name, part) in loss.named() {
        object.put(",\"");
        object.put(name);
        object.number("\":", part);
    }
}

#[cfg(test)]
mod tests;
