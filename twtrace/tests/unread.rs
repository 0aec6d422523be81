//! Whoever reads the output may go away at any time: every command ends quietly then, with 0 (interface: a broken pipe).

use std::path::Path;
use std::process::{Command, Stdio};

/// Commands that need no privilege, and write more than nothing.
const COMMANDS: &[&[&str]] = &[
    &["report", "FILE"],
    &["report", "FILE", "--json"],
    &["report", "FILE", "--html", "-"],
    &["diff", "FILE", "FILE"],
    &["diff", "FILE", "FILE", "--json"],
    &["export", "FILE", "--to", "csv", "-o", "-"],
    &["export", "FILE", "--to", "jsonl", "-o", "-"],
    &["export", "FILE", "--to", "parquet", "-o", "-"],
    &["replay", "FILE", "--speed", "max", "--plain"],
    &["replay", "FILE", "--speed", "max", "--json"],
    &["doctor", "FILE"],
    &["doctor", "FILE", "--json"],
    &["doctor", "explain"],
    &["list"],
    &["--help"],
];

fn sample() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recording-corpus");
    folder.join("whole.twt").to_string_lossy().into_owned()
}

/// The status and stderr of a command whose stdout nobody reads.
fn unread(words: &[&str]) -> (Option<i32>, String) {
    let file = sample();
    let words = words.iter().map(|word| if *word == "FILE" { &file } else { *word });
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.args(words).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for words in COMMANDS {
        let (status, stderr) = unread(words);
        assert_eq!(status, Some(0), "{words:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("Broken pipe"), "{words:?}: {stderr}");
    }
}

/// Where this user may not look, it says so with 77.
#[test]
fn nor_for_check() {
    for words in [&["check"][..], &["check", "--json"]] {
        let (status, stderr) = unread(words);
        assert!(matches!(status, Some(0 | 77)), "{words:?}: {status:?} {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("Broken pipe"), "{words:?}: {stderr}");
    }
}
