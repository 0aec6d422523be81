//! Owns: the kernel side's debug log on its way to stderr.
//! Must not know: what is logged.

use ::log::{Log, Metadata, Record};

/// Writes each record as a line on stderr.
pub(super) struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        crate::note!("kernel: {}", crate::model::escape::printable(&record.args().to_string()));
    }

    fn flush(&self) {}
}
