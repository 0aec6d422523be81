//! Writes the recording that is kept, with the lines it must read as, for each version of the format.
//!
//! Owns: what is in the sample. Must not know: the tests that read it.
//!
//! A release that raises `FORMAT` runs this once more, `cargo run --example recording_sample -- twtrace/tests/data`, and keeps
//! what was there: old samples must read for ever.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use twtrace::host::net::books::Books;
use twtrace::model::event::{
    Comm, Conn, Errno, Event, Kind, Loss, Opener, Process, Reason, Role, Substate, Via,
};
use twtrace::model::identity::{Identity, container_of};
use twtrace::model::settings::Settings;
use twtrace::output::Json;
use twtrace::recording::{Command, Encoder, Ending, Exit, FORMAT, Head, Namespace, Stop, Tail, Usage};

const MONO_NS: u64 = 7_000_000_000_003;
const WALL_NS: i64 = 1_767_323_045_000_000_006;
const EVENTS: u16 = 61;

fn conn(at: u16) -> Conn {
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    let v4 = |last: u16| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last as u8));
    let (saddr, daddr) = if at.is_multiple_of(3) { (v6(1), v6(2)) } else { (v4(1), v4(at % 5)) };
    Conn { netns: 4_026_531_840, ifindex: u32::from(at % 2), saddr, daddr, sport: 40_000 + at, dport: 443 }
}

fn processes(at: u16, event: &mut Event) {
    let cgroup = format!("/system.slice/docker-{}.scope", "0123456789abcdef".repeat(4));
    let container = container_of(&cgroup);
    event.owner = (!at.is_multiple_of(7)).then(|| Process {
        pid: 1000 + u32::from(at % 3),
        tid: 1000 + u32::from(at % 5),
        uid: 33,
        cgroup_id: 4711,
        start_ns: 17_000_000_019,
        comm: Comm::new(["nginx", "é \u{1b}[31m\t\""][usize::from(at % 2)]),
    });
    let identity = Identity {
        exe: Some("/usr/sbin/nginx".to_owned()),
        cmdline: Default::default(),
        cgroup: Some(cgroup),
        container,
        ..Identity::default()
    };
    event.identity = event.owner.map(|_| Arc::new(identity));
}

fn event(at: u16) -> Event {
    let kind = Kind::ALL[usize::from(at) % Kind::ALL.len()];
    let mut event = Event::new(kind, MONO_NS + 1_000_000_007 * u64::from(at), Some(conn(at)));
    if kind == Kind::Lost {
        event.conn = None;
        event.loss =
            Some(Box::new(Loss { created: 2, ended: 3, missed_runs: u64::from(at), ..Loss::default() }));
        return event;
    }
    processes(at, &mut event);
    if matches!(kind, Kind::ConnectFailed | Kind::BindFailed) {
        event.errno = Some(Errno::ALL[usize::from(at / 3) % 2]);
        return event;
    }
    let rest = usize::from(at) / Kind::ALL.len();
    event.role = Role::ALL[rest % 3];
    event.via = Some(Via::ALL[rest % 5]);
    event.opener = (at % 4 == 1).then(|| Opener { pid: 1, start_ns: 23, comm: Comm::new("init") });
    if kind != Kind::Overflow {
        event.substate = Some(Substate::ALL[rest % 2]);
        event.cookie = Some(u64::from(at) << 33);
    }
    if kind == Kind::Ended {
        event.reason = Some(Reason::ALL[rest % Reason::ALL.len()]);
        event.lifetime_ns = Some(60_000_123_457);
        return event;
    }
    event.timeout_ms = matches!(kind, Kind::Created | Kind::Listed).then_some(60_000);
    if kind == Kind::Listed {
        event.lifetime_ns = (at % 4 == 2).then_some(1_000_000_009);
        return event;
    }
    event.age_ns = Some(1_234_567 * u64::from(at));
    (event.bytes_sent, event.bytes_received) = (Some(u64::from(at)), Some(u64::MAX));
    event
}

fn namespaces() -> Vec<Namespace> {
    let sysctls = Settings {
        port_range: Some((32_768, 60_999)),
        reserved: vec![(40_009, 40_013)],
        tw_reuse: Some(2),
        tw_reuse_delay_ms: None,
        max_tw_buckets: Some(131_072),
        timestamps: Some(1),
        rfc1337: Some(0),
        fin_timeout_s: Some(60),
        ..Settings::default()
    };
    let counters =
        Books { tw: 2, tw_recycled: 3, tw_killed: 5, tw_overflow: 7, sockstat_tw: 11, inuse: 13, inuse6: 17 };
    vec![Namespace { netns: 4_026_531_840, name: None, sysctls: Some(sysctls), counters: Some(counters) }]
}

fn head() -> Head {
    Head {
        twtrace: env!("CARGO_PKG_VERSION").to_owned(),
        host: "sample.example".to_owned(),
        kernel: "6.12.0".to_owned(),
        boot_id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        mono_ns: MONO_NS,
        wall_ns: WALL_NS,
        backend: "fentry".to_owned(),
        filters: vec!["--dport 443".to_owned()],
        only_command: false,
        command: Some(Command {
            argv: vec!["wrk".to_owned(), "https://sample.example/".to_owned()],
            uid: 1000,
        }),
        namespaces: namespaces(),
        ..Head::default()
    }
}

fn tail() -> Tail {
    let usage = Usage {
        user_us: 19,
        system_us: 23,
        max_rss_kib: 29,
        voluntary_switches: 31,
        involuntary_switches: 37,
    };
    Tail {
        mono_ns: MONO_NS + 61_000_000_000,
        wall_ns: WALL_NS + 61_000_000_000,
        stop: Stop::Command,
        command: Some(Ending { exit: Exit::Status(0), usage }),
        namespaces: namespaces(),
        lost: Loss { created: 2, ..Loss::default() },
        live: 41,
        ..Tail::default()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("say into which folder")?);
    let mut encoder = Encoder::new(&head())?;
    let (mut json, mut lines) = (Json::new(head().clock()), BytesMut::new());
    for at in 0..EVENTS {
        let event = event(at);
        json.line(&event, &mut lines);
        encoder.append(&event);
        if at % 17 == 16 {
            encoder.close_batch()?;
        }
    }
    encoder.met(&namespaces())?;
    encoder.finish(&tail())?;
    std::fs::write(dir.join(format!("recording-v{FORMAT}.twt")), encoder.bytes())?;
    std::fs::write(dir.join(format!("recording-v{FORMAT}.jsonl")), &lines)?;
    Ok(())
}
