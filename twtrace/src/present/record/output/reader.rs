//! Owns: an output that has a reader, who may be slow, have stopped, or go away: a thread writes to it, and what waits has a bound.
//! Must not know: when an output ends, what is in it.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use bytes::Bytes;

use super::{Output, Target};
use crate::output::{Units, Writer, is_watched};

/// This much may wait for its reader; what is being made when that is reached comes on top.
const QUEUE_BYTES: usize = 16 << 20;

/// Why a reader does not have all.
#[derive(Debug)]
struct NotRead {
    events: u64,
}

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not read fast enough: ")?;
        if self.events != 0 {
            write!(f, "{} events are not written, and ", self.events)?;
        }
        f.write_str("the end is missing; remedy: a faster reader, or a file")
    }
}

impl std::error::Error for NotRead {}

fn not_read(writer: &Writer) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, NotRead { events: writer.unwritten() })
}

/// Queues what cannot be left out.
pub(super) fn hand_over(writer: &Writer, bytes: &[u8], events: u64) -> io::Result<()> {
    if bytes.is_empty() || writer.put_always(Bytes::copy_from_slice(bytes), Units::Whole(events))? {
        Ok(())
    } else {
        Err(not_read(writer))
    }
}

impl Output {
    /// From now on a thread writes to what has a reader. Files are written to as before.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn wait_for_nobody(&mut self) -> io::Result<()> {
        self.wait_for_nobody_beyond(QUEUE_BYTES)
    }

    /// As [`Self::wait_for_nobody`], where no more than `limit` bytes may wait.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn wait_for_nobody_beyond(&mut self, limit: usize) -> io::Result<()> {
        let fd = match &self.target {
            Target::Stdout(stdout) => stdout.as_fd(),
            Target::Stream(file) => file.as_fd(),
            Target::File(..) | Target::Reader(_) => return Ok(()),
        };
        let fd = fd.try_clone_to_owned()?;
        if is_watched(&fd) {
            self.target = Target::Reader(Writer::start("recording", fd, limit)?.called(self.shown()));
        }
        Ok(())
    }

    /// What writes to a reader who is not waited for.
    pub fn reader(&self) -> Option<&Writer> {
        match &self.target {
            Target::Reader(writer) => Some(writer),
            _ => None,
        }
    }

    /// Whether more is to be made: not while all that may wait does.
    pub fn has_room(&self) -> bool {
        self.reader().is_none_or(Writer::has_room)
    }

    /// All is handed over. A reader has what is left until `is_over`.
    ///
    /// # Errors
    /// What the kernel said of writing, and if not all was read.
    pub fn read_out(&self, is_over: impl FnMut() -> bool) -> io::Result<()> {
        let Some(writer) = self.reader() else { return Ok(()) };
        writer.settle_until(is_over);
        let has_all = writer.is_idle();
        writer.finish(Instant::now());
        match writer.error() {
            // Who has read the mark of the end need not wait for more.
            Some(_) if !writer.is_cut() => Ok(()),
            Some(error) => Err(self.of_this(error)),
            None if has_all => Ok(()),
            None => Err(self.of_this(not_read(writer))),
        }
    }
}
