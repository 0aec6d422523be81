//! Owns: what must hold of a message before a library that trusts its numbers may decode it: every range lies in the body,
//! every length is one that a recording can have.
//! Must not know: what the columns mean.

use arrow_ipc::{MetadataVersion, RecordBatch};
use arrow_schema::{DataType, Schema};

/// Rows of a batch and entries of a dictionary, at most. Writers of ours stay far below.
pub(super) const MAX_ROWS: i64 = 1 << 20;
/// Bytes of all buffers of a message, unpacked.
const MAX_UNPACKED: i64 = 512 << 20;
/// Before each packed buffer: how long it is unpacked; -1 for one that was left as it is.
const PREFIX: usize = 8;

/// Whether every column is of a kind that is read here: numbers, times, dictionaries of text.
pub(super) fn columns(schema: &Schema) -> Result<(), String> {
    for field in schema.fields() {
        let simple = match field.data_type() {
            DataType::Dictionary(key, value) => key.is_integer() && **value == DataType::Utf8,
            DataType::Timestamp(..) => true,
            other => other.is_integer(),
        };
        if !simple {
            let name = crate::escape::printable(field.name());
            return Err(format!("column {name} is a {}, which no recording has", field.data_type()));
        }
    }
    Ok(())
}

/// A batch of the stream's `columns` columns.
pub(super) fn batch(batch: &RecordBatch<'_>, columns: usize, body: &[u8]) -> Result<(), String> {
    nodes(batch, columns)?;
    buffers(batch, 2 * columns, body)
}

/// The texts of a dictionary.
pub(super) fn texts(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    nodes(batch, 1)?;
    buffers(batch, 3, body)
}

/// The one version of the format's descriptions that is read.
pub(super) fn version(version: MetadataVersion) -> Result<(), String> {
    if version == MetadataVersion::V5 { Ok(()) } else { Err(format!("version {version:?} of Arrow IPC")) }
}

fn nodes(batch: &RecordBatch<'_>, want: usize) -> Result<(), String> {
    let rows = batch.length();
    if !(0..=MAX_ROWS).contains(&rows) {
        return Err(format!("a batch of {rows} rows"));
    }
    let nodes = batch.nodes().ok_or("a batch without columns")?;
    if nodes.len() != want || nodes.iter().any(|node| node.length() != rows) {
        return Err(format!("{} columns, of other than {rows} rows, where there are {want}", nodes.len()));
    }
    match nodes.iter().all(|node| (0..=rows).contains(&node.null_count())) {
        true => Ok(()),
        false => Err("a column with more nulls than rows".to_owned()),
    }
}

fn buffers(batch: &RecordBatch<'_>, want: usize, body: &[u8]) -> Result<(), String> {
    let buffers = batch.buffers().ok_or("a batch without buffers")?;
    if buffers.len() != want {
        return Err(format!("{} buffers where there are {want}", buffers.len()));
    }
    let mut unpacked = 0_i64;
    for buffer in buffers {
        let (from, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let range = from.ok().zip(length.ok()).and_then(|(from, length)| body.get(from..)?.get(..length));
        let bytes = range.ok_or("a buffer that lies outside of its message")?;
        if batch.compression().is_none() || bytes.is_empty() {
            continue;
        }
        let prefix = bytes.first_chunk::<PREFIX>().ok_or("a packed buffer without its length")?;
        let length = i64::from_le_bytes(*prefix);
        unpacked = unpacked.saturating_add(length.max(0));
        if length < -1 || unpacked > MAX_UNPACKED {
            return Err(format!("a buffer of {length} bytes"));
        }
    }
    Ok(())
}
