//! What can be told of the files themselves.
//!
//! Owns: looking into them. Must not know: any package manager.

use super::super::{Artefacts, VERSION, name, stage};
use crate::sh;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;

/// Commands whose pages are there.
const COMMANDS: [&str; 14] = [
    "",
    "-check",
    "-demo",
    "-diff",
    "-doctor",
    "-doctor-explain",
    "-drain",
    "-events",
    "-export",
    "-list",
    "-record",
    "-replay",
    "-report",
    "-serve",
];

/// As a user would check them.
pub(super) fn sums(made: &Artefacts) -> Result<()> {
    let mut check = Command::new("sha256sum");
    sh::read(check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&made.folder)).map(drop)
}

/// It names no interpreter and no library, and says so itself.
pub(super) fn is_static(made: &Artefacts) -> Result<()> {
    let parts =
        sh::read(Command::new("readelf").args(["--program-headers", "--dynamic"]).arg(made.binary()))?;
    ensure!(
        !parts.contains("INTERP") && !parts.contains("(NEEDED)"),
        "it has to be loaded with others:\n{parts}"
    );
    let mut program = if made.arch.is_own() {
        Command::new(made.binary())
    } else {
        let mut emulator = Command::new(format!("qemu-{}-static", made.arch.machine()));
        emulator.arg(made.binary());
        emulator
    };
    let said = sh::read(program.args(["--version", "--verbose"]))?;
    ensure!(said.contains("linked statically\n"), "it says: {said}");
    ensure!(!said.contains("unknown"), "it does not know what it was built from: {said}");
    Ok(())
}

/// One folder with all that a user needs; bash takes its completions.
pub(super) fn is_whole(made: &Artefacts) -> Result<()> {
    let list = sh::read(Command::new("tar").args(["--list", "--gzip", "--file"]).arg(made.archive()))?;
    let top = name(&made.archive()).trim_end_matches(".tar.gz").to_owned();
    let pages = COMMANDS.map(|command| format!("man1/twtrace{command}.1.gz"));
    let completions = ["twtrace.bash", "_twtrace", "twtrace.fish"].map(|file| format!("completions/{file}"));
    let units = ["twtrace.service", "twtrace.toml"].map(|file| format!("packaging/{file}"));
    let rest = ["twtrace", stage::NOTICES].iter().chain(&stage::TEXTS).map(|file| (*file).to_owned());
    for wanted in pages.into_iter().chain(completions).chain(units).chain(rest) {
        ensure!(list.lines().any(|line| line == format!("{top}/{wanted}")), "it has no {wanted}:\n{list}");
    }
    let strange = list.lines().find(|line| !line.starts_with(&top));
    ensure!(strange.is_none(), "{strange:?} is outside of its folder");
    let completion = format!("{top}/completions/twtrace.bash");
    let script = format!("set -eu; tar --extract --gzip --to-stdout --file \"$0\" {completion} | bash -n");
    sh::read(Command::new("bash").args(["-c", &script]).arg(made.archive())).map(drop)
}

/// It is CycloneDX of this version, knows crates that are surely there and where they are from, and no path of ours.
pub(super) fn bill(made: &Artefacts) -> Result<()> {
    let text = std::fs::read_to_string(made.bill())?;
    let bill: Value = serde_json::from_str(&text)?;
    ensure!(bill["bomFormat"] == "CycloneDX", "bomFormat is {}", bill["bomFormat"]);
    ensure!(
        bill["metadata"]["component"]["version"] == VERSION,
        "it is of {}",
        bill["metadata"]["component"]
    );
    let components = bill["components"].as_array().context("no components")?;
    for wanted in ["aya", "ring", "twtrace-common"] {
        ensure!(components.iter().any(|component| component["name"] == wanted), "it does not name {wanted}");
    }
    let pure =
        |component: &&Value| component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/"));
    let strange = components.iter().find(|component| !pure(component));
    ensure!(strange.is_none(), "a component without an address: {strange:?}");
    ensure!(!text.contains("file://"), "it names a folder of the machine that built it");
    Ok(())
}
