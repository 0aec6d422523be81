//! Owns: JSON lines of a recording: those that `events --json` would have printed.
//! Must not know: the keys, which are `output`'s.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use bytes::BytesMut;

use super::Exporter;
use crate::model::clock::Clock;
use crate::output::Json;
use crate::recording::{Caches, Rows};

const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Jsonl {
    json: Json,
    lines: BytesMut,
    caches: Caches,
}

impl Jsonl {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            json: Json::new(clock),
            lines: BytesMut::with_capacity(2 * BUFFER_BYTES),
            caches: Caches::default(),
        }
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
}
