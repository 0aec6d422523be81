//! Owns: a recording and its command: whether it runs, when the recording ends with it, what becomes of it at the end.
//! Must not know: how a command is started, files.

use std::io;
use std::time::{Duration, Instant};

use super::{Recorder, signals};
use crate::present::record::command::{NotRun, Parting};
use crate::recording::{Exit, Stop};
use crate::source::Flow;

/// How long the end of a recording waits for a command that was sent SIGTERM, to tell how it ended.
const TERM_PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

impl Recorder {
    /// Why the command did not start, if it did not: then there is no recording.
    pub fn refused(&mut self) -> Option<NotRun> {
        self.refused.take()
    }

    /// Whether there is a command that has not ended.
    pub fn command_runs(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.poll(), Ok(None)))
    }

    /// Waits for the end of the command, however long that takes; status 0 where there is none. Signals are passed on to it.
    ///
    /// # Errors
    /// If the kernel cannot say how it ended.
    pub fn wait_for_command(&mut self) -> io::Result<Exit> {
        let Some(running) = &mut self.running else { return Ok(Exit::Status(0)) };
        loop {
            if let Some(ended) = running.poll()? {
                return Ok(ended.exit);
            }
            if let Some(signal) = signals::take()
                && !signals::from_terminal(signal)
            {
                running.signal(signal);
            }
            // poll: a wait for the command would not end for a signal, which is to be passed on.
            std::thread::sleep(POLL);
        }
    }

    /// The pid of a command that is left running, because two signals asked for that.
    pub fn left(&self) -> Option<u32> {
        self.left
    }

    /// Whether the command was told to end because the duration was over.
    pub fn ended_it(&self) -> bool {
        self.told_to_end
    }

    pub(super) fn part_from_command(&mut self, stop: Stop, unread: bool) -> io::Result<Parting> {
        let Some(running) = &mut self.running else { return Ok(Parting::NoCommand) };
        if let Some(ended) = running.poll()? {
            return Ok(Parting::Ended(ended.exit));
        }
        if let (Stop::Signal, Some((_, signal))) = (stop, self.signalled) {
            let pid = running.pid();
            self.left = Some(pid);
            return Ok(Parting::Leaves { pid, signal });
        }
        if !unread {
            self.told_to_end = true;
            running.signal(libc::SIGTERM);
            let patience = Instant::now() + TERM_PATIENCE;
            while running.poll()?.is_none() && Instant::now() < patience {
                // poll: a child's end cannot be waited for with a time limit without a signal handler of its own.
                std::thread::sleep(POLL);
            }
        }
        Ok(running.poll()?.map_or(Parting::Outlasts, |ended| Parting::Ended(ended.exit)))
    }

    /// Whether the command is done, and has been for long enough.
    pub(super) fn follow_command(&mut self, now_ns: u64) -> io::Result<Flow> {
        let Some(running) = &mut self.running else { return Ok(Flow::Go) };
        if running.poll()?.is_none() {
            return Ok(Flow::Go);
        }
        let ended_ns = *self.ended_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(ended_ns) < self.setup.settle.as_nanos() as u64 {
            return Ok(Flow::Go);
        }
        self.stop.get_or_insert(Stop::Command);
        Ok(Flow::Stop)
    }
}
