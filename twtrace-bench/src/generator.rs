//! A generator of connections that knows who closed each of them: one server process, any number of client processes, all on
//! one core.
//!
//! Owns: the hold on it, from the measuring process. `server` and `client` are its processes, `board` the memory they share,
//! `order` the words between it and us. Must not know: tracers, what is made of the numbers.

mod board;
mod client;
mod order;
mod server;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use twtrace_kit::child::Guarded;

use crate::child;
pub(crate) use order::{Done, First, Order, PORT, Shape};
use order::{Reply, parse};
pub(crate) use server::serve;

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
        let mut process = child::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
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
