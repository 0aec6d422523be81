//! Owns: an event as one JSON object on a line. The keys are the interface's, the same in every format.
//! Must not know: where events come from, where lines go.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};

use crate::model::clock::Clock;
use crate::model::event::{Conn, Event, Kind, Loss};
use crate::model::limitation::Limitation;
use crate::output::Stamp;

/// Writes events as JSON lines. Keeps what is the same from line to line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
    stamp: Stamp,
}

/// One object under construction, in a buffer that is used again for each line. The keys are ours and need no escaping;
/// values that come from outside go through serde_json.
struct Object<'a> {
    out: &'a mut BytesMut,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.out.ends_with(b"{") { b"\"" } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, key: &str, value: impl itoa::Integer) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A word of ours: nothing in it needs escaping.
    fn word(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.put_u8(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.put_u8(b'"');
    }

    fn display(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        // Writing to memory cannot fail.
        let _ = write!(self.out, "\"{value}\"");
    }

    /// Text from strangers.
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        // Writing to memory cannot fail, and a str is always valid JSON.
        let _ = serde_json::to_writer((&mut *self.out).writer(), value);
    }
}

impl Json {
    /// A writer whose times are read off `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, stamp: Stamp::default() }
    }

    /// Appends `event` and a newline to `out`.
    pub fn line(&mut self, event: &Event, out: &mut BytesMut) {
        out.put_u8(b'{');
        let mut object = Object { out };
        object.word("event", event.kind.word());
        self.time(event.mono_ns, &mut object);
        object.number("mono_ns", event.mono_ns);
        if let Some(conn) = &event.conn {
            put_conn(conn, &mut object);
        }
        put_socket(event, &mut object);
        put_processes(event, &mut object);
        put_outcome(event, &mut object);
        if let Some(loss) = &event.loss {
            put_loss(loss, &mut object);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends what cannot be seen, as an object that reads like an event, and a newline to `out`.
    pub fn limitation(&mut self, limitation: &Limitation, mono_ns: u64, out: &mut BytesMut) {
        out.put_u8(b'{');
        let mut object = Object { out };
        object.word("event", "limitation");
        self.time(mono_ns, &mut object);
        object.number("mono_ns", mono_ns);
        object.text("what", &limitation.what.id());
        object.text("why", &limitation.why);
        object.text("remedy", &limitation.remedy);
        out.extend_from_slice(b"}\n");
    }

    fn time(&mut self, mono_ns: u64, object: &mut Object<'_>) {
        object.key("time");
        object.out.put_u8(b'"');
        self.stamp.write(self.clock.wall_ns(mono_ns), object.out);
        object.out.put_u8(b'"');
    }
}

fn put_conn(conn: &Conn, object: &mut Object<'_>) {
    object.number("netns", conn.netns);
    object.word("family", conn.family());
    object.display("saddr", conn.saddr);
    object.number("sport", conn.sport);
    object.display("daddr", conn.daddr);
    object.number("dport", conn.dport);
}

fn put_socket(event: &Event, object: &mut Object<'_>) {
    if matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted) {
        object.word("role", event.role.word());
    }
    if let Some(substate) = event.substate {
        object.word("substate", substate.word());
    }
    if let Some(timeout_ms) = event.timeout_ms {
        object.number("timeout_ms", timeout_ms);
    }
    if let Some(cookie) = event.cookie {
        object.number("cookie", cookie);
    }
}

fn put_processes(event: &Event, object: &mut Object<'_>) {
    if let Some(owner) = &event.owner {
        object.number("pid", owner.pid);
        object.number("tid", owner.tid);
        object.text("comm", &owner.comm.text());
        object.number("uid", owner.uid);
        if owner.cgroup_id != 0 {
            object.number("cgroup_id", owner.cgroup_id);
        }
    }
    if let Some(identity) = &event.identity {
        for (key, value) in [("exe", identity.exe.as_deref()), ("cgroup", identity.cgroup.as_deref())] {
            if let Some(value) = value {
                object.text(key, value);
            }
        }
        if let Some(container) = &identity.container {
            object.text("container", &container.to_string());
        }
    }
    if let Some(via) = event.via {
        object.word("owner_via", via.word());
    }
    if let Some(opener) = &event.opener {
        object.number("opener_pid", opener.pid);
        object.text("opener_comm", &opener.comm.text());
    }
}

fn put_outcome(event: &Event, object: &mut Object<'_>) {
    if let Some(age_ns) = event.age_ns {
        object.number("age_ms", age_ns / 1_000_000);
    }
    if let Some(bytes) = event.bytes_sent {
        object.number("bytes_sent", bytes);
    }
    if let Some(bytes) = event.bytes_received {
        object.number("bytes_received", bytes);
    }
    if let Some(reason) = event.reason {
        object.word("reason", reason.word());
    }
    if let Some(lifetime_ns) = event.lifetime_ns {
        object.number("lifetime_ms", lifetime_ns / 1_000_000);
    }
    if let Some(errno) = event.errno {
        object.word("errno", errno.word());
    }
    if let Some(via) = event.port_via {
        object.word("port_via", via.word());
    }
    if let Some(reuseaddr) = event.reuseaddr {
        object.flag("reuseaddr", reuseaddr);
    }
    if let Some(why) = event.why {
        object.word("why", why.word());
    }
}

/// `count` is the interface's; the rest says what it is made of.
fn put_loss(loss: &Loss, object: &mut Object<'_>) {
    object.number("count", loss.events());
    object.number("created", loss.created);
    object.number("ended", loss.ended);
    object.number("overflow", loss.overflow);
    object.number("connect_failed", loss.connect_failed);
    object.number("bind_failed", loss.bind_failed);
    object.number("aborted", loss.aborted);
    object.number("syn_refused", loss.syn_refused);
    object.number("owners", loss.owners);
    object.number("missed_runs", loss.missed_runs);
    object.number("missed", loss.missed);
    object.number("unwritten", loss.unwritten);
}
