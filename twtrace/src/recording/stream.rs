//! Owns: an Arrow IPC stream of simple columns, batch by batch, from any bytes.
//! Must not know: what the columns mean.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{DictionaryBatch, Message, MessageHeader, MetadataVersion, root_as_message};
use arrow_schema::{Schema, SchemaRef};

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
    /// Those of columns that are unpacked.
    dictionaries: HashMap<i64, ArrayRef>,
    /// Columns that are unpacked, by their index; `None`: all.
    wanted: Option<Vec<usize>>,
    /// Their dictionaries, by the number that messages have for each. All others are passed over: somebody may have added any number of them, and
    /// each is unpacked to thousands of times what it has in the file.
    wanted_dictionaries: HashSet<i64>,
}

impl<R: Read> Stream<R> {
    /// Reads the schema. Batches will have the columns of which `is_known` is so: of any other name a later version may have written some, which
    /// are passed over.
    pub(super) fn open(input: R, is_known: impl Fn(&str) -> bool) -> Result<Self, Stop> {
        let mut frames = Frames::new(input);
        let frame = frames.next(body_of)?;
        let schema = schema(&frame).map_err(Stop::Broken)?;
        let widths = vet::widths(&schema);
        let (dictionaries, wanted_dictionaries) = (HashMap::new(), HashSet::new());
        let mut stream = Self { frames, schema, widths, dictionaries, wanted: None, wanted_dictionaries };
        stream.keep(is_known);
        Ok(stream)
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// From now on, batches have only the columns of these names, and of those only the ones that they had before.
    pub(super) fn only(&mut self, names: &[&str]) {
        self.keep(|name| names.contains(&name));
    }

    fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        let had = |index: &usize| self.wanted.as_ref().is_none_or(|wanted| wanted.contains(index));
        let fields = self.schema.fields().iter().enumerate();
        let wanted = fields.filter(|(index, field)| had(index) && is_wanted(field.name()));
        let wanted: Vec<usize> = wanted.map(|(index, _)| index).collect();
        self.wanted_dictionaries =
            wanted.iter().filter_map(|index| dictionary_of(&self.schema, *index)).collect();
        self.dictionaries.retain(|id, _| self.wanted_dictionaries.contains(id));
        self.wanted = (wanted.len() != self.schema.fields().len()).then_some(wanted);
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
            if self.wanted_dictionaries.contains(&dictionary.id()) {
                self.learn(dictionary, frame.body)?;
            }
            return Ok(None);
        }
        Err(format!("a message of kind {:?} is none of a recording", message.header_type()))
    }

    fn learn(&mut self, dictionary: DictionaryBatch<'_>, body: Vec<u8>) -> Result<(), String> {
        if dictionary.isDelta()
            && let Some(known) = self.dictionaries.get(&dictionary.id())
        {
            vet::growing(known)?;
        }
        let (schema, version) = (&self.schema, MetadataVersion::V5);
        read_dictionary(&Buffer::from_vec(body), dictionary, schema, &mut self.dictionaries, &version)
            .map_err(|error| error.to_string())?;
        vet::together(self.dictionaries.values())
    }
}

/// The number that messages have for the dictionary of a column.
fn dictionary_of(schema: &Schema, index: usize) -> Option<i64> {
    #[expect(deprecated, reason = "as long as the library reads by a file's numbers, it keeps them here")]
    schema.field(index).dict_id()
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
