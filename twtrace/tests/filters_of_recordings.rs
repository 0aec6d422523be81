//! The same flags leave the same events of a recording, whichever command reads it; their values mean what the recording knows.
//!
//! Owns: the comparison. Must not know: how a filter is applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use twtrace::model::event::{Comm, Conn, Event, Kind, Loss, Process, Reason, Role, Via};
use twtrace::model::identity::Identity;
use twtrace::recording::{Encoder, Head, Namespace, Tail};

/// Its name is known to the recording alone.
const NETNS: u32 = 4_026_531_999;

/// Pid, name and uid; towards which port, in which namespace, and how many connections.
type Maker = (u32, &'static [u8], u32, u16, u32, u16);

/// Who makes connections. Names are as the kernel has them: of "проверка" it keeps all but the last byte, and others need not be text.
const MAKERS: [Maker; 5] = [
    (7, b"curl", 33, 443, NETNS, 13),
    (9, b"php-fpm", 34, 5432, 7, 17),
    (11, b"curl", 33, 80, 7, 19),
    (15, b"\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb2\xd0\xb5\xd1\x80\xd0\xba\xd0", 35, 81, 7, 4),
    (17, &[0xff; 10], 35, 82, 7, 2),
];
/// What text there is of the last one's name.
const NO_TEXT: &str = "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}";

/// A maker's name as every event has it.
fn comm(name: &[u8]) -> Comm {
    let mut kernel = [0; 16];
    kernel[..name.len()].copy_from_slice(name);
    Comm::from_kernel(kernel)
}

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
                let comm = self::comm(comm);
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
    (&[], 55),
    (&["--netns", "only-here"], 13),
    (&["--netns", "4026531999"], 13),
    (&["--cgroup", "/system.slice/9.service"], 17),
    (&["--cgroup", "/system.slice"], 55),
    (&["--comm", "curl"], 32),
    (&["--pid", "11"], 19),
    (&["--uid", "34"], 17),
    (&["--port", "80,443"], 32),
    (&["--dport", "5432"], 17),
    (&["--comm", "curl", "--netns", "only-here"], 13),
    (&["--comm", "nobody,c*l"], 32),
    (&["--cgroup", "system.slice/*.service"], 55),
    (&["--netns", "only*,7"], 55),
    (&["--pid", "7", "--pid", "9,13"], 30),
    (&["--not-comm", "ph?-*"], 38),
    (&["--not-pid", "7", "--not-port", "80"], 23),
    (&["--not-cgroup", "/system.slice/9.service,system.slice/7.*"], 25),
    (&["--not-peer", "10.0.0.9", "--peer", "10.0.0.0/8"], 0),
    (&["--comm", "проверка"], 4),
    (&["--comm", "проверк*"], 4),
    (&["--comm", "проверк\u{fffd}"], 4),
    (&["--comm", NO_TEXT], 2),
    (&["--not-comm", "проверка", "--uid", "35"], 2),
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

/// The lines of an export are those that `events --json` would have printed, whatever a process is called; and a report calls it the same.
#[test]
fn a_name_that_is_no_text_is_told_alike_everywhere() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recorded()).unwrap();
    let mut exported = BTreeMap::new();
    for line in lines(&run(file.path(), &["export", "FILE", "--to", "jsonl", "-o", "-"], &[])) {
        exported.insert(line["pid"].as_u64().unwrap(), line["comm"].as_str().unwrap().to_owned());
    }
    let report = lines(&run(file.path(), &["report", "FILE", "--json"], &[]));
    let rows = report[0]["processes"].as_array().unwrap().iter();
    let reported: BTreeMap<_, _> =
        rows.map(|row| (row["pid"].as_u64().unwrap(), row["comm"].as_str().unwrap().to_owned())).collect();
    let names = MAKERS.map(|(pid, name, ..)| (u64::from(pid), String::from_utf8_lossy(name).into_owned()));
    assert_eq!((exported, reported), (BTreeMap::from(names.clone()), BTreeMap::from(names)));
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A recording of which an event was lost, with one socket that was there before.
fn with_a_loss(host: &str) -> tempfile::NamedTempFile {
    let head = Head { mono_ns: 1, host: host.to_owned(), ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
    let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_000, dport: 83 };
    let mut listed = Event::new(Kind::Listed, 2, Some(conn));
    listed.via = Some(Via::None);
    let mut lost = Event::new(Kind::Lost, 3, None);
    lost.loss = Some(Box::new(Loss { created: 1, ..Loss::default() }));
    [listed, lost].iter().for_each(|event| encoder.append(event));
    encoder.finish(&Tail { mono_ns: 100_000, ..Tail::default() }).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), encoder.bytes()).unwrap();
    file
}

const READERS: [&[&str]; 3] = [
    &["export", "FILE", "--to", "jsonl", "-o", "-"],
    &["report", "FILE"],
    &["replay", "FILE", "--speed", "max", "--json"],
];

#[test]
fn that_nothing_passes_is_said_though_something_was_lost_and_only_then() {
    let file = with_a_loss("one");
    for command in READERS {
        let nothing = "no event of the recording passes --dport";
        let none = said(&run(file.path(), command, &["--dport", "84"]));
        assert!(none.contains(nothing), "{command:?}: {none}");
        let listed = said(&run(file.path(), command, &["--dport", "83"]));
        assert!(!listed.contains(nothing), "{command:?}: {listed}");
    }
    let export = |dport: &str| said(&run(file.path(), READERS[0], &["--dport", dport]));
    assert!(export("84").contains("exported 0 events, and what was lost, "), "{}", export("84"));
    let one = "exported 0 events and 1 socket from before, and what was lost, ";
    assert!(export("83").contains(one), "{}", export("83"));
}

#[test]
fn a_doubt_is_said_once_whatever_many_recordings_are_read() {
    let files = ["one", "two", "three"].map(with_a_loss);
    let paths = files.each_ref().map(|file| file.path().to_str().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    let set = ["export", "--to", "parquet", "--partition", "host", "-o", set.to_str().unwrap()];
    for command in [&["report"][..], &set, &["diff"]] {
        let paths = if command == ["diff"] { &paths[..2] } else { &paths };
        let mut twtrace = Command::new(env!("CARGO_BIN_EXE_twtrace"));
        let out = twtrace.args(command).args(paths).args(["--pid", "5", "--not-pid", "5"]).output().unwrap();
        let told = said(&out);
        assert_eq!(
            told.matches("nothing can match --pid 5 and --not-pid 5").count(),
            1,
            "{command:?}: {told}"
        );
    }
}

/// A machine's recordings were made one after the other, and a namespace is known to those that were made while it was there.
#[test]
fn a_name_that_one_recording_of_a_machine_knows_is_enough_for_a_dataset_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let record = |file: &str, mono_ns: u64, namespaces: &[Namespace]| {
        let boot_id = "one".to_owned();
        let head = Head { boot_id, mono_ns, namespaces: namespaces.to_vec(), ..Head::default() };
        let mut encoder = Encoder::new(&head).unwrap();
        let netns = namespaces.first().map_or(7, |namespace| namespace.netns);
        let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
        let conn = Conn { netns, ifindex: 0, saddr, daddr, sport: 40_000, dport: 443 };
        encoder.append(&Event::new(Kind::Created, mono_ns + 1, Some(conn)));
        encoder.finish(&Tail { mono_ns: mono_ns + 7, ..Tail::default() }).unwrap();
        std::fs::write(dir.path().join(file), encoder.bytes()).unwrap();
    };
    let blue = Namespace { netns: NETNS, name: Some("blue".to_owned()), sysctls: None, counters: None };
    record("a.twt", 100, &[]);
    record("b.twt", 200, &[blue]);
    record("c.twt", 300, &[]);
    let export = |netns: &str, set: &str| {
        let mut twtrace = Command::new(env!("CARGO_BIN_EXE_twtrace"));
        let words = "export a.twt b.twt c.twt --to parquet --partition host --netns";
        twtrace.args(words.split(' ')).args([netns, "-o", set]).current_dir(dir.path()).output().unwrap()
    };
    let known = export("blue", "known");
    assert!(known.status.success(), "{}", said(&known));
    let told = said(&known);
    assert!(
        told.contains("exported 1 event of 3 recordings, ") && told.contains(" to 1 file in known"),
        "{told}"
    );
    let unknown = export("green", "unknown");
    assert_eq!(unknown.status.code(), Some(2), "{}", said(&unknown));
    assert!(said(&unknown).contains("--netns green"), "{}", said(&unknown));
    assert!(!dir.path().join("unknown").exists(), "nothing is written");
}

/// A reason picks ends: all that a report counts and an export has. A replay is the live view, which counts what lives as ever.
#[test]
fn a_reason_picks_ends_and_hides_nothing_else_from_a_replay() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), recorded()).unwrap();
    let counts = |command: &[&str], reason: &str| {
        let out = lines(&run(file.path(), command, &["--json", "--reason", reason]));
        let last = out.last().unwrap();
        ["created", "ended", "peak_live"].map(|key| last[key].as_u64())
    };
    for (reason, ended) in [("expired", 55), ("reset", 0)] {
        assert_eq!(counts(&["report", "FILE"], reason)[..2], [Some(0), Some(ended)], "{reason}");
        let replay = counts(&["replay", "FILE", "--speed", "max"], reason);
        assert_eq!(replay[..2], [Some(55), Some(ended)], "{reason}");
        let out = lines(&run(file.path(), READERS[0], &["--reason", reason]));
        assert_eq!(out.len() as u64, ended);
    }
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
            ["--comm", "curl" | "nobody,c*l"] | ["--port", _] => vec![80, 443],
            ["--not-comm", _] => vec![80, 81, 82, 443],
            ["--pid", "7", ..] => vec![443, 5432],
            ["--not-pid", ..] => vec![81, 82, 5432],
            ["--not-cgroup", _] => vec![80, 81, 82],
            ["--not-peer", ..] => vec![],
            ["--comm", NO_TEXT] | ["--not-comm", _, "--uid", _] => vec![82],
            ["--comm", _] => vec![81],
            _ => vec![80, 81, 82, 443, 5432],
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
