//! Owns: turning events into the bytes of a recording.
//! Must not know: where the bytes go, clocks.

use arrow_array::RecordBatch;
use arrow_ipc::writer::{DictionaryHandling, IpcWriteOptions, StreamWriter};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::ArrowError;

use super::columns::Columns;
use super::frame::{self, MAX_META, TooLong};
use super::meta::{FORMAT, Head, Namespace, Tail};
use super::{note, schema};
use crate::model::event::Event;
use crate::model::limitation::{Limitation, What};
use crate::output::SCHEMA_VERSION;

/// The description of the columns, which stands beside the head: with room to spare.
const COLUMNS_BYTES: usize = 64 << 10;
/// Metadata of the schema: the version of the format, and the head as JSON.
pub(super) const FORMAT_KEY: &str = "twtrace.format";
pub(super) const HEAD_KEY: &str = "twtrace.head";

/// zstd's level. A higher one gains a few percent for twice the time.
const LEVEL: i32 = 1;

/// Why something could not be made part of a recording.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It is more than a reader takes at a time. All of it that may be long is told of network namespaces.
    #[error(
        "{what} takes {bytes} bytes, of which {MAX_META} at most can be read; remedy: name the network namespaces of interest with --netns"
    )]
    TooLong {
        /// What it says.
        what: &'static str,
        /// How long it is.
        bytes: u64,
    },
    /// Arrow cannot hold it.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// JSON cannot.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

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
    /// Only where the head is too much for the format, or longer than is read.
    pub fn new(head: &Head) -> Result<Self, EncodeError> {
        let json = serde_json::to_string(&Head { schema_version: SCHEMA_VERSION, ..head.clone() })?;
        let what = "what it says at its beginning";
        frame::vet(json.len() + COLUMNS_BYTES)
            .map_err(|TooLong(bytes)| EncodeError::TooLong { what, bytes })?;
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
        self.writer.write(&batch)?;
        Ok(())
    }

    /// Says what was not known of network namespaces at the start.
    ///
    /// # Errors
    /// If it is too much for the format.
    pub fn met(&mut self, namespaces: &[Namespace]) -> Result<(), EncodeError> {
        self.note(note::NAMESPACES, "what it says of network namespaces", &serde_json::to_string(namespaces)?)
    }

    /// Ends the recording: the last batch, the tail, the mark of the end. `tail.events` is filled in. A tail that is too long is written without
    /// what the kernel's lists showed, which is most of it: then that is one more of its limitations, and returned.
    ///
    /// # Errors
    /// If it is too much for the format even so. The last batch is among the bytes to be written then as well.
    pub fn finish(&mut self, tail: &Tail) -> Result<Option<Limitation>, EncodeError> {
        self.close_batch()?;
        let mut tail = Tail { events: self.events, ..tail.clone() };
        let mut left_out = None;
        if let Err(error) = self.tail(&tail) {
            let EncodeError::TooLong { bytes, .. } = error else { return Err(error) };
            if tail.lists.take().is_none() {
                return Err(error);
            }
            let limitation = without_lists(bytes);
            tail.limitations.push(limitation.clone());
            self.tail(&tail)?;
            left_out = Some(limitation);
        }
        self.writer.finish()?;
        Ok(left_out)
    }

    /// What is to be written next: append it to the file in one go, then clear it.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.writer.get_mut()
    }

    fn tail(&mut self, tail: &Tail) -> Result<(), EncodeError> {
        self.note(note::TAIL, "what it says at its end", &serde_json::to_string(tail)?)
    }

    fn note(&mut self, key: &str, what: &'static str, text: &str) -> Result<(), EncodeError> {
        let written = note::write(key, text, self.width, self.writer.get_mut());
        written.map_err(|TooLong(bytes)| EncodeError::TooLong { what, bytes })
    }
}

fn without_lists(bytes: u64) -> Limitation {
    let why = format!(
        "what the kernel's lists showed is not in the recording, whose end would have {bytes} bytes, of which {MAX_META} at most can be read"
    );
    Limitation::new(What::Sockets, why, "name the network namespaces of interest with --netns")
}
