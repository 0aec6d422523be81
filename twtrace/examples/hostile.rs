//! Writes a recording that is hard to read: `hostile clock|namespaces|processes|everything|columns|dictionaries EVENTS FILE`. Small ones are in the tests; this
//! one is for looking at what a large one costs a reader: `command time -v twtrace report FILE`.
//!
//! Owns: the command line. Must not know: what is in the recordings.

#[path = "../tests/hostile/mod.rs"]
mod hostile;

use std::fs::File;

use anyhow::{Context as _, Result, anyhow, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, events, path] = &args[..] else {
        bail!("usage: hostile clock|namespaces|processes|everything|columns|dictionaries EVENTS FILE");
    };
    let kind: hostile::Hostile = kind.parse().map_err(|why: String| anyhow!(why))?;
    let events = events.parse().with_context(|| format!("{events} is no number of events"))?;
    kind.write(events, &mut File::create(path)?)?;
    Ok(())
}
