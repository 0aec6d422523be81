//! The same flags leave the same events of a recording, whichever command reads it; their values mean what the recording knows.
//!
//! Owns: the comparison. Must not know: how a filter is applied.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use twtrace::model::event::{Comm, Conn, Event, Kind, Process, Reason, Role, Via};
use twtrace::model::identity::Identity;
use twtrace::recording::{Encoder, Head, Namespace, Tail};

/// Its name is known to the recording alone.
const NETNS: u32 = 4_026_531_999;

/// Who makes how many connections towards which port, in which namespace.
const MAKERS: [(u32, &str, u32, u16, u32, u16); 3] =
    [(7, "curl", 33, 443, NETNS, 13), (9, "php-fpm", 34, 5432, 7, 17), (11, "curl", 33, 80, 7, 19)];

fn recorded() -> Vec<u8> {
    let blue = Namespace { netns: NETNS, name: Some("only-here".to_owned()), sysctls: None, counters: None };
    let head =
        Head { mono_ns: 1, backend: "tracepoint".to_owned(), namespaces: vec![blue], ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    for (pid, comm, uid, dport, netns, count) in MAKERS {
        for sport in 40_000..40_000 + count {
            let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
            let conn = Conn { netns, ifindex: 0, saddr, daddr, sport, dport };
            for (kind, reason) in [(Kind::Created, None), (Kind::Ended, Some(Reason::Expired))] {
                let mut event = Event::new(kind, 10 + u64::from(sport), Some(conn));
                let comm = Comm::new(comm);
                event.owner = Some(Process { pid, tid: pid, uid, cgroup_id: 5, start_ns: 1, comm });
                let cgroup = Some(format!("/system.slice/{pid}.service"));
                event.identity = Some(Arc::new(Identity { cgroup, ..Identity::default() }));
                (event.role, event.via, event.reason) = (Role::Client, Some(Via::Close), reason);
                encoder.append(&event);
            }
        }
    }
    encoder.finish(&Tail { mono_ns: 100_000, ..Tail::default() }).unwrap();
    std::mem::take(encoder.bytes())
}

/// Flags, and how many connections they leave.
const FLAGS: &[(&[&str], u64)] = &[
    (&[], 49),
    (&["--netns", "only-here"], 13),
    (&["--netns", "4026531999"], 13),
    (&["--cgroup", "/system.slice/9.service"], 17),
    (&["--cgroup", "/system.slice"], 49),
    (&["--comm", "curl"], 32),
    (&["--pid", "11"], 19),
    (&["--uid", "34"], 17),
    (&["--port", "80,443"], 32),
    (&["--dport", "5432"], 17),
    (&["--comm", "curl", "--netns", "only-here"], 13),
    (&["--comm", "nobody,c*l"], 32),
    (&["--cgroup", "system.slice/*.service"], 49),
    (&["--netns", "only*,7"], 49),
    (&["--pid", "7", "--pid", "9,13"], 30),
    (&["--not-comm", "ph?-*"], 32),
    (&["--not-pid", "7", "--not-port", "80"], 17),
    (&["--not-cgroup", "/system.slice/9.service,system.slice/7.*"], 19),
    (&["--not-peer", "10.0.0.9", "--peer", "10.0.0.0/8"], 0),
];

fn run(file: &Path, command: &[&str], flags: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    let args = command.iter().map(|word| if *word == "FILE" { file } else { word });
    let out = Command::new(env!("CARGO_BIN_EXE_twtrace")).args(args).args(flags).output().unwrap();
    assert!(out.status.success(), "{command:?} {flags:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

fn lines(out: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&out.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each command by what it is called, and how many connections its output says were made.
fn with_recording(command: &[&str], made: impl Fn(&[Value]) -> u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recorded()).unwrap();
    for (flags, want) in FLAGS {
        let out = lines(&run(file.path(), command, flags));
        assert_eq!(made(&out), *want, "{command:?} {flags:?}");
    }
}

#[test]
fn report() {
    with_recording(&["report", "FILE", "--json"], |out| out[0]["created"].as_u64().unwrap());
}

#[test]
fn replay() {
    let last = |out: &[Value]| out.last().unwrap()["created"].as_u64().unwrap();
    with_recording(&["replay", "FILE", "--speed", "max", "--json"], last);
}

#[test]
fn export() {
    let made = |out: &[Value]| out.iter().filter(|line| line["event"] == "created").count() as u64;
    with_recording(&["export", "FILE", "--to", "jsonl", "-o", "-"], made);
}

#[test]
fn diff() {
    let made = |out: &[Value]| {
        let created = &out[0]["totals"]["created"];
        assert_eq!(created["old"], created["new"]);
        created["new"].as_f64().unwrap() as u64
    };
    with_recording(&["diff", "FILE", "FILE", "--json"], made);
}

/// A pool counts whole for the doctor, whoever is asked about: it is the pools that are left.
#[test]
fn doctor() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recorded()).unwrap();
    for (flags, _) in FLAGS {
        let out = lines(&run(file.path(), &["doctor", "FILE", "--json"], flags));
        let namespaces = out[0]["facts"]["namespaces"].as_array().unwrap();
        let tuples = namespaces.iter().flat_map(|netns| netns["tuples"].as_array().unwrap());
        let mut left: Vec<u64> = tuples.map(|tuple| tuple["dport"].as_u64().unwrap()).collect();
        left.sort_unstable();
        let mut want: Vec<u64> = match flags {
            ["--cgroup", "/system.slice/9.service"] | ["--uid", "34"] | ["--dport", "5432"] => vec![5432],
            ["--pid", "11"] => vec![80],
            ["--netns", "only-here" | "4026531999"] | ["--comm", _, "--netns", _] => vec![443],
            ["--comm", "curl" | "nobody,c*l"] | ["--port", _] | ["--not-comm", _] => vec![80, 443],
            ["--pid", "7", ..] => vec![443, 5432],
            ["--not-pid", ..] => vec![5432],
            ["--not-cgroup", _] => vec![80],
            ["--not-peer", ..] => vec![],
            _ => vec![80, 443, 5432],
        };
        want.sort_unstable();
        assert_eq!(left, want, "{flags:?}");
    }
    let out = lines(&run(file.path(), &["doctor", "FILE", "--json"], &["--netns", "only-here"]));
    let netns: Vec<_> =
        out[0]["facts"]["namespaces"].as_array().unwrap().iter().map(|it| &it["netns"]).collect();
    assert_eq!(netns, [NETNS]);
}

/// What lives is this machine's; whose it is, and what a name means, the recording knows.
#[test]
fn list() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recorded()).unwrap();
    let list = |flags: &[&str]| {
        let file = file.path().to_str().unwrap();
        Command::new(env!("CARGO_BIN_EXE_twtrace"))
            .args(["list", "--recording", file])
            .args(flags)
            .output()
            .unwrap()
    };
    // It is resolved by the recording to an inode, which no namespace here has.
    let told = String::from_utf8(list(&["--netns", "only-here"]).stderr).unwrap();
    assert!(told.contains("4026531999"), "{told}");
    assert!(list(&["--comm", "php-fpm", "--json"]).stdout.is_empty());
}
