//! Owns: what must hold of a message before a library that trusts its numbers may decode it: every range lies in the body,
//! every length is one that a recording can have.
//! Must not know: what the columns mean.

use crate::model::ordering::Ordered as _;
use arrow_array::{Array as _, ArrayRef};
use arrow_ipc::{MetadataVersion, RecordBatch};
use arrow_schema::{DataType, Schema};

/// Rows of a batch and entries of a dictionary, at most. Writers of ours have a quarter of that.
const MAX_ROWS: i64 = 1 << 18;
/// Texts that a dictionary may have before others are added to it. Writers of ours begin one anew long before that: each addition copies
/// all of it, which must not cost more the longer a recording is.
const MAX_GROWING: i64 = 1 << 14;
/// Bytes of all buffers of a message, unpacked, and of a dictionary.
const MAX_UNPACKED: u64 = 64 << 20;
/// Bytes of all dictionaries that are kept, together. One of ours has 8 MB where each of its events
/// is of another process, program, container and address.
const MAX_TOGETHER: u64 = 2 * MAX_UNPACKED;
/// Columns of a recording, at most: many times those of this version.
const MAX_COLUMNS: usize = 1024;
/// Before each packed buffer: how long it is unpacked; -1 for one that was left as it is.
const PREFIX: usize = 8;

/// Whether every column is of a kind that is read here: numbers, times, dictionaries of text.
pub(super) fn columns(schema: &Schema) -> Result<(), String> {
    let count = schema.fields().len();
    if count > MAX_COLUMNS {
        return Err(format!("{count} columns, of which {MAX_COLUMNS} at most are read"));
    }
    for field in schema.fields() {
        let simple = match field.data_type() {
            DataType::Dictionary(key, value) => key.is_integer() && **value == DataType::Utf8,
            DataType::Timestamp(..) => true,
            other => other.is_integer(),
        };
        if !simple {
            let name = crate::model::escape::printable(field.name());
            return Err(format!("column {name} is a {}, which no recording has", field.data_type()));
        }
    }
    Ok(())
}

/// How many bytes an entry of each buffer has, column by column; that of a bitmap is no whole number.
pub(super) fn widths(schema: &Schema) -> Vec<usize> {
    let width = |kind: &DataType| match kind {
        DataType::Dictionary(key, _) => key.primitive_width(),
        other => other.primitive_width(),
    };
    schema.fields().iter().flat_map(|field| [1, width(field.data_type()).unwrap_or(1)]).collect()
}

/// A batch of columns whose buffers have entries of these `widths`.
pub(super) fn batch(batch: &RecordBatch<'_>, widths: &[usize], body: &[u8]) -> Result<(), String> {
    nodes(batch, widths.len() / 2)?;
    buffers(batch, widths, body)
}

/// The texts of a dictionary: a bitmap, offsets, bytes.
pub(super) fn texts(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), String> {
    nodes(batch, 1)?;
    buffers(batch, &[1, size_of::<i32>(), 1], body)
}

/// A dictionary that others are added to.
pub(super) fn growing(known: &ArrayRef) -> Result<(), String> {
    if known.len() as i64 > MAX_GROWING {
        return Err(format!("a dictionary of {} texts that grows; {MAX_GROWING} at most may", known.len()));
    }
    let bytes = bytes(known);
    if bytes > MAX_UNPACKED {
        return Err(format!("a dictionary of {bytes} bytes, of which {MAX_UNPACKED} at most are read"));
    }
    Ok(())
}

/// All dictionaries that are kept.
pub(super) fn together<'a>(all: impl Iterator<Item = &'a ArrayRef>) -> Result<(), String> {
    let bytes: u64 = all.map(bytes).sum();
    if bytes > MAX_TOGETHER {
        return Err(format!(
            "dictionaries of {bytes} bytes together, of which {MAX_TOGETHER} at most are read"
        ));
    }
    Ok(())
}

/// What a dictionary holds in memory. What was not packed lies in its message still, all parts of it in the same one.
fn bytes(texts: &ArrayRef) -> u64 {
    let data = texts.to_data();
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    let mut all: Vec<_> =
        data.buffers().iter().chain(nulls).map(|buffer| (buffer.data_ptr(), buffer.capacity())).collect();
    all.order_by(Ord::cmp);
    all.dedup();
    all.iter().map(|(_, bytes)| *bytes as u64).sum()
}

/// The one version of the format's descriptions that is read.
pub(super) fn version(version: MetadataVersion) -> Result<(), String> {
    if version == MetadataVersion::V5 { Ok(()) } else { Err(format!("version {version:?} of Arrow IPC")) }
}

fn nodes(batch: &RecordBatch<'_>, want: usize) -> Result<(), String> {
    let rows = batch.length();
    if !(0..=MAX_ROWS).contains(&rows) {
        return Err(format!("a batch of {rows} rows, of which {MAX_ROWS} at most are read"));
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

fn buffers(batch: &RecordBatch<'_>, widths: &[usize], body: &[u8]) -> Result<(), String> {
    let buffers = batch.buffers().ok_or("a batch without buffers")?;
    if buffers.len() != widths.len() {
        return Err(format!("{} buffers where there are {}", buffers.len(), widths.len()));
    }
    let mut all = 0_u64;
    for (buffer, width) in buffers.iter().zip(widths) {
        let (from, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let range = from.ok().zip(length.ok()).and_then(|(from, length)| body.get(from..)?.get(..length));
        let bytes = range.ok_or("a buffer that lies outside of its message")?;
        let length = if batch.compression().is_some() { unpacked(bytes)? } else { bytes.len() as u64 };
        all = all.saturating_add(length);
        if all > MAX_UNPACKED {
            return Err(format!("buffers of {all} bytes, of which {MAX_UNPACKED} at most are read"));
        }
        // The library takes the whole buffer for entries, and panics where something is left over.
        if length % *width as u64 != 0 {
            return Err(format!("a buffer of {length} bytes, with entries of {width}"));
        }
    }
    Ok(())
}

/// How long a packed buffer says it is once it is unpacked; the library makes sure that it is.
fn unpacked(bytes: &[u8]) -> Result<u64, String> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let prefix = bytes.first_chunk::<PREFIX>().ok_or("a packed buffer without its length")?;
    match i64::from_le_bytes(*prefix) {
        -1 => Ok((bytes.len() - PREFIX) as u64),
        length => u64::try_from(length).map_err(|_| format!("a buffer of {length} bytes")),
    }
}
