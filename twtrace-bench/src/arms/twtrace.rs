//! twtrace in its modes: how each is run, and what it told.
//!
//! Owns: its flags and outputs. Must not know: how loads are made.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use twtrace_kit::wait::{PATIENCE, until_true};

use super::recording::{self, Line};
use super::{Heard, OUT, READY, Tools, text};
use crate::model::{Arm, Told};

/// How long the live view may take to show what it knows: it does so every second.
const PICTURE: Duration = Duration::from_millis(2500);

pub(super) fn command(arm: Arm, tools: &Tools, dir: &Path) -> Command {
    let mut command = Command::new(&tools.twtrace);
    match arm {
        Arm::Events => command.args(["events", "--json", "--verbose"]),
        Arm::Record => command.args(["record", "-o"]).arg(dir.join(OUT)),
        _ => command.arg("--plain"),
    };
    command.args(["--backend", &tools.backend, "--ready-file"]).arg(dir.join(READY));
    command
}

pub(super) fn read(arm: Arm, dir: &Path, heard: &Heard) -> Result<Told> {
    let out = dir.join(OUT);
    let mut told = match arm {
        Arm::Events => events(BufReader::new(File::open(&out)?), heard)?,
        Arm::Record => recorded(&out, heard)?,
        _ => Picture::last(&text(&out)).context("no picture")?.told(),
    };
    told.bytes = Some(std::fs::metadata(&out)?.len());
    Ok(told)
}

/// What a mode says about itself: `events` and `record` at their end, the live view in each picture.
pub(super) fn summed_up(arm: Arm, out: &str, errors: &str) -> Result<Told> {
    if arm == Arm::Live {
        return Ok(Picture::last(out).context("no picture")?.told());
    }
    let after = |word: &str| {
        let mut matches = errors.match_indices(word).map(|(at, _)| &errors[at + word.len()..]);
        let number =
            |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        matches.find_map(number)
    };
    let lost = if arm == Arm::Record { after(" lost ") } else { after("lost: ") };
    let lost: u64 = lost.with_context(|| format!("no summary in `{errors}`"))?;
    Ok(Told { created: after("created: "), lost: Some(lost), ..Told::default() })
}

/// What is being added up.
#[derive(Default)]
struct Sum {
    owners: HashMap<u32, u64>,
    created: u64,
    lines: u64,
    lost: u64,
    owners_lost: u64,
    missed_runs: u64,
}

impl Sum {
    fn add(&mut self, line: &Line, heard: &Heard) {
        match line.event {
            "lost" => {
                self.lost += line.count.unwrap_or(0);
                self.owners_lost += line.owners.unwrap_or(0);
                self.missed_runs += line.missed_runs.unwrap_or(0);
            }
            "created" if line.netns == Some(heard.site.netns) => {
                self.created += 1;
                *self.owners.entry(line.pid.unwrap_or(0)).or_default() += 1;
            }
            _ => {}
        }
        self.lines += 1;
    }

    fn told(self, heard: &Heard) -> Told {
        Told {
            created: Some(self.created),
            right: Some(heard.made.owners.right(self.owners)),
            lost: Some(self.lost),
            owners_lost: self.owners_lost,
            missed_runs: self.missed_runs,
            lines: Some(self.lines),
            bytes: None,
        }
    }
}

fn events(input: impl std::io::BufRead, heard: &Heard) -> Result<Told> {
    let mut sum = Sum::default();
    for line in input.lines() {
        let line = line?;
        sum.add(&serde_json::from_str(&line).with_context(|| format!("`{line}` is no event"))?, heard);
    }
    Ok(sum.told(heard))
}

fn recorded(path: &Path, heard: &Heard) -> Result<Told> {
    let bytes = std::fs::read(path)?;
    let mut sum = Sum::default();
    recording::read(&bytes, |line| sum.add(line, heard)).context("not all of the recording can be read")?;
    Ok(sum.told(heard))
}

/// What is read of a picture of the plain live view.
#[derive(Debug, Default, PartialEq, Eq)]
struct Picture {
    created: u64,
    lost: u64,
    owners_lost: u64,
    missed_runs: u64,
}

impl Picture {
    /// The last complete one in a text.
    fn last(text: &str) -> Option<Self> {
        let mut last = None;
        let mut head = Self::default();
        for line in text.lines() {
            if line.starts_with("twtrace ") {
                let lost = |before: &str, after: &str| {
                    let rest = line.split_once(before)?.1;
                    rest.split_once(after).map_or(rest, |(number, _)| number).trim().parse().ok()
                };
                head = Self {
                    lost: lost(", lost ", " (").unwrap_or(0),
                    owners_lost: lost(" (+ ", " owners").unwrap_or(0),
                    missed_runs: lost(" owners, ", " runs").unwrap_or(0),
                    created: 0,
                };
            } else if let Some((_, rest)) = line.split_once("total ")
                && let Some((created, _)) = rest.split_once(" created")
            {
                last = Some(Self { created: created.parse().ok()?, ..head });
            }
        }
        last
    }

    fn told(self) -> Told {
        Told {
            created: Some(self.created),
            lost: Some(self.lost),
            owners_lost: self.owners_lost,
            missed_runs: self.missed_runs,
            ..Told::default()
        }
    }
}

/// Waits until the plain live view shows all that was created, or has had time to and shows something.
pub(super) fn await_picture(out: &Path, created: Option<u64>) -> Result<()> {
    let deadline = Instant::now() + PICTURE;
    until_true("a picture", PATIENCE, || {
        let shown = Picture::last(&text(out));
        let enough = |shown: Picture| created.is_some_and(|created| shown.created >= created);
        Ok(shown.is_some_and(|shown| enough(shown) || Instant::now() > deadline))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::First;
    use crate::site::{Made, Owners, Site};

    #[test]
    fn events_of_our_namespace_are_counted_and_losses_added() {
        let text = r#"{"event":"created","netns":7,"pid":11}
{"event":"created","netns":7,"pid":12}
{"event":"created","netns":7}
{"event":"created","netns":8,"pid":11}
{"event":"ended","netns":7,"pid":11}
{"event":"lost","count":3,"owners":1,"missed_runs":2}
{"event":"lost","count":4,"owners":0,"missed_runs":0}
"#;
        let owners = Owners::AnyOf(vec![11]);
        let made = Made { count: 3, elapsed_s: 1.0, connect: None, owners };
        let site = Site { netns: 7, port: 1, first: First::Client };
        let heard = Heard { site, made: &made, created: Some(3) };
        let told = events(text.as_bytes(), &heard).unwrap();
        assert_eq!((told.created, told.right, told.lost, told.lines), (Some(3), Some(1), Some(7), Some(7)));
        assert_eq!((told.owners_lost, told.missed_runs), (1, 2));
        assert!(events("nonsense\n".as_bytes(), &heard).is_err());
    }

    #[test]
    fn summaries_are_read() {
        let said =
            "twtrace: tracing\ncreated: 204, ended: 2 (expired 2)\nlive: 29017\nlost: 3\ntraced 0.8 s\n";
        let told = summed_up(Arm::Events, "", said).unwrap();
        assert_eq!((told.created, told.lost), (Some(204), Some(3)));
        let said = "recorded 24 events in 7.0 s, lost 5, live at the end 7: 11 bytes in out\n";
        assert_eq!(summed_up(Arm::Record, "", said).unwrap().lost, Some(5));
        assert!(summed_up(Arm::Events, "", "killed\n").is_err());
    }

    #[test]
    fn the_last_picture_counts() {
        let line = "rate     created 7/s, ended 0/s; total 17 created, 2 ended\n";
        let text = format!(
            "twtrace  18:28:11, traced 7s, tracepoint backend, lost 0\n{line}\n\
             twtrace  18:28:12, traced 8s, tracepoint backend, lost 5 (+ 3 owners, 2 runs)\n{}",
            line.replace("17", "1009")
        );
        let want = Picture { created: 1009, lost: 5, owners_lost: 3, missed_runs: 2 };
        assert_eq!(Picture::last(&text), Some(want));
        assert_eq!(Picture::last("twtrace  18:28:11, lost 0\n"), None);
    }
}
