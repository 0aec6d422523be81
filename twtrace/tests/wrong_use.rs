//! What cannot be done as it was asked for is refused before anything is done: status 2, and words that name the option, the value and the
//! remedy. Nothing that was typed is passed over in silence.
//!
//! Owns: which wrong uses are told, and how. Must not know: how options are read.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// FILE is a recording, DIR a folder of recordings; what is said of it.
const REFUSED: &[(&[&str], &str)] = &[
    // A folder, stdin, and what can be read or written once.
    (&["doctor", "DIR"], "is a folder: name one recording (*.twt) in it"),
    (&["replay", "DIR"], "is a folder: name one recording (*.twt) in it"),
    (&["list", "--recording", "DIR"], "is a folder: name one recording (*.twt) in it"),
    (&["report", "-", "-"], "stdin (-) is named twice and can be read once: name a file"),
    (&["diff", "-", "-"], "stdin (-) is named twice and can be read once: name a file"),
    (
        &["export", "-", "-", "--to", "parquet", "--partition", "host", "-o", "out"],
        "stdin (-) is named twice and can be read once: name a file",
    ),
    (
        &["export", "FILE", "--to", "parquet", "--partition", "host", "-o", "-"],
        "--partition writes a folder of files, and - is stdout: give -o the name of a folder",
    ),
    // What goes with something else.
    (
        &["doctor", "FILE", "--duration", "3s"],
        "--duration is for a live trace, and FILE is a recording: leave out one of them",
    ),
    (&["doctor", "FILE", "--backend", "kprobe"], "--backend is for a live trace"),
    (&["doctor", "FILE", "--no-syscalls"], "--no-syscalls is for a live trace"),
    (&["doctor", "FILE", "--ready-file", "ready"], "--ready-file is for a live trace"),
    (&["doctor", "FILE", "--ring-size", "1M"], "--ring-size is for a live trace"),
    (&["doctor", "FILE", "--no-sandbox"], "--no-sandbox is for a live trace"),
    (&["doctor", "--exit-code", "explain"], "explain looks at nothing: leave out --exit-code"),
    (&["doctor", "FILE", "explain", "tw_reuse"], "explain looks at nothing: leave out FILE"),
    (&["doctor", "--json", "explain", "tw_reuse"], "explain looks at nothing: leave out --json"),
    (&["doctor", "--dport", "80", "explain", "tw_reuse"], "explain looks at nothing: leave out the filters"),
    (&["doctor", "--duration", "3s", "explain"], "explain looks at nothing: leave out --duration"),
    (
        &["doctor", "--duration", "1ms", "--runtime-socket", "/run/x"],
        "--runtime-socket does not apply to doctor: no finding has the name of a container",
    ),
    (
        &["doctor", "--duration", "1ms", "--no-container-names"],
        "--no-container-names does not apply to doctor: no finding has the name of a container",
    ),
    (
        &["demo", "--duration", "1ms", "--runtime-socket", "/run/x"],
        "--runtime-socket does not apply to demo: it shows no names of containers",
    ),
    (
        &["demo", "--duration", "1ms", "--no-container-names"],
        "--no-container-names does not apply to demo: it shows no names of containers",
    ),
    (
        &["demo", "--duration", "1ms", "--no-sandbox"],
        "--no-sandbox does not apply to demo: it gives up no power, as it starts processes while it traces",
    ),
    (
        &["record", "-o", "/dev/null", "--duration", "1ms", "--settle", "1s"],
        "--settle needs a command: it is how long to record after CMD has ended",
    ),
    // Files that are named and cannot be used.
    (&["serve", "--duration", "1ms", "--config", "none"], "cannot read --config none: No such file"),
    (
        &["serve", "--duration", "1ms", "--token-file", "none"],
        "cannot take a token from --token-file none: No such",
    ),
    (
        &["serve", "--duration", "1ms", "--token-file", "/dev/null"],
        "its first line is empty: a token is wanted there",
    ),
    (
        &["serve", "--duration", "1ms", "--tls-cert", "none", "--tls-key", "none"],
        "cannot use --tls-cert none: ",
    ),
    (
        &["serve", "--duration", "1ms", "--otlp", "http://127.0.0.1:9", "--otlp-headers-file", "none"],
        "--otlp-headers-file none: No such file",
    ),
    (
        &["serve", "--duration", "1ms", "--otlp", "https://127.0.0.1:9", "--otlp-ca", "none"],
        "--otlp-ca none: ",
    ),
    (&["serve", "--duration", "1ms", "--keep", "3"], "--keep needs --record DIR"),
    (&["serve", "--duration", "1ms", "--rotate-every", "1h"], "--rotate-every needs --record DIR"),
    (&["serve", "--duration", "1ms", "--rotate-size", "64M"], "--rotate-size needs --record DIR"),
    (&["serve", "--duration", "1ms", "--otlp-ca", "/dev/null"], "--otlp-ca needs --otlp URL"),
    (
        &["serve", "--duration", "1ms", "--otlp-headers-file", "/dev/null"],
        "--otlp-headers-file needs --otlp URL",
    ),
    (&["serve", "--duration", "1ms", "--otlp-protocol", "http"], "--otlp-protocol needs --otlp URL"),
    (&["serve", "--duration", "1ms", "--otlp-every", "30s"], "--otlp-every needs --otlp URL"),
    (
        &["serve", "--duration", "1ms", "--otlp", "http://127.0.0.1:9", "--otlp-every", "0s"],
        "--otlp-every must be 1s or more",
    ),
    // Values.
    (
        &["list", "--dport", "80-90"],
        "'80-90' is not a port between 0 and 65535; several are a list, such as 80,443",
    ),
    (&["list", "--not-port", "65536"], "'65536' is not a port between 0 and 65535"),
    (&["list", "--uid", "root"], "'root' is not a user id such as 1000; `id -u NAME` tells that of a name"),
    (&["list", "--pid", "nginx"], "'nginx' is not a process id such as 1234; names go with --comm"),
    (
        &["serve", "--listen", "localhost:9501"],
        "'localhost:9501' is not an address with a port, such as 127.0.0.1:9478 or [::1]:9478",
    ),
    (&["serve", "--listen", ":9500"], "':9500' is not an address with a port"),
    (&["serve", "--listen", "127.0.0.1"], "'127.0.0.1' is not an address with a port"),
    (&["serve", "--record", "DIR", "--keep", "0"], "'0' is not a number from 1 on"),
    (&["record", "-o", "x", "--rotate-size", "1M", "--keep", "0"], "'0' is not a number from 1 on"),
    (&["report", "FILE", "--every", "1000000d"], "'1000000d' is longer than a hundred years"),
    (&["report", "FILE", "--top", "many"], "'many' is not a number such as 20"),
    (&["events", "--duration", "1ms", "--count", "0"], "'0' is not a number from 1 on"),
    (&["--duration", "1ms", "--count", "0"], "'0' is not a number from 1 on"),
    (
        &["drain", "--below", "10000000", "--interval", "0s"],
        "'0s' is too short a time between two looks: give 100ms or more",
    ),
    (&["--duration", "1ms", "--interval", "99ms"], "'99ms' is too short a time between two looks"),
];

/// A folder with a recording.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("load.twt");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recording-corpus/whole.twt");
    fs::copy(sample, &file).unwrap();
    (dir, file)
}

fn twtrace(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
    let words = words.iter().map(|word| match *word {
        "FILE" => "load.twt",
        "DIR" => ".",
        word => word,
    });
    command.args(words).current_dir(dir).stdin(Stdio::null());
    command
}

/// What it says, with lines that were broken put together.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn wrong_use_is_named() {
    let (dir, _) = folder();
    let mut wrong = Vec::new();
    for (words, why) in REFUSED {
        let output = twtrace(dir.path(), words).output().unwrap();
        let said = said(&output);
        if output.status.code() != Some(2) || !said.contains(why) {
            wrong.push(format!("{words:?}: {}: {said}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_of_options_is_no_other_way() {
    let (dir, _) = folder();
    for (options, why) in [
        ("keep = 3\n", "--keep needs --record DIR"),
        ("otlp-every = \"30s\"\n", "--otlp-every needs --otlp URL"),
    ] {
        fs::write(dir.path().join("serve.toml"), options).unwrap();
        let words = ["serve", "--duration", "1ms", "--config", "serve.toml"];
        let output = twtrace(dir.path(), &words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}

/// Ways to name the recording that is read once more.
#[test]
fn what_is_read_is_not_written_over() {
    let (dir, file) = folder();
    let whole = fs::read(&file).unwrap();
    symlink("load.twt", dir.path().join("link.twt")).unwrap();
    fs::hard_link(&file, dir.path().join("hard.twt")).unwrap();
    let export = |from, to| twtrace(dir.path(), &["export", from, "--to", "csv", "-o", to, "--force"]);
    let report = |from, to| twtrace(dir.path(), &["report", from, "--html", to, "--force"]);
    let mut of_stdin = export("-", "load.twt");
    of_stdin.stdin(File::open(&file).unwrap());
    let mut to_stdout = export("load.twt", "-");
    to_stdout.stdout(File::options().append(true).open(&file).unwrap());
    let commands = [
        export("load.twt", "load.twt"),
        export("load.twt", "./hard.twt"),
        export("link.twt", "load.twt"),
        export("load.twt", "link.twt"),
        of_stdin,
        to_stdout,
        report("load.twt", "load.twt"),
        report(".", "hard.twt"),
    ];
    for mut command in commands {
        let output = command.output().unwrap();
        assert!(fs::read(&file).unwrap() == whole, "{command:?} changed it");
        assert!(fs::read(dir.path().join("hard.twt")).unwrap() == whole, "{command:?} changed it");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(
            said.contains("it is the recording that is read; remedy: another name"),
            "{command:?}: {said}"
        );
    }
    // Somebody else's place is taken as before.
    fs::write(dir.path().join("other.csv"), "old").unwrap();
    let done = export("load.twt", "other.csv").output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
}

#[test]
fn what_goes_together_is_taken() {
    let (dir, _) = folder();
    for words in [
        &["doctor", "FILE", "--exit-code", "--json", "--dport", "80,443"][..],
        &["doctor", "FILE", "--backend", "auto"],
        &["doctor", "explain", "tw_reuse"],
        &["drain", "--below", "10000000", "--interval", "100ms", "--tuple", "[fd77::2],8003"],
        &["drain", "--below", "10000000", "--tuple", "[fd77::1],[fd77::2],8003"],
    ] {
        let output = twtrace(dir.path(), words).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{words:?}: {}", said(&output));
    }
}
