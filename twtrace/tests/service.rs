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
