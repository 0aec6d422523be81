//! Owns: a recording as Apache Parquet.
//! Must not know: events.
//!
//! Columns are written by their physical types. Parquet's writer of Arrow takes any array there is, and brings the code for it: a megabyte.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int32Type, TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, StringArray, new_null_array,
};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriterImpl;
use parquet::data_type::{self, ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};

use super::Exporter;
use crate::recording::schema::{COLUMNS, INTERFACE_COLUMNS, Type, schema};
use crate::recording::{Ended, Head};

/// Rows and bytes that are held in memory until they are written together.
const GROUP_ROWS: usize = 128 << 10;
const GROUP_BYTES: usize = 64 << 20;

pub(super) struct Parquet {
    schema: SchemaRef,
    /// What it has written is taken out after each group.
    writer: Option<SerializedFileWriter<Vec<u8>>>,
    held: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Parquet {
    pub(super) fn new(head: &Head) -> io::Result<Self> {
        let interface: Vec<usize> = (0..INTERFACE_COLUMNS).collect();
        let schema = Arc::new(schema().project(&interface).map_err(io::Error::other)?);
        let level = ZstdLevel::try_new(3).map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("twtrace ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let columns = ArrowSchemaConverter::new().convert(&schema).map_err(failed)?;
        let mut writer =
            SerializedFileWriter::new(Vec::new(), columns.root_schema_ptr(), Arc::new(properties))
                .map_err(failed)?;
        note(&mut writer, "twtrace.head", head)?;
        Ok(Self { schema, writer: Some(writer), held: Vec::new(), rows: 0, bytes: 0 })
    }

    /// Writes what is held in memory.
    pub(super) fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        write_group(&self.held, writer).map_err(failed)?;
        self.held.clear();
        (self.rows, self.bytes) = (0, 0);
        let written = writer.inner_mut();
        out.write_all(written)?;
        written.clear();
        Ok(())
    }

    fn projected(&self, batch: &RecordBatch) -> io::Result<RecordBatch> {
        let column = |(name, kind): &(&str, Type)| -> ArrayRef {
            let column = batch.column_by_name(name).cloned();
            column.unwrap_or_else(|| new_null_array(&kind.arrow(), batch.num_rows()))
        };
        let columns = COLUMNS[..INTERFACE_COLUMNS].iter().map(column).collect();
        RecordBatch::try_new(self.schema.clone(), columns).map_err(io::Error::other)
    }
}

/// Column by column, as Parquet wants it.
fn write_group(
    batches: &[RecordBatch],
    writer: &mut SerializedFileWriter<Vec<u8>>,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (index, (_, kind)) in COLUMNS[..INTERFACE_COLUMNS].iter().enumerate() {
        let Some(mut column) = group.next_column()? else { break };
        for batch in batches {
            put(batch.column(index), *kind, &mut column)?;
        }
        column.close()?;
    }
    group.close().map(drop)
}

fn put(column: &ArrayRef, kind: Type, to: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
    match kind {
        Type::Word => texts::<Int8Type>(column, to.typed::<data_type::ByteArrayType>()),
        Type::Text => texts::<Int32Type>(column, to.typed::<data_type::ByteArrayType>()),
        Type::Time => numbers(
            column.as_primitive::<TimestampNanosecondType>(),
            to.typed::<data_type::Int64Type>(),
            |n| n,
        ),
        // Parquet keeps a number without sign as the bits of one with a sign.
        Type::U16 => {
            numbers(column.as_primitive::<UInt16Type>(), to.typed::<data_type::Int32Type>(), i32::from)
        }
        Type::U32 => {
            numbers(column.as_primitive::<UInt32Type>(), to.typed::<data_type::Int32Type>(), u32::cast_signed)
        }
        Type::U64 => {
            numbers(column.as_primitive::<UInt64Type>(), to.typed::<data_type::Int64Type>(), u64::cast_signed)
        }
    }
}

fn numbers<A: ArrowPrimitiveType, T: DataType>(
    column: &PrimitiveArray<A>,
    to: &mut ColumnWriterImpl<'_, T>,
    number: impl Fn(A::Native) -> T::T,
) -> Result<(), ParquetError> {
    let values: Vec<T::T> = column.iter().flatten().map(number).collect();
    to.write_batch(&values, Some(&levels(column)), None).map(drop)
}

fn texts<K: ArrowDictionaryKeyType>(
    column: &ArrayRef,
    to: &mut ColumnWriterImpl<'_, data_type::ByteArrayType>,
) -> Result<(), ParquetError> {
    let column = column.as_dictionary::<K>();
    let texts: &StringArray = column.values().as_string();
    // None of them is copied.
    let (bytes, ends) = (Bytes::from(texts.values().clone()), texts.value_offsets());
    let end = |index: usize| usize::try_from(ends[index]).unwrap_or_default();
    let text = |key: usize| ByteArray::from(bytes.slice(end(key)..end(key + 1)));
    let values: Vec<ByteArray> = column.keys_iter().flatten().map(text).collect();
    to.write_batch(&values, Some(&levels(column.keys())), None).map(drop)
}

/// Whether there is a value, of every row. A column that has one in each of them does not look at it.
fn levels(column: &dyn Array) -> Vec<i16> {
    (0..column.len()).map(|row| i16::from(column.is_valid(row))).collect()
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn note(
    writer: &mut SerializedFileWriter<Vec<u8>>,
    key: &str,
    value: &impl serde::Serialize,
) -> io::Result<()> {
    let json = serde_json::to_string(value)?;
    writer.append_key_value_metadata(KeyValue::new(key.to_owned(), json));
    Ok(())
}

impl Exporter for Parquet {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let batch = self.projected(batch)?;
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.held.push(batch);
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES { self.flush(out) } else { Ok(()) }
    }

    fn end(&mut self, ended: &Ended, out: &mut dyn Write) -> io::Result<()> {
        self.flush(out)?;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if let Some(tail) = ended.tail() {
            note(&mut writer, "twtrace.tail", tail)?;
        }
        out.write_all(&writer.into_inner().map_err(failed)?)
    }
}
