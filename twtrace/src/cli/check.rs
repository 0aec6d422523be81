//! Owns: `twtrace check`: what this machine can do.
//! Must not know: how it is found out.

use std::io::{self, Write};

use super::{Outcome, say_cannot};
use crate::host::caps::{self, Cap, Caps};
use crate::host::identity::pids;
use crate::host::sandbox::{self, Sandbox};
use crate::kernel::probe::{self, Backend, Fallback, Survey, Way};
use crate::model::limitation::{Limitation, What};
use crate::output::object_line;
use crate::output::room::{fold, terminal_columns};

/// What stands before a line that goes on.
const BELOW: &str = "            ";

/// `twtrace check`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let survey = match probe::survey() {
        Ok(survey) => survey,
        Err(cannot) => {
            if args.json {
                let (reason, remedy) = (cannot.to_string(), cannot.remedy());
                put(&serde_json::json!({ "usable": false, "reason": reason, "remedy": remedy }))?;
            }
            say_cannot(&cannot);
            return Ok(Outcome::Cannot);
        }
    };
    let best = survey.backends.iter().find(|(_, result)| result.is_ok()).map(|(backend, _)| *backend);
    if args.json {
        put(&json(&survey, best)?)?;
    } else {
        let mut whole = Vec::new();
        text(&survey, best, &mut whole)?;
        let whole = String::from_utf8_lossy(&whole);
        io::stdout().lock().write_all(laid_out(&whole, terminal_columns()).as_bytes())?;
    }
    Ok(if best.is_some() { Outcome::Done } else { Outcome::Cannot })
}

fn put(object: &serde_json::Value) -> io::Result<()> {
    let mut line = Vec::new();
    object_line(object, &mut line);
    io::stdout().lock().write_all(&line)
}

fn kernel() -> String {
    nix::sys::utsname::uname()
        .map(|name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()))
        .unwrap_or_else(|_| "unknown".to_owned())
}

/// In lines of a terminal's columns, where it is for one: what goes on stands below what it belongs to.
fn laid_out(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    let lines = text.lines().flat_map(|line| fold("", line, BELOW, columns));
    lines.map(|line| line + "\n").collect()
}

fn text(survey: &Survey, best: Option<Backend>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "kernel      {}", kernel())?;
    writeln!(out, "BTF         /sys/kernel/btf/vmlinux, every field found")?;
    if let Some(way) = survey.functions {
        writeln!(out, "functions   {}", way.words())?;
    }
    for (backend, result) in &survey.backends {
        match result {
            Ok(notes) => {
                writeln!(out, "{backend:<11} works")?;
                for limitation in probe::limitations(notes) {
                    let Limitation { what, why, remedy } = limitation;
                    writeln!(
                        out,
                        "            without {}: {why}\n            remedy: {remedy}",
                        what.words()
                    )?;
                }
            }
            Err(fallback) => {
                writeln!(out, "{backend:<11} no: {fallback}\n            remedy: {}", fallback.why.remedy())?;
            }
        }
    }
    let caps = Caps::own();
    for cap in caps.missing(&Cap::ALL) {
        writeln!(out, "missing     {cap}: {}", cap.serves())?;
    }
    for limitation in pids::limitations() {
        writeln!(out, "{limitation}")?;
    }
    let Sandbox { kept, lacks } = sandbox::survey()?;
    let kept = if kept.is_empty() { "no capabilities".to_owned() } else { caps::list(&kept) };
    writeln!(out, "sandbox     a trace keeps {kept}")?;
    for lack in lacks {
        writeln!(out, "            without it: {lack}\n            remedy: {}", lack.remedy())?;
    }
    match best {
        Some(backend) => writeln!(out, "twtrace will use {backend}"),
        None => writeln!(out, "twtrace cannot trace here; `twtrace list` needs no hooks"),
    }
}

fn json(survey: &Survey, best: Option<Backend>) -> io::Result<serde_json::Value> {
    let why = |fallback: &Fallback| {
        serde_json::json!({
            "hook": fallback.hook,
            "what": fallback.without.map(What::id),
            "without": fallback.without.map(What::words),
            "reason": fallback.why.to_string(),
            "remedy": fallback.why.remedy(),
        })
    };
    let backends: Vec<serde_json::Value> = survey
        .backends
        .iter()
        .map(|(backend, result)| match result {
            Ok(notes) => serde_json::json!({
                "backend": backend.word(), "works": true, "notes": notes.iter().map(why).collect::<Vec<_>>(),
            }),
            Err(fallback) => {
                serde_json::json!({ "backend": backend.word(), "works": false, "notes": [why(fallback)] })
            }
        })
        .collect();
    let Sandbox { kept, lacks } = sandbox::survey()?;
    let lacks =
        lacks.iter().map(|lack| serde_json::json!({ "reason": lack.to_string(), "remedy": lack.remedy() }));
    Ok(serde_json::json!({
        "usable": best.is_some(),
        "missing_capabilities": Caps::own().missing(&Cap::ALL).iter().map(|cap| cap.name()).collect::<Vec<_>>(),
        "limitations": pids::limitations(),
        "kernel": kernel(),
        "functions": survey.functions.map(Way::id),
        "backend": best.map(Backend::word),
        "backends": backends,
        "sandbox": {
            "kept_capabilities": kept.iter().map(|cap| cap.name()).collect::<Vec<_>>(),
            "lacks": lacks.collect::<Vec<_>>(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_lines_have_its_columns() {
        let text = "kernel      Linux\nfentry      no: for a reason that is rather long, and for another one\n            remedy: none\n";
        assert_eq!(laid_out(text, None), text);
        let folded = "kernel      Linux\nfentry      no: for a reason that is\n            rather long, and for another\n            one\n            remedy: none\n";
        assert_eq!(laid_out(text, Some(40)), folded);
    }
}
