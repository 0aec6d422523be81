//! Recordings of every version of the format that was ever released read as they did then.
//!
//! Owns: the kept samples (`tests/data/recording-v*.twt` and what they must read as). Must not know: how they were made
//! (`examples/recording_sample.rs`).

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use twtrace::output::Json;
use twtrace::recording::{Ended, Exit, FORMAT, Recording, Stop};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn lines(path: &Path) -> (String, Ended) {
    let mut recording = Recording::open(path).unwrap();
    let mut json = Json::new(recording.head().clock());
    let mut lines = BytesMut::new();
    recording.events().for_each(|event| json.line(&event, &mut lines));
    (String::from_utf8(lines.to_vec()).unwrap(), recording.end())
}

#[test]
fn every_version_reads_as_it_did() {
    for version in 1..=FORMAT {
        let name = |extension: &str| data().join(format!("recording-v{version}.{extension}"));
        let want = std::fs::read_to_string(name("jsonl")).unwrap();
        let (lines, ended) = lines(&name("twt"));
        for (line, want) in lines.lines().zip(want.lines()) {
            assert_eq!(line, want, "version {version}");
        }
        assert_eq!(lines.lines().count(), want.lines().count(), "version {version}");
        assert!(matches!(ended, Ended::Complete(_)), "version {version}: {ended:?}");
    }
}

#[test]
fn version_1_tells_what_it_was_recorded_with() {
    let recording = Recording::open(&data().join("recording-v1.twt")).unwrap();
    let head = recording.head();
    assert_eq!((head.twtrace.as_str(), head.host.as_str()), ("0.1.0", "sample.example"));
    assert_eq!((head.mono_ns, head.wall_ns), (7_000_000_000_003, 1_767_323_045_000_000_006));
    assert_eq!(
        (head.backend.as_str(), head.filters.as_slice()),
        ("fentry", ["--dport 443".to_owned()].as_slice())
    );
    assert_eq!(head.command.as_ref().unwrap().argv, ["wrk", "https://sample.example/"]);
    let sysctls = head.namespaces[0].sysctls.as_ref().unwrap();
    assert_eq!((sysctls.port_range, sysctls.max_tw_buckets), (Some((32_768, 60_999)), Some(131_072)));
    assert_eq!(head.namespaces[0].counters.unwrap().sockstat_tw, 11);
    let seeds: Vec<u64> = recording.seeds().iter().map(|seed| seed.ends_ns - head.mono_ns).collect();
    assert_eq!(seeds, [0, 1, 2, 3, 4]);
    let ended = recording.end();
    let tail = ended.tail().unwrap();
    assert_eq!((tail.stop, tail.events, tail.live, tail.lost.created), (Stop::Command, 61, 41, 2));
    assert_eq!(tail.command.unwrap().exit, Exit::Status(0));
    assert_eq!(tail.command.unwrap().usage.involuntary_switches, 37);
}
