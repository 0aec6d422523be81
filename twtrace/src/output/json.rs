//! Owns: an event as one JSON object on a line. The keys are the interface's, the same in every format.
//! Must not know: where events come from, where lines go.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};

use crate::model::clock::Clock;
use crate::model::event::{Conn, Event, Kind, Loss, Opener, Process, Via};
use crate::model::identity::{Identity, Names};
use crate::model::limitation::Limitation;
use crate::output::Stamp;

/// Room for a line, as most are: asked for once.
const LINE: usize = 1024;

/// `SCHEMA_VERSION`, as it stands in every line.
const VERSION: &str = ",\"schema_version\":1";

/// Writes events as JSON lines. Keeps what is the same from line to line.
#[derive(Debug)]
pub struct Json {
    clock: Clock,
    stamp: Stamp,
    /// What was written last of processes: mostly it is the same again. Two, as the two ends of a connection take turns.
    recent: [Option<Written>; 2],
}

/// A part of a line, and what it says.
#[derive(Debug)]
struct Written {
    owner: Option<Process>,
    via: Option<Via>,
    opener: Option<Opener>,
    identity: Option<Arc<Identity>>,
    /// What its container is called may become known between two events.
    is_named: bool,
    text: BytesMut,
}

impl Written {
    fn of(event: &Event, is_named: bool) -> Self {
        let Event { owner, via, opener, identity, .. } = event;
        let mut text = BytesMut::new();
        put_processes(event, &mut Object { out: &mut text });
        Self { owner: *owner, via: *via, opener: *opener, identity: identity.clone(), is_named, text }
    }

    fn says(&self, event: &Event, is_named: bool) -> bool {
        let identity = |of: &Option<Arc<Identity>>| of.as_ref().map(Arc::as_ptr);
        (&self.owner, &self.via, &self.opener) == (&event.owner, &event.via, &event.opener)
            && (identity(&self.identity), self.is_named) == (identity(&event.identity), is_named)
    }
}

/// One object under construction, in a buffer that is used again for each line. Values that come from outside go through serde_json.
struct Object<'a> {
    out: &'a mut BytesMut,
}

/// A key as it stands in a line, after another one. The keys are ours and need no escaping.
macro_rules! key {
    ($key:literal) => {
        concat!(",\"", $key, "\":")
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

    /// A word of ours: nothing in it needs escaping.
    #[inline]
    fn word(&mut self, key: &'static str, value: &str) {
        self.put(key);
        self.out.put_u8(b'"');
        self.put(value);
        self.out.put_u8(b'"');
    }

    fn address(&mut self, key: &'static str, address: IpAddr) {
        self.put(key);
        match address {
            // Formatting takes ten times as long as this.
            IpAddr::V4(address) => {
                let (mut text, mut len) = ([b'"'; r#""255.255.255.255""#.len()], 1);
                for byte in address.octets() {
                    let mut digits = itoa::Buffer::new();
                    let digits = digits.format(byte).as_bytes();
                    text[len..len + digits.len()].copy_from_slice(digits);
                    len += digits.len() + 1;
                    text[len - 1] = b'.';
                }
                text[len - 1] = b'"';
                self.out.extend_from_slice(&text[..len]);
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
            self.out.put_u8(b'"');
            self.out.extend_from_slice(value);
            self.out.put_u8(b'"');
        } else {
            // Writing to memory cannot fail, and a str is always valid JSON.
            let _ = serde_json::to_writer((&mut *self.out).writer(), &String::from_utf8_lossy(value));
        }
    }
}

impl Json {
    /// A writer whose times are read off `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, stamp: Stamp::default(), recent: [None, None] }
    }

    /// Reads times off the clock as it is `now` from now on, where it was set.
    pub fn follow(&mut self, now: Clock) {
        self.clock.follow(now);
    }

    /// Appends `event` and a newline to `out`.
    pub fn line(&mut self, event: &Event, out: &mut BytesMut) {
        out.reserve(LINE);
        let mut object = Object { out };
        object.word("{\"event\":", event.kind.word());
        object.put(VERSION);
        self.time(event.mono_ns, &mut object);
        object.number(key!("mono_ns"), event.mono_ns);
        if let Some(conn) = &event.conn {
            put_conn(conn, &mut object);
        }
        put_socket(event, &mut object);
        self.processes(event, &mut object);
        put_outcome(event, &mut object);
        if let Some(loss) = &event.loss {
            put_loss(loss, &mut object);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends what cannot be seen, as an object that reads like an event, and a newline to `out`.
    pub fn limitation(&mut self, limitation: &Limitation, mono_ns: u64, out: &mut BytesMut) {
        let mut object = Object { out };
        object.word("{\"event\":", "limitation");
        object.put(VERSION);
        self.time(mono_ns, &mut object);
        object.number(key!("mono_ns"), mono_ns);
        object.text(key!("what"), limitation.what.id().as_bytes());
        object.text(key!("why"), limitation.why.as_bytes());
        object.text(key!("remedy"), limitation.remedy.as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn processes(&mut self, event: &Event, object: &mut Object<'_>) {
        let is_named = event.identity.as_ref().is_some_and(|identity| identity.names.get().is_some());
        let known = self.recent.iter().flatten().find(|written| written.says(event, is_named));
        if let Some(known) = known {
            object.out.extend_from_slice(&known.text);
            return;
        }
        let written = Written::of(event, is_named);
        object.out.extend_from_slice(&written.text);
        self.recent.swap(0, 1);
        self.recent[0] = Some(written);
    }

    fn time(&mut self, mono_ns: u64, object: &mut Object<'_>) {
        object.put(key!("time"));
        object.out.put_u8(b'"');
        self.stamp.write(self.clock.wall_ns(mono_ns), object.out);
        object.out.put_u8(b'"');
    }
}

fn put_conn(conn: &Conn, object: &mut Object<'_>) {
    object.number(key!("netns"), conn.netns);
    object.word(key!("family"), conn.family());
    object.address(key!("saddr"), conn.saddr);
    object.number(key!("sport"), conn.sport);
    object.address(key!("daddr"), conn.daddr);
    object.number(key!("dport"), conn.dport);
}

fn put_socket(event: &Event, object: &mut Object<'_>) {
    if matches!(event.kind, Kind::Created | Kind::Ended | Kind::Listed | Kind::Overflow | Kind::Aborted) {
        object.word(key!("role"), event.role.word());
    }
    if let Some(substate) = event.substate {
        object.word(key!("substate"), substate.word());
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
        object.word(key!("owner_via"), via.word());
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
        object.word(key!("reason"), reason.word());
    }
    if let Some(lifetime_ns) = event.lifetime_ns {
        object.number(key!("lifetime_ms"), lifetime_ns / 1_000_000);
    }
    if let Some(errno) = event.errno {
        object.word(key!("errno"), errno.word());
    }
    if let Some(via) = event.port_via {
        object.word(key!("port_via"), via.word());
    }
    if let Some(reuseaddr) = event.reuseaddr {
        object.flag(key!("reuseaddr"), reuseaddr);
    }
    if let Some((low, high)) = event.own_range {
        object.number(key!("range_low"), u64::from(low));
        object.number(key!("range_high"), u64::from(high));
    }
    if let Some(why) = event.why {
        object.word(key!("why"), why.word());
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
mod tests {
    use super::*;
    use crate::model::event::Comm;
    use crate::model::identity::Naming;

    #[test]
    fn what_was_written_before_changes_no_line() {
        let clock = Clock { mono_ns: 0, wall_ns: 0 };
        let naming = Naming::default();
        let mut events = Vec::new();
        for at in 0..29_u32 {
            let mut event = Event::new(Kind::Created, at.into(), None);
            let (pid, comm) = (7 + at % 3, Comm::new(["a\"", "b", "c"][at as usize % 3]));
            event.owner = (at % 7 != 0).then_some(Process {
                pid,
                tid: pid + at % 2,
                uid: 0,
                cgroup_id: 1,
                start_ns: 1,
                comm,
            });
            event.via = Some([Via::Close, Via::Exit][at as usize % 2]);
            event.opener = (at % 5 != 0).then_some(Opener { pid, start_ns: 1, comm });
            let exe = Some(format!("/bin/{pid}"));
            event.identity = Some(Arc::new(Identity { exe, names: naming.clone(), ..Identity::default() }))
                .filter(|_| at % 4 != 0);
            // Two in a row of the same, and one that is named in between.
            events.extend([event.clone(), event]);
        }
        let mut all = Json::new(clock);
        let line = |json: &mut Json, event: &Event| {
            let mut out = BytesMut::new();
            json.line(event, &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        for (at, event) in events.iter().enumerate() {
            if at == 31 {
                naming.set(Names { name: Some("web".to_owned()), ..Names::default() });
            }
            assert_eq!(line(&mut all, event), line(&mut Json::new(clock), event));
        }
        let named = events.iter().rfind(|event| event.identity.is_some()).unwrap();
        let line = line(&mut all, named);
        assert!(line.contains("\"container_name\":\"web\""), "{line}");
    }
}
