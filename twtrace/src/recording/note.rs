//! Owns: notes: batches of no rows whose messages carry a key and a text.
//! Must not know: what a note says.

use arrow_ipc::{
    Buffer, FieldNode, KeyValue, KeyValueArgs, Message, MessageArgs, MessageHeader, MetadataVersion,
    RecordBatch, RecordBatchArgs,
};
use flatbuffers::FlatBufferBuilder;

use super::frame::{self, TooLong};

/// The [`super::Tail`] as JSON.
pub(super) const TAIL: &str = "twtrace.tail";
/// [`super::Namespace`]s that were met after the start, as a JSON array.
pub(super) const NAMESPACES: &str = "twtrace.namespaces";
/// Format 1: sockets that were there at the start, an Arrow IPC stream in base64.
pub(super) const SEEDS: &str = "twtrace.seeds";

/// Writes a note into a stream of `columns` columns.
pub(super) fn write(key: &str, text: &str, columns: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
    // The builder has an end of its own, at which it panics.
    frame::vet(text.len())?;
    let mut builder = FlatBufferBuilder::with_capacity(text.len() + 4096);
    let (key, value) = (Some(builder.create_string(key)), Some(builder.create_string(text)));
    let pair = KeyValue::create(&mut builder, &KeyValueArgs { key, value });
    let pairs = builder.create_vector(&[pair]);
    let nodes = builder.create_vector(&vec![FieldNode::new(0, 0); columns]);
    let buffers = builder.create_vector(&vec![Buffer::new(0, 0); 2 * columns]);
    let batch = RecordBatch::create(
        &mut builder,
        &RecordBatchArgs { length: 0, nodes: Some(nodes), buffers: Some(buffers), ..Default::default() },
    );
    let message = Message::create(
        &mut builder,
        &MessageArgs {
            version: MetadataVersion::V5,
            header_type: MessageHeader::RecordBatch,
            header: Some(batch.as_union_value()),
            bodyLength: 0,
            custom_metadata: Some(pairs),
        },
    );
    builder.finish(message, None);
    frame::write_bare(builder.finished_data(), out)
}

/// The notes that a message carries.
pub(super) fn read(message: &Message<'_>) -> Vec<(String, String)> {
    let pairs = message.custom_metadata().into_iter().flatten();
    pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned()))).collect()
}
