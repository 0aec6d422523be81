//! Owns: a recording as Apache Parquet.
//! Must not know: events.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::Exporter;
use crate::recording::schema::{COLUMNS, INTERFACE_COLUMNS, schema};
use crate::recording::{Ended, Head};

/// Rows that are held in memory until they are written together.
const GROUP_ROWS: usize = 256 << 10;

pub(super) struct Parquet {
    schema: SchemaRef,
    /// What it has written is taken out after each batch.
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Parquet {
    pub(super) fn new(head: &Head) -> io::Result<Self> {
        let interface: Vec<usize> = (0..INTERFACE_COLUMNS).collect();
        let schema = Arc::new(schema().project(&interface).map_err(io::Error::other)?);
        let level = ZstdLevel::try_new(3).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("twtrace ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(failed)?;
        note(&mut writer, "twtrace.head", head)?;
        Ok(Self { schema, writer: Some(writer) })
    }

    /// Writes what is held in memory.
    pub(super) fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().map_err(failed)?;
        let written = writer.inner_mut();
        out.write_all(written)?;
        written.clear();
        Ok(())
    }

    fn projected(&self, batch: &RecordBatch) -> io::Result<RecordBatch> {
        let column = |(name, kind): &(&str, crate::recording::schema::Type)| -> ArrayRef {
            let column = batch.column_by_name(name).cloned();
            column.unwrap_or_else(|| new_null_array(&kind.arrow(), batch.num_rows()))
        };
        let columns = COLUMNS[..INTERFACE_COLUMNS].iter().map(column).collect();
        RecordBatch::try_new(self.schema.clone(), columns).map_err(io::Error::other)
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

fn note(writer: &mut ArrowWriter<Vec<u8>>, key: &str, value: &impl serde::Serialize) -> io::Result<()> {
    let json = serde_json::to_string(value)?;
    writer.append_key_value_metadata(KeyValue::new(key.to_owned(), json));
    Ok(())
}

impl Exporter for Parquet {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> io::Result<()> {
        let batch = self.projected(batch)?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(&batch).map_err(failed)?;
        let written = writer.inner_mut();
        out.write_all(written)?;
        written.clear();
        Ok(())
    }

    fn end(&mut self, ended: &Ended, out: &mut dyn Write) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if let Some(tail) = ended.tail() {
            note(&mut writer, "twtrace.tail", tail)?;
        }
        out.write_all(&writer.into_inner().map_err(failed)?)
    }
}
