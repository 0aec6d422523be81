//! Owns: everything about one event, as lines.
//! Must not know: which keys open it.

use ratatui::text::Line as Text;

use super::page::Page;
use crate::model::escape::{printable, process_name};
use crate::model::event::{Errno, Event, Kind, Loss, Process, Reason, Role, Substate, Via};
use crate::model::figures::{bytes, span};
use crate::present::tui::value::{end, short_time};
use crate::present::tui::views::Picture;

/// The lines for a screen so wide, the title first.
pub(super) fn lines(event: &Event, picture: &Picture, width: usize) -> Vec<Text<'static>> {
    let mut page = Page::new(&format!("Event {}", event.kind), width);
    page.put("meaning", meaning(event));
    page.put("time", &picture.time_of(event).strftime("%Y-%m-%d %H:%M:%S.%9f %Z").to_string());
    put_connection(&mut page, event, picture);
    if let Some(owner) = &event.owner {
        put_owner(&mut page, event, owner);
    } else if event.via.is_some() {
        page.put("owner", "not known: it was closed before tracing began, or its closing was lost");
    }
    if let Some(opener) = &event.opener {
        page.put("opener", &format!("{}/{}", opener.pid, process_name(&opener.comm.text())));
    }
    put_life(&mut page, event);
    if let Some(loss) = &event.loss {
        put_loss(&mut page, loss);
    }
    page.lines
}

fn put_connection(page: &mut Page, event: &Event, picture: &Picture) {
    let Some(conn) = &event.conn else { return };
    page.put("local", &end(conn.saddr, conn.sport));
    // bind() has no remote end.
    if conn.dport != 0 {
        page.put("remote", &end(conn.daddr, conn.dport));
    }
    if event.role != Role::Unknown {
        page.put("role", event.role.word());
    }
    let interface = match conn.ifindex {
        0 => String::new(),
        index => format!(", bound to interface {index}"),
    };
    page.put("netns", &format!("{}, {}{interface}", picture.named_netns(conn.netns), conn.family()));
}

fn put_owner(page: &mut Page, event: &Event, owner: &Process) {
    let label = if event.via.is_some() { "owner" } else { "caller" };
    let thread = if owner.tid == owner.pid { String::new() } else { format!(", thread {}", owner.tid) };
    let name = process_name(&owner.comm.text()).into_owned();
    page.put(label, &format!("{}/{name}{thread}, uid {}", owner.pid, owner.uid));
    if let Some(via) = event.via {
        page.put("known by", via_text(via));
    }
    let Some(identity) = &event.identity else { return };
    let container = identity.container.as_ref().map(ToString::to_string);
    for (label, text) in [
        ("command", identity.cmdline.get()),
        ("program", identity.exe.as_ref()),
        ("cgroup", identity.cgroup.as_ref()),
        ("container", container.as_ref()),
    ] {
        if let Some(text) = text {
            page.put(label, &printable(text));
        }
    }
}

fn via_text(via: Via) -> &'static str {
    match via {
        Via::Close => "close: it called close()",
        Via::Shutdown => "shutdown: it called shutdown()",
        Via::Exit => "exit: it was exiting",
        Via::Opener => "opener: the kernel closed it by itself, so whoever opened it stands in",
        Via::None => "none: it was closed before tracing began, or its closing was lost",
    }
}

fn put_life(page: &mut Page, event: &Event) {
    if let Some(substate) = event.substate {
        page.put("substate", substate.word());
    }
    if let Some(timeout_ms) = event.timeout_ms {
        page.put("timer", &format!("{}, if nothing ends it before", span(f64::from(timeout_ms) / 1000.0)));
    }
    if let Some(age_ns) = event.age_ns {
        page.put("age", &format!("the connection lived {}", short_time(age_ns / 1000)));
    }
    if let (Some(sent), Some(received)) = (event.bytes_sent, event.bytes_received) {
        page.put("payload", &format!("sent {}, received {}", bytes(sent), bytes(received)));
    }
    if let Some(reason) = event.reason {
        page.put("reason", reason.word());
    }
    if let Some(lifetime_ns) = event.lifetime_ns {
        page.put("lifetime", &format!("{} from created to ended", short_time(lifetime_ns / 1000)));
    }
    if let Some(errno) = event.errno {
        page.put("errno", errno.word());
    }
    if let Some(cookie) = event.cookie {
        page.put("cookie", &format!("{cookie}; ss -e prints sk:{cookie:x}"));
    }
}

fn put_loss(page: &mut Page, loss: &Loss) {
    let Loss {
        created,
        ended,
        overflow,
        connect_failed,
        bind_failed,
        owners,
        missed_runs,
        missed,
        unwritten,
        aborted,
        syn_refused,
    } = *loss;
    for (label, count) in [
        ("created", created),
        ("ended", ended),
        ("overflow", overflow),
        ("connect", connect_failed),
        ("bind", bind_failed),
        ("aborted", aborted),
        ("syn", syn_refused),
        ("owners", owners),
        ("runs", missed_runs),
        ("missed", missed),
        ("unwritten", unwritten),
    ] {
        if count != 0 {
            page.put(label, &format!("{count} lost"));
        }
    }
}

/// What such an event is, in one plain sentence.
fn meaning(event: &Event) -> &'static str {
    match (event.kind, event.reason, event.errno) {
        (Kind::Created, ..) if event.substate == Some(Substate::FinWait2) => {
            "This end closed, and the kernel waits for the peer's FIN in a TIME_WAIT socket; nobody holds it open."
        }
        (Kind::Created, ..) => "The connection is over, and the kernel keeps its ports for a minute.",
        (Kind::Listed, ..) => {
            "It was there before it was looked for, or was first heard of when it ended: nobody saw its birth."
        }
        (Kind::Ended, Some(reason), _) => ended(reason),
        (Kind::Ended, None, _) => ended(Reason::Unknown),
        (Kind::Overflow, ..) => {
            "The connection ended with no TIME_WAIT socket: tcp_max_tw_buckets was reached, or memory ran short."
        }
        (Kind::ConnectFailed, ..) => {
            "connect() found no free port towards that end: too many sockets hold them, in TIME_WAIT or open."
        }
        (Kind::BindFailed, _, Some(Errno::AddrInUse)) => {
            "The address was in use. A server that starts again needs SO_REUSEADDR while TIME_WAIT sockets live."
        }
        (Kind::BindFailed, ..) => "bind() or listen() was refused.",
        (Kind::Aborted, ..) => {
            "This end closed the connection with an RST: no TIME_WAIT socket, and data may be lost."
        }
        (Kind::SynRefused, ..) => {
            "A SYN met this TIME_WAIT socket and was not taken: the peer must wait or try again."
        }
        (Kind::Lost, ..) => {
            "These did not make it here. Owners: events without theirs; runs: hooks that the kernel skipped; missed: births that only its counters show."
        }
    }
}

fn ended(reason: Reason) -> &'static str {
    match reason {
        Reason::Expired => "Its time was up: the usual end.",
        Reason::ReusedOutgoing => "A new connect() of this machine took its port.",
        Reason::ReusedIncoming => "A new connection from the same peer and port took its place.",
        Reason::Reset => "An RST, or data after close, ended it early.",
        Reason::Killed => "Somebody ended it with ss -K, or a program did the same.",
        Reason::Purged => "Its network namespace went away.",
        Reason::Missed => "Nobody saw its end: when the kernel was asked, it was gone.",
        Reason::Unknown => "The backend in use cannot tell why it ended.",
    }
}
