//! Owns: JSON lines of a recording: those that `events --json` would have printed, what could not be seen included.
//! Must not know: the keys, which are `output`'s.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use bytes::BytesMut;

use super::Exporter;
use crate::model::limitation::{Limitation, Limitations};
use crate::output::Json;
use crate::recording::{Caches, Ended, Head, Rows};

const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Jsonl {
    json: Json,
    lines: BytesMut,
    caches: Caches,
    limited: Limitations,
}

impl Jsonl {
    /// Begins with what could not be seen from the beginning.
    pub(super) fn new(head: &Head, out: &mut dyn Write) -> io::Result<Self> {
        let mut jsonl = Self {
            json: Json::new(head.clock()),
            lines: BytesMut::with_capacity(2 * BUFFER_BYTES),
            caches: Caches::default(),
            limited: Limitations::default(),
        };
        jsonl.limit(&head.limitations, head.mono_ns, out)?;
        Ok(jsonl)
    }

    /// Tells each limitation once.
    fn limit(&mut self, all: &[Limitation], mono_ns: u64, out: &mut dyn Write) -> io::Result<()> {
        for limitation in all {
            if self.limited.add(limitation.clone()) {
                self.json.limitation(limitation, mono_ns, &mut self.lines);
            }
        }
        out.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

impl Exporter for Jsonl {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let rows = Rows::with(&mut self.caches, batch).map_err(io::Error::other)?;
        for row in 0..rows.len() {
            let event = rows.event(row).map_err(io::Error::other)?;
            self.json.line(&event, &mut self.lines);
            if self.lines.len() >= BUFFER_BYTES {
                out.write_all(&self.lines)?;
                self.lines.clear();
            }
        }
        out.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    /// What was found out later stands in no row, and so comes last.
    fn end(&mut self, ended: &Ended, out: &mut dyn Write) -> io::Result<()> {
        let Some(tail) = ended.tail() else { return Ok(()) };
        self.limit(&tail.limitations, tail.mono_ns, out)
    }
}
