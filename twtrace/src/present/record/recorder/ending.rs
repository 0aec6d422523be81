//! Owns: the end of a recording: what is asked when it is near, and collected and written once the trace is over.
//! Must not know: how namespaces are asked, the bytes of a recording.

use std::io;

use super::Recorder;
use crate::diagnose::gather::beside::Beside;
use crate::present::record::command::{Parting, Running};
use crate::recording::{Stop, Tail};
use crate::source::View as _;
use crate::source::session::Summary;

impl Recorder {
    /// Begins to ask what only the end tells. Nobody waits for that here: the last moment of the trace would be later.
    pub(super) fn begin_end(&mut self) {
        self.ends = true;
        // Without a thread it is known of the time before.
        self.again = self.met.ask_again(&self.known).ok();
        self.beside.iter_mut().for_each(Beside::end);
    }

    /// Takes in what was asked then.
    fn collect(&mut self) -> io::Result<()> {
        // For those that there is no time to ask again.
        let settings = self.beside.as_ref().map(Beside::settings);
        let others = self.learn(settings.into_iter().flatten());
        let mut collected = Ok(());
        if let Some(again) = self.again.take() {
            match again.answered(&self.known) {
                Ok(at_end) => self.at_end = at_end,
                Err(died) => collected = Err(died.into()),
            }
        }
        self.at_end.extend(others);
        match self.beside.take().map(Beside::stop).transpose() {
            Ok(None) => {}
            Ok(Some((lists, limitations))) => {
                (self.lists, self.seen_beside) = (Some(lists), limitations);
                let known = std::mem::take(&mut self.head.limitations);
                self.limited(&known);
            }
            Err(died) => collected = Err(died.into()),
        }
        collected
    }

    /// After tracing: ends the command where that is due, and writes the end of the recording.
    ///
    /// # Errors
    /// Of writing, if the kernel cannot say how the command ended, and if a thread has died that was to say something at the end.
    pub fn finish(&mut self, summary: &Summary) -> io::Result<Parting> {
        let stop = self.stop.unwrap_or(Stop::Duration);
        let parting = self.part_from_command(stop, summary.unread)?;
        if summary.unread {
            return Ok(parting);
        }
        // Who died is told once the end is written.
        let collected = self.collect();
        let ended = self.running.as_mut().map_or(Ok(None), Running::poll)?;
        let tail = Tail {
            namespaces: std::mem::take(&mut self.at_end),
            lists: self.lists.take(),
            lost: self.lost(&summary.loss),
            live: summary.live as u64,
            ..self.tail(summary.until, stop, ended)
        };
        self.end_in_time(&tail, summary.reader_until)?;
        collected.map(|()| parting)
    }
}
