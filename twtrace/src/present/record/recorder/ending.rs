//! Owns: the end of a recording: what is asked when it is near, and collected and written once the trace is over.
//! Must not know: how namespaces are asked, the bytes of a recording.

use std::io;

use super::Recorder;
use crate::diagnose::gather::beside::Beside;
use crate::host::worker::Died;
use crate::model::limitation::Limitations;
use crate::present::record::command::{Parting, Running};
use crate::recording::lists::Lists;
use crate::recording::{Namespace, Stop, Tail};
use crate::source::session::Summary;

impl Recorder {
    /// Begins to ask what only the end tells. Nobody waits for that here: the last moment of the trace would be later.
    pub(super) fn begin_end(&mut self) {
        self.ends = true;
        // Without a thread it is known of the time before.
        self.again = self.met.ask_again(&self.known).ok();
        self.beside.iter_mut().for_each(Beside::end);
    }

    /// What was asked then: namespaces, the kernel's lists, and whether somebody died who was to say more.
    fn collect(&mut self) -> (Vec<Namespace>, Option<Lists>, Result<(), Died>) {
        // For those that there is no time to ask again.
        let settings = self.beside.as_ref().map(Beside::settings);
        let others = self.learn(settings.into_iter().flatten());
        let again = self.again.take().map_or(Ok(Vec::new()), |again| again.answered(&self.known));
        let beside = self.beside.take().map(Beside::stop).transpose();
        let died = again.as_ref().err().or(beside.as_ref().err()).cloned();
        let namespaces = again.into_iter().flatten().chain(others).collect();
        let lists = beside.ok().flatten().map(|(lists, limitations)| {
            let all: Limitations = self.head.limitations.drain(..).chain(limitations).collect();
            self.head.limitations = all.all().to_vec();
            lists
        });
        (namespaces, lists, died.map_or(Ok(()), Err))
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
        let (namespaces, lists, collected) = self.collect();
        let ended = self.running.as_mut().map_or(Ok(None), Running::poll)?;
        let tail = Tail {
            namespaces,
            lists,
            lost: self.lost(&summary.loss),
            live: summary.live as u64,
            ..self.tail(summary.until, stop, ended)
        };
        self.end_in_time(&tail, summary.reader_until)?;
        collected?;
        Ok(parting)
    }
}
