//! What a user has to know beside the output, and reads on stderr: what matches nothing, what could not be seen, how much there was.
//!
//! Owns: that it is said, on a terminal in as many columns as there are. Must not know: how it is found out.

use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use twtrace::model::event::{Conn, Event, Kind};
use twtrace::model::limitation::{Limitation, What};
use twtrace::recording::{Encoder, Head, Tail};

/// A second in which so many sockets were there before, and so many were made.
fn recording(path: &Path, listed: u16, created: u16) {
    let limitations = vec![Limitation::new(What::BindFailed, "no hook", "none")];
    let head = Head { mono_ns: 1, limitations, host: path.display().to_string(), ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    for at in 0..listed + created {
        let (saddr, daddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap());
        let conn = Conn { netns: 7, ifindex: 0, saddr, daddr, sport: 40_000 + at, dport: 80 };
        let kind = if at < listed { Kind::Listed } else { Kind::Created };
        encoder.append(&Event::new(kind, 10 + u64::from(at), Some(conn)));
    }
    encoder.finish(&Tail { mono_ns: 1_000_000_001, ..Tail::default() }).unwrap();
    std::fs::write(path, encoder.bytes()).unwrap();
}

fn run(dir: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    command.args(words.split(' ')).current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

fn said(dir: &Path, words: &str) -> String {
    String::from_utf8(run(dir, words).stderr).unwrap()
}

#[test]
fn an_export_counts_as_the_recording_did_and_says_what_was_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    recording(&dir.path().join("a.twt"), 3, 7);
    recording(&dir.path().join("b.twt"), 0, 1);
    let unseen = "twtrace: not seen when it was recorded: bind_failed events";
    let all = said(dir.path(), "export a.twt --to csv -o a.csv");
    assert!(all.contains("exported 7 events and 3 sockets from before, ") && all.contains(unseen), "{all}");
    let one = said(dir.path(), "export b.twt --to parquet --partition host -o set");
    assert!(one.contains("exported 1 event of 1 recording, ") && one.contains(" to 1 file in set"), "{one}");
    assert!(one.contains(unseen), "{one}");
    // Lines of JSON have it among them.
    let lines = run(dir.path(), "export a.twt --to jsonl -o -");
    let (stdout, stderr) =
        (String::from_utf8(lines.stdout).unwrap(), String::from_utf8(lines.stderr).unwrap());
    assert!(stdout.starts_with(r#"{"event":"limitation","#) && stdout.lines().count() == 11, "{stdout}");
    assert!(!stderr.contains("not seen"), "{stderr}");
}

#[test]
fn a_list_says_what_matches_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    drop(client);
    let _ = server.read(&mut [0]).unwrap();
    drop(server);
    let dir = tempfile::tempdir().unwrap();
    recording(&dir.path().join("a.twt"), 0, 1);
    for (flags, why) in [
        ("--pid 4194305", "--pid 4194305 matches nothing now: there is no such process"),
        ("--comm no-such-name", "--comm no-such-name matches nothing now: no process has such a name"),
        ("--cgroup /no/such", "--cgroup /no/such matches nothing now: there is no such cgroup"),
        ("--json --pid 4194305", "--pid 4194305 matches nothing now"),
    ] {
        let all = said(dir.path(), &format!("list --recording a.twt {flags}"));
        assert!(all.contains(why), "{flags}: {all}");
    }
    // There is one of that port, by which the list is asked.
    let port = listener.local_addr().unwrap().port();
    let found = run(dir.path(), &format!("list --recording a.twt --port {port}"));
    let [stdout, stderr] = [found.stdout, found.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(stdout.contains(&format!(":{port}")) && !stderr.contains("matches nothing"), "{stdout}{stderr}");
}

#[test]
fn a_condition_that_cannot_be_told_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    recording(&dir.path().join("a.twt"), 0, 1);
    let output = Command::new(env!("CARGO_BIN_EXE_twtrace"))
        .args(["diff", "a.twt", "a.twt", "--fail-if", "lifetime_p50 > 1"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("'lifetime_p50 > 1' cannot be told, which counts as if it held: "), "{said}");
}

#[test]
fn a_locale_without_unicode_gets_ascii() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for words in ["report recording-v2.twt --by tuple,peer", "doctor recording-v2.twt"] {
        let in_locale = |locale: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
            let output = command.args(words.split(' ')).current_dir(&sample).env("LC_ALL", locale).output();
            // A name in it is not ours.
            String::from_utf8(output.unwrap().stdout).unwrap().replace('é', "e")
        };
        let (plain, whole) = (in_locale("C"), in_locale("C.UTF-8"));
        assert!(words.starts_with("doctor") || whole.contains('≤'), "{whole}");
        assert!(plain.is_ascii() && plain.lines().count() == whole.lines().count(), "{plain}");
    }
}

/// What a command writes to a terminal of 80 columns.
fn on_a_terminal(dir: &Path, words: &str) -> String {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    command.args(words.split(' ')).current_dir(dir).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::from(slave)).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut terminal, mut all, mut chunk) = (File::from(master), Vec::new(), [0; 4096]);
    // A terminal that nobody has open any more says EIO.
    while let Ok(length @ 1..) = terminal.read(&mut chunk) {
        all.extend(&chunk[..length]);
    }
    child.wait().unwrap();
    String::from_utf8(all).unwrap()
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let widest = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max().unwrap_or(0);
    for words in ["report recording-v2.twt --every 10s", "diff recording-v1.twt recording-v2.twt"] {
        let piped = String::from_utf8(run(&sample, words).stdout).unwrap();
        let shown = on_a_terminal(&sample, words);
        assert!(shown.lines().count() > 30, "{words}: {shown}");
        assert!(widest(&piped) > 90 && widest(&shown) <= 80, "{words}: {}: {shown}", widest(&shown));
    }
    let checked = on_a_terminal(&sample, "check");
    assert!(widest(&checked) <= 80, "{checked}");
}
