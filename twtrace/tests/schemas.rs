//! What programs read is what docs/schema says.
//!
//! Owns: the comparison of every JSON output that can be had without privilege, and of the kept pictures of the others, with its schema.
//! Must not know: any key but `schema_version`.
//!
//! Schemas are checked where `TWTRACE_PYTHON` names a Python with jsonschema; `cargo xtask install` makes one and `cargo xtask test` names it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::BytesMut;
use serde_json::Value;
use twtrace::model::clock::Clock;
use twtrace::model::limitation::{Limitation, What};
use twtrace::output::{Json, SCHEMA_VERSION};
use twtrace::recording::Recording;

/// Schemas, and the commands whose lines they are about.
const OUTPUTS: &[(&str, &[&str])] = &[
    ("event", &["export", "FILE", "--to", "jsonl", "-o", "-"]),
    ("live", &["replay", "FILE", "--speed", "max", "--json"]),
    ("list", &["list", "--json"]),
    ("list-summary", &["list", "--summary", "--json"]),
    ("doctor", &["doctor", "FILE", "--json"]),
    ("report", &["report", "FILE", "--json"]),
    ("diff", &["diff", "FILE", "FILE", "--json"]),
    // Where this user may not look it says so, which is an object as well.
    ("check", &["check", "--json"]),
];

/// Outputs of a fuller world, in our source.
const KEPT: &[(&str, &str)] = &[
    ("live", "src/present/live/testdata/busy.json"),
    ("report", "src/present/report/testdata/report.json"),
    ("report", "src/present/report/testdata/hosts.json"),
    ("diff", "src/present/diff/testdata/diff.json"),
];

fn of_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What `events` and `list` say of what cannot be seen.
fn limitations() -> [(&'static str, Value); 2] {
    let limitation = Limitation::new(What::Sockets, "no list", "modprobe tcp_diag");
    let mut event = BytesMut::new();
    Json::new(Clock { mono_ns: 1, wall_ns: 1 }).limitation(&limitation, 1, &mut event);
    let mut line = Vec::new();
    twtrace::present::list::limitation_line(&limitation, &mut line);
    [("event", serde_json::from_slice(&event).unwrap()), ("list", serde_json::from_slice(&line).unwrap())]
}

/// A TIME_WAIT socket at least, so that there is one to list.
fn close_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(client);
    // Its end is the peer's FIN: only then has the client's side got one, too.
    let _ = std::io::Read::read(&mut &server, &mut [0]).unwrap();
    drop(server);
}

/// What `serve` logs where a file is missing that it is to read first.
fn logged() -> Vec<Value> {
    let words = ["serve", "--log-format", "json", "--tls-cert", "/no/such", "--tls-key", "/no/such"];
    let output = Command::new(env!("CARGO_BIN_EXE_twtrace")).args(words).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(words: &[&str]) -> Vec<Value> {
    let file = of_crate("tests/data/recording-v1.twt").to_string_lossy().into_owned();
    let words = words.iter().map(|word| if *word == "FILE" { &file } else { *word });
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn outputs() -> Vec<(&'static str, Vec<Value>)> {
    close_a_connection();
    let mut all: Vec<_> = OUTPUTS.iter().map(|(name, words)| (*name, lines(words))).collect();
    let kept = KEPT.iter().map(|(name, path)| {
        let kept = std::fs::read_to_string(of_crate(path)).unwrap();
        (*name, serde_json::from_str(&kept).unwrap())
    });
    for (name, line) in kept.chain(limitations()) {
        let (_, lines) = all.iter_mut().find(|(other, _)| *other == name).unwrap();
        lines.push(line);
    }
    all.push(("log", logged()));
    all
}

#[test]
fn every_object_carries_the_version() {
    for (name, lines) in outputs() {
        assert!(!lines.is_empty(), "{name} prints nothing");
        for line in &lines {
            let version = line.get("schema_version").and_then(Value::as_u64);
            assert_eq!(version, Some(SCHEMA_VERSION.into()), "{name}: {line}");
        }
    }
}

#[test]
fn a_recording_of_before_there_were_versions_has_none() {
    let recording = Recording::open(&of_crate("tests/data/recording-v1.twt")).unwrap();
    assert_eq!(recording.head().schema_version, 0);
}

#[test]
fn every_output_is_as_its_schema_says() {
    let Some(python) = std::env::var_os("TWTRACE_PYTHON") else {
        eprintln!("skipped: TWTRACE_PYTHON names no Python with jsonschema (see `cargo xtask install`)");
        return;
    };
    let (dir, outputs) = (tempfile::tempdir().unwrap(), outputs());
    for (name, lines) in &outputs {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(dir.path().join(format!("{name}.jsonl")), text).unwrap();
    }
    let schemas = of_crate("../docs/schema");
    let known = std::fs::read_dir(&schemas).unwrap().count();
    assert_eq!(known, outputs.len(), "a schema without an output, or an output without a schema");
    let mut command = Command::new(python);
    let checked = command.arg(of_crate("tests/data/valid.py")).arg(schemas).arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
}
