//! Which part of the code may use which.
//!
//! Owns: the direction of dependencies, as ARCHITECTURE.md has it: a layer knows those below it and no other, the loader alone
//! knows aya, the full-screen view alone its drawing library, what is shown does not know the hooks, and the engine neither reads a
//! clock nor does I/O. Must not know: what any of these parts do.

use super::Complaint;
use super::paths::{Named, Paths};
use super::rules::is_test;
use super::source::Source;

/// The layers of userspace, from the bottom: each may name those before it, so there are no circles among them.
const LAYERS: [&str; 10] =
    ["model", "engine", "host", "output", "kernel", "recording", "source", "diagnose", "present", "cli"];

/// A crate, and a folder of userspace that may name it: no other may, but those that stand here as well.
const HOMES: [(&str, &str); 22] = [
    ("aya", "twtrace/src/kernel/probe"),
    ("aya_obj", "twtrace/src/kernel/probe"),
    ("aya_log", "twtrace/src/kernel/probe"),
    ("ratatui", "twtrace/src/present/tui"),
    ("crossterm", "twtrace/src/present/tui"),
    ("arrow_ipc", "twtrace/src/recording"),
    ("arrow_ipc", "twtrace-bench/src/arms/recording"),
    ("flatbuffers", "twtrace/src/recording"),
    ("parquet", "twtrace/src/present/export"),
    ("csv", "twtrace/src/present/export"),
    ("hyper", "twtrace/src/present/serve"),
    ("hyper_util", "twtrace/src/present/serve"),
    ("hyper", "twtrace/src/host/wire"),
    ("hyper_util", "twtrace/src/host/wire"),
    ("prost", "twtrace/src/host/wire"),
    ("prost", "twtrace/src/host/runtimes"),
    ("hyper", "twtrace/src/host/runtimes"),
    ("hyper_util", "twtrace/src/host/runtimes"),
    ("prost", "twtrace/src/present/serve/otlp"),
    ("opentelemetry_proto", "twtrace/src/present/serve/otlp"),
    ("tokio_rustls", "twtrace/src/host/wire"),
    ("tokio_rustls", "twtrace/src/present/serve"),
];

/// What shows, diagnoses or stores what it is given, whoever traced it.
const BLIND_TO_PROBE: [&str; 6] =
    ["diagnose", "kernel/decode", "present", "recording", "source/inquiry", "source/replay"];

/// What an engine that can be replayed from a script must not touch; a `*` stands for the rest of a name.
const NOT_IN_ENGINE: [&str; 10] = [
    "std::fs",
    "std::io",
    "std::process",
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "nix",
    "libc",
];

/// Complaints about dependencies that point the wrong way.
pub(super) fn all(source: &Source, paths: &Paths) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for Named { path, line, .. } in &paths.found {
        if let Some((name, home)) = wrong_home(source.path, path) {
            complaints.push(source.complain(*line, format!("`{name}` may be named in {home} only")));
        }
        if let Some((own, above)) = climbs(source.path, path) {
            complaints.push(
                source.complain(*line, format!("`{path}`: {own} is below {above}, and must not know it")),
            );
        }
        if in_module(source.path, &BLIND_TO_PROBE) && leads_to_probe(path) {
            complaints.push(
                source.complain(*line, format!("`{path}`: what shows or stores data must not know probe")),
            );
        }
        if in_module(source.path, &["engine"]) && NOT_IN_ENGINE.iter().any(|rule| forbids(rule, path)) {
            complaints
                .push(source.complain(*line, format!("`{path}`: the engine reads no clock and does no I/O")));
        }
    }
    complaints.dedup();
    complaints
}

fn wrong_home(file: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let first = path.split("::").next().unwrap_or_default();
    let mut homes = HOMES.iter().filter(|(name, _)| *name == first);
    let home = *homes.clone().next()?;
    homes.all(|(_, home)| !is_module(file, home)).then_some(home)
}

/// Whether `file` is `module.rs` or lies under `module/`.
fn is_module(file: &str, module: &str) -> bool {
    file.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn in_module(file: &str, names: &[&str]) -> bool {
    names.iter().any(|name| is_module(file, &format!("twtrace/src/{name}")))
}

/// The path without `crate::` or the `super::`s in front; `None` where it leads into another crate or stays in its module.
fn inside(path: &str) -> Option<&str> {
    let mut rest = path.strip_prefix("crate::").or_else(|| path.strip_prefix("super::"))?;
    while let Some(above) = rest.strip_prefix("super::") {
        rest = above;
    }
    Some(rest)
}

fn leads_to_probe(path: &str) -> bool {
    let from_kernel = |path| inside(path).map(|rest| rest.strip_prefix("kernel::").unwrap_or(rest));
    from_kernel(path).and_then(|rest| rest.split("::").next()) == Some("probe")
}

/// The file's layer and the one above it that it names. A test may compare with what is above.
fn climbs(file: &str, path: &str) -> Option<(&'static str, &'static str)> {
    if is_test(file) {
        return None;
    }
    let own = LAYERS.iter().position(|layer| in_module(file, &[layer]))?;
    let named = inside(path)?.split("::").next()?;
    let above = LAYERS.iter().position(|layer| *layer == named)?;
    (above > own).then(|| (LAYERS[own], LAYERS[above]))
}

fn forbids(rule: &str, path: &str) -> bool {
    match rule.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::{Paths, all};

    fn lines(path: &str, sample: &str) -> Vec<usize> {
        let text = format!("//! Mentions aya, ratatui and std::fs in words only.\n{sample}");
        let source = Source::parse(path, &text).unwrap();
        all(&source, &Paths::of(&source)).into_iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn aya_is_at_home_in_probe_only() {
        for sample in [
            "use aya::Ebpf;\n",
            "use {std::fmt, aya::maps};\n",
            "fn f(a: aya::Ebpf) {}\n",
            "extern crate aya;\n",
        ] {
            assert_eq!(lines("twtrace/src/cli/run.rs", sample), [2], "{sample}");
            assert!(lines("twtrace/src/kernel/probe/load.rs", sample).is_empty(), "{sample}");
            assert!(lines("twtrace/src/kernel/probe.rs", sample).is_empty(), "{sample}");
        }
        assert_eq!(lines("twtrace/src/kernel/prober.rs", "use aya::Ebpf;\n"), [2]);
        assert!(lines("twtrace-ebpf/src/main.rs", "use aya_ebpf::maps;\n").is_empty());
        assert_eq!(lines("twtrace/src/present/report/html.rs", "use ratatui::Frame;\n"), [2]);
    }

    #[test]
    fn the_engine_reads_no_clock_and_does_no_io() {
        let bad = [
            "use std::fs;\n",
            "use std::{fmt, time::{Duration, Instant}};\n",
            "use std::net::{IpAddr, TcpStream};\n",
            "fn f() { let _ = std::time::SystemTime::now(); }\n",
            "use tokio::sync::mpsc;\n",
            "use std::io::{self, Write};\n",
            "use crate::kernel::probe::Backend;\n",
        ];
        for sample in bad {
            assert!(!lines("twtrace/src/engine/table.rs", sample).is_empty(), "{sample}");
        }
        assert!(lines("twtrace/src/cli/live.rs", "use std::fs;\n").is_empty());
        let good = "use std::net::IpAddr;\nuse std::time::Duration;\nuse std::fmt;\n";
        assert!(lines("twtrace/src/engine/table.rs", good).is_empty());
    }

    #[test]
    fn what_shows_data_does_not_know_where_it_came_from() {
        for sample in [
            "use crate::kernel::probe::Loader;\n",
            "use super::super::probe::x;\n",
            "use super::super::super::kernel::probe::x;\n",
            "fn f() { crate::kernel::probe::run() }\n",
        ] {
            assert_eq!(lines("twtrace/src/present/tui/view.rs", sample), [2], "{sample}");
            assert_eq!(lines("twtrace/src/recording/rows.rs", sample), [2], "{sample}");
            assert_eq!(lines("twtrace/src/kernel/decode.rs", sample), [2], "{sample}");
        }
        assert!(lines("twtrace/src/cli/live.rs", "use crate::kernel::probe::Loader;\n").is_empty());
        assert!(lines("twtrace/src/present/tui/view.rs", "use crate::kernel::probed::Loader;\n").is_empty());
    }

    #[test]
    fn a_layer_knows_those_below_it() {
        assert_eq!(lines("twtrace/src/model/event.rs", "use crate::host::net::books;\n"), [2]);
        assert_eq!(lines("twtrace/src/model.rs", "use crate::cli;\n"), [2]);
        assert_eq!(lines("twtrace/src/host/net/books.rs", "use super::super::super::source::x;\n"), [2]);
        assert_eq!(lines("twtrace/src/diagnose/text.rs", "fn f() { crate::present::live::x() }\n"), [2]);
        assert!(lines("twtrace/src/present/tui.rs", "use crate::{diagnose, present::live};\n").is_empty());
    }
}
