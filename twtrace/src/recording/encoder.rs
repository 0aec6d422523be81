//! Owns: turning events into the bytes of a recording.
//! Must not know: where the bytes go, clocks.

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::ArrowError;

use super::columns::Columns;
use super::meta::{FORMAT, Head, Namespace, Tail};
use super::{note, schema};
use crate::model::event::Event;
use crate::output::SCHEMA_VERSION;

/// Metadata of the schema: the version of the format, and the head as JSON.
pub(super) const FORMAT_KEY: &str = "twtrace.format";
pub(super) const HEAD_KEY: &str = "twtrace.head";

/// zstd's level. A higher one gains a few percent for twice the time.
const LEVEL: i32 = 1;

/// Why something could not be made part of a recording.
pub type EncodeError = ArrowError;

/// Makes a recording in memory; whoever writes it takes [`Encoder::bytes`] after each step.
pub struct Encoder {
    writer: StreamWriter<Vec<u8>>,
    columns: Columns,
    width: usize,
    events: u64,
}

/// How batches are written. Eight bytes of alignment are all that the format asks for.
pub(super) fn options() -> Result<IpcWriteOptions, ArrowError> {
    let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
    let options = options.try_with_compression(Some(CompressionType::ZSTD))?;
    let options = options.try_with_compression_level(Some(LEVEL))?;
    Ok(options.with_dictionary_handling(DictionaryHandling::Delta))
}

impl Encoder {
    /// Begins a recording; its first bytes are ready. What lives already is to be appended first, as `listed` events.
    ///
    /// # Errors
    /// Only where the head is too much for the format.
    pub fn new(head: &Head) -> Result<Self, EncodeError> {
        let json = serde_json::to_string(&Head { schema_version: SCHEMA_VERSION, ..head.clone() })
            .map_err(|error| ArrowError::ExternalError(error.into()))?;
        let metadata = [(FORMAT_KEY.to_owned(), FORMAT.to_string()), (HEAD_KEY.to_owned(), json)];
        let plain = schema::schema();
        let schema = plain.as_ref().clone().with_metadata(metadata);
        let mut columns = Columns::new(plain, head.clock());
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options()?)?;
        // Sends every dictionary: pyarrow wants all of them before the first batch.
        writer.write(&columns.finish()?)?;
        let width = schema.fields().len();
        Ok(Self { writer, columns, width, events: 0 })
    }

    /// Takes an event into the batch that is being filled.
    pub fn append(&mut self, event: &Event) {
        self.columns.append(event);
        self.events += 1;
    }

    /// Events in the batch that is being filled.
    pub fn waiting(&self) -> usize {
        self.columns.rows()
    }

    /// Events taken in since the beginning.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Closes the batch that is being filled, if there is anything in it.
    ///
    /// # Errors
    /// If the batch is too much for the format.
    pub fn close_batch(&mut self) -> Result<(), EncodeError> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let batch: RecordBatch = self.columns.finish()?;
        self.writer.write(&batch)
    }

    /// Says what was not known of network namespaces at the start.
    ///
    /// # Errors
    /// If it is too much for the format.
    pub fn met(&mut self, namespaces: &[Namespace]) -> Result<(), EncodeError> {
        let json =
            serde_json::to_string(namespaces).map_err(|error| ArrowError::ExternalError(error.into()))?;
        self.note(note::NAMESPACES, &json)
    }

    /// Ends the recording: the last batch, the tail, the mark of the end. `tail.events` is filled in.
    ///
    /// # Errors
    /// If it is too much for the format.
    pub fn finish(&mut self, tail: &Tail) -> Result<(), EncodeError> {
        self.close_batch()?;
        let tail = Tail { events: self.events, ..tail.clone() };
        let json = serde_json::to_string(&tail).map_err(|error| ArrowError::ExternalError(error.into()))?;
        self.note(note::TAIL, &json)?;
        self.writer.finish()
    }

    /// What is to be written next: append it to the file in one go, then clear it.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.writer.get_mut()
    }

    fn note(&mut self, key: &str, text: &str) -> Result<(), EncodeError> {
        note::write(key, text, self.width, self.writer.get_mut())?;
        Ok(())
    }
}
