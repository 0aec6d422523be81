//! The words between the measuring process and the generator: one JSON value a line.
//!
//! Owns: their form, and the generator's command line. Must not know: how connections are made.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Where the server listens, on every address.
pub(crate) const PORT: u16 = 10_007;

/// Which end closes first, and so has the TIME_WAIT socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum First {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

/// What does not change while a generator lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Shape {
    /// Which end closes first
    #[arg(long, value_enum)]
    pub(crate) first: First,
    /// Client processes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub(crate) processes: u32,
    /// Connections go in turn to so many addresses, 127.0.0.1 and on
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) targets: u8,
}

impl Shape {
    /// As its command line has it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let first = match self.first {
            First::Client => "client",
            First::Server => "server",
        };
        let numbers = [("--processes", self.processes), ("--targets", self.targets.into())];
        let mut arguments = vec!["--first".to_owned(), first.to_owned()];
        arguments.extend(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
        arguments
    }
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Connections a second; `None`: as many as one core can make.
    pub(crate) rate: Option<u32>,
    /// For how long, in milliseconds.
    pub(crate) for_ms: u64,
}

impl Order {
    /// For how long.
    pub(super) fn length(self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Connections opened and closed by both ends.
    pub(crate) made: u64,
    /// From the first to the end of the last, in seconds.
    pub(crate) elapsed_s: f64,
    /// Half of the connect() calls took no longer, in nanoseconds.
    pub(crate) p50_ns: u64,
    /// 99 of 100 connect() calls took no longer, in nanoseconds.
    pub(crate) p99_ns: u64,
    /// Processes that closed first, and how many connections each.
    pub(crate) owners: Vec<(u32, u64)>,
}

/// What the generator says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// All of its processes are there.
    Ready,
    /// An order was carried out.
    Done(Done),
    /// It was not, and nothing more will be.
    Failed(String),
}

/// Reads a line.
pub(super) fn parse(line: &str) -> Result<Reply> {
    serde_json::from_str(line).with_context(|| format!("`{}` is no reply", line.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        shape: Shape,
    }

    #[test]
    fn a_shape_survives_the_command_line() {
        for first in [First::Client, First::Server] {
            let shape = Shape { first, processes: 101, targets: 3 };
            let line = Line::try_parse_from(std::iter::once("x".to_owned()).chain(shape.arguments()));
            assert_eq!(line.ok().map(|line| line.shape), Some(shape));
        }
    }

    #[test]
    fn a_reply_survives_the_pipe_and_anything_else_is_an_error() {
        let done = Done { made: 7, elapsed_s: 0.5, p50_ns: 11, p99_ns: 13, owners: vec![(17, 7)] };
        let line = serde_json::to_string(&Reply::Done(done)).unwrap();
        assert!(matches!(parse(&line), Ok(Reply::Done(done)) if done.owners == [(17, 7)]));
        assert!(parse("").is_err());
    }
}
