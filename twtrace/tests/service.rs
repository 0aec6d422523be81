//! What packaging/ says of the service is so.
//!
//! Owns: the comparison of the unit with what twtrace needs, and with what systemd thinks of it.
//! Must not know: how a service is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use twtrace::host::caps::Cap;

/// The most that a service may be exposed, in systemd's points; times ten as systemd-analyze wants it.
const MOST_EXPOSED: &str = "30";

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

#[test]
fn the_service_has_the_capabilities_that_tracing_needs_and_no_others() {
    let unit = std::fs::read_to_string(packaged("twtrace.service")).unwrap();
    let mut needed = Cap::ALL.map(Cap::name);
    needed.sort_unstable();
    for setting in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let words = unit.lines().find_map(|line| line.strip_prefix(setting)).unwrap();
        let mut words: Vec<&str> = words.split(' ').collect();
        words.sort_unstable();
        assert_eq!(words, needed, "{setting}");
    }
}

#[test]
fn what_somebody_has_to_mend_first_is_not_tried_again_and_again() {
    let unit = std::fs::read_to_string(packaged("twtrace.service")).unwrap();
    let prevented =
        unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap_or_default();
    assert_eq!(prevented, "2 77");
    let twtrace = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_twtrace")).args(args).output().unwrap();
    let help = String::from_utf8(twtrace(&["--help"]).stdout).unwrap();
    assert!(help.contains("\n  77  not possible on this machine"), "{help}");
    // By a key of its configuration as well, which is what most often is wrong.
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "nonsense = 1\n").unwrap();
    for args in [&["serve", "--nonsense"][..], &["serve", "--config", config.path().to_str().unwrap()]] {
        assert_eq!(twtrace(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_keys_of_its_configuration_are_flags() {
    let help = Command::new(env!("CARGO_BIN_EXE_twtrace")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let text = std::fs::read_to_string(packaged("twtrace.toml")).unwrap();
    let keys: Vec<&str> =
        text.lines().filter_map(|line| Some(line.strip_prefix("# ")?.split_once(" = ")?.0)).collect();
    assert!(keys.len() > 3, "{text}");
    for key in keys {
        assert!(help.contains(&format!("--{key} ")), "{key} is no flag of serve");
    }
}

#[test]
fn the_service_is_hardly_exposed() {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold", MOST_EXPOSED]);
    let Ok(said) = command.arg(packaged("twtrace.service")).output() else {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    };
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}
