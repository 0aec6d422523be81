//! A generator of connections that knows who closed each of them: one server process, any number of client processes, all on
//! one core.
//!
//! Owns: the hold on it, from the measuring process, and the words between it and us, one JSON value a line. `processes` are the server and
//! its clients, `board` the memory they share. Must not know: how connections are made, tracers, what is made of the numbers.

mod board;
mod processes;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use twtrace_kit::child::Guarded;

use crate::process;
pub(crate) use processes::serve;

/// A generator that runs, in the network namespace of the process that started it.
pub(crate) struct Generator {
    _process: Guarded,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts it, and waits until all of its processes are there.
    ///
    /// # Errors
    /// Where it does not start; its own error is in the message.
    pub(crate) fn start(shape: &Shape) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("generate").args(shape.arguments());
        let mut process = process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (orders, replies) = pipes.context("the generator has no pipes")?;
        let mut generator = Self { _process: process, orders, replies: BufReader::new(replies) };
        match generator.hear()? {
            Reply::Ready => Ok(generator),
            other => bail!("the generator began with {other:?}"),
        }
    }

    /// Makes connections.
    ///
    /// # Errors
    /// Where one of them failed, or the generator died.
    pub(crate) fn run(&mut self, order: Order) -> Result<Done> {
        serde_json::to_writer(&self.orders, &order)?;
        self.orders.write_all(b"\n")?;
        match self.hear()? {
            Reply::Done(done) => Ok(done),
            Reply::Failed(why) => bail!("the generator failed: {why}"),
            Reply::Ready => bail!("the generator did nothing"),
        }
    }

    fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        parse(&line).context("the generator is gone; what it said last is above")
    }
}

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
    fn arguments(&self) -> Vec<String> {
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
    fn length(self) -> Duration {
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
enum Reply {
    /// All of its processes are there.
    Ready,
    /// An order was carried out.
    Done(Done),
    /// It was not, and nothing more will be.
    Failed(String),
}

/// Reads a line.
fn parse(line: &str) -> Result<Reply> {
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
