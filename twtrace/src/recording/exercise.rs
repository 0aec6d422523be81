//! Owns: what the fuzzer and the tests do to the reader: the way in for bytes that nobody vouches for, and recordings that are small and large
//! once they are unpacked, for the tests of what reading costs.
//! Must not know: where the bytes come from.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};

use super::encoder::{EncodeError, options};
use super::schema::Type;
use super::{Ended, Recording};

/// What a reader got out of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Rows of complete batches.
    pub rows: usize,
    /// Events that could be made of them.
    pub events: usize,
    /// Sockets from before.
    pub seeds: usize,
    /// Whether the end was there, for whoever read batches and for whoever read events.
    pub complete: [bool; 2],
}

/// Reads `bytes` as a recording in every way there is: by batch and by event. `None` where they are none.
pub fn exercise(bytes: &[u8]) -> Option<Read> {
    let open = || Recording::read(Cursor::new(bytes.to_vec()), "bytes").ok();
    let is_complete = |recording: Recording| matches!(recording.end(), Ended::Complete(_));
    let mut by_batch = open()?;
    let rows = by_batch.batches().map(|batch| batch.num_rows()).sum();
    let seeds = by_batch.seeds().len();
    let mut by_event = open()?;
    let events = by_event.events().count();
    Some(Read { rows, events, seeds, complete: [is_complete(by_batch), is_complete(by_event)] })
}

/// Bytes of a dictionary: nearly what one may have, of which some kB are left in the file.
const BYTES: usize = 60 << 20;

/// The events of a recording, with columns of these names each of which has a dictionary of 60 MB, in the place of its own or beside them. Its
/// end is missing.
///
/// # Errors
/// Where Arrow cannot hold it.
pub fn swell(mut recording: Recording, columns: &[String]) -> Result<Vec<u8>, EncodeError> {
    let schema = recording.schema();
    let own = schema.fields().iter().map(|field| field.as_ref().clone());
    let added = columns.iter().filter(|name| schema.field_with_name(name).is_err());
    let added = added.map(|name| Field::new(name, Type::Text.arrow(), true));
    let fields: Vec<Field> = own.chain(added).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options()?)?;
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat(BYTES)]));
    for batch in recording.batches() {
        let keys = Int32Array::from(vec![0; batch.num_rows()]);
        let swollen: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::try_new(keys, text.clone())?);
        let column = |field: &Arc<Field>| {
            let own = batch.column_by_name(field.name()).filter(|_| !columns.contains(field.name()));
            own.unwrap_or(&swollen).clone()
        };
        let all = schema.fields().iter().map(column).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), all)?)?;
    }
    writer.finish()?;
    Ok(std::mem::take(writer.get_mut()))
}
