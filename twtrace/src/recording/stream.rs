//! Owns: an Arrow IPC stream of simple columns, batch by batch, from any bytes.
//! Must not know: what the columns mean.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader, MetadataVersion, root_as_message};
use arrow_schema::SchemaRef;

use super::frame::{Frame, Frames, Stop};
use super::{note, vet};

/// A batch, and the notes that its message carries.
pub(super) struct Item {
    pub(super) batch: RecordBatch,
    pub(super) notes: Vec<(String, String)>,
    /// Where its message begins, in bytes from the start.
    pub(super) at: u64,
}

/// A stream whose schema was read.
pub(super) struct Stream<R> {
    frames: Frames<R>,
    schema: SchemaRef,
    widths: Vec<usize>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Columns that are unpacked, by their index; `None`: all.
    wanted: Option<Vec<usize>>,
}

impl<R: Read> Stream<R> {
    /// Reads the schema.
    pub(super) fn open(input: R) -> Result<Self, Stop> {
        let mut frames = Frames::new(input);
        let frame = frames.next(body_of)?;
        let schema = schema(&frame).map_err(Stop::Broken)?;
        let widths = vet::widths(&schema);
        Ok(Self { frames, schema, widths, dictionaries: HashMap::new(), wanted: None })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// From now on, batches have only the columns of these names.
    pub(super) fn only(&mut self, names: &[&str]) {
        let fields = self.schema.fields().iter().enumerate();
        let wanted = fields.filter(|(_, field)| names.contains(&field.name().as_str()));
        self.wanted = Some(wanted.map(|(index, _)| index).collect());
    }

    /// The next batch, empty ones included.
    pub(super) fn next(&mut self) -> Result<Item, Stop> {
        loop {
            let frame = self.frames.next(body_of)?;
            if let Some(item) = self.take(frame).map_err(Stop::Broken)? {
                return Ok(item);
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Item>, String> {
        let at = frame.at;
        let message = message(&frame.meta)?;
        vet::version(message.version())?;
        if let Some(batch) = message.header_as_record_batch() {
            vet::batch(&batch, &self.widths, &frame.body)?;
            let body = Buffer::from_vec(frame.body);
            let (schema, version) = (self.schema.clone(), MetadataVersion::V5);
            let batch =
                read_record_batch(&body, batch, schema, &self.dictionaries, self.wanted.as_deref(), &version)
                    .map_err(|error| error.to_string())?;
            return Ok(Some(Item { batch, notes: note::read(&message), at }));
        }
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            let texts = dictionary.data().ok_or("a dictionary without texts")?;
            vet::texts(&texts, &frame.body)?;
            if dictionary.isDelta()
                && let Some(known) = self.dictionaries.get(&dictionary.id())
            {
                let (most, bytes) = (vet::MAX_GROWING, known.get_buffer_memory_size() as u64);
                if known.len() as i64 > most {
                    return Err(format!(
                        "a dictionary of {} texts that grows; {most} at most may",
                        known.len()
                    ));
                }
                if bytes > vet::MAX_UNPACKED {
                    return Err(format!(
                        "a dictionary of {bytes} bytes, of which {} at most are read",
                        vet::MAX_UNPACKED
                    ));
                }
            }
            let body = Buffer::from_vec(frame.body);
            let (schema, version) = (&self.schema, MetadataVersion::V5);
            read_dictionary(&body, dictionary, schema, &mut self.dictionaries, &version)
                .map_err(|error| error.to_string())?;
            return Ok(None);
        }
        Err(format!("a message of kind {:?} is none of a recording", message.header_type()))
    }
}

fn message(meta: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(meta).map_err(|error| format!("these bytes are no message: {error}"))
}

fn body_of(meta: &[u8]) -> Result<u64, String> {
    let length = message(meta)?.bodyLength();
    u64::try_from(length).map_err(|_| format!("a body of {length} bytes"))
}

fn schema(frame: &Frame) -> Result<SchemaRef, String> {
    let message = message(&frame.meta)?;
    vet::version(message.version())?;
    let schema = message.header_as_schema().ok_or("it does not begin with a schema")?;
    debug_assert_eq!(message.header_type(), MessageHeader::Schema);
    let schema = arrow_ipc::convert::try_fb_to_schema(schema).map_err(|error| error.to_string())?;
    vet::columns(&schema)?;
    Ok(Arc::new(schema))
}
