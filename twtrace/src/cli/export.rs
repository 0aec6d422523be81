//! Owns: `twtrace export`: its flags, where the file goes, what is said of it.
//! Must not know: any format.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use super::Outcome;
use super::filters::{FilterArgs, said_of_nothing};
use super::values::Usage;
use crate::model::escape::printable;
use crate::present::export::{Format, export};
use crate::present::record::output::{Destination, Output, Rotation};
use crate::present::record::user;
use crate::recording::Recording;

/// `twtrace export`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recording to read; - is stdin
    file: PathBuf,
    /// Format to write
    #[arg(long, value_enum, value_name = "parquet|csv|jsonl")]
    to: Format,
    /// File to write; - is stdout
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    filters: FilterArgs,
}

const BUFFER_BYTES: usize = 256 << 10;

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let on_terminal = args.output.as_os_str() == "-" && io::stdout().is_terminal();
    if on_terminal && args.to == Format::Parquet {
        return Err(Usage("Parquet is no text: send it to a file or a pipe".to_owned()).into());
    }
    let recording = Recording::open(&args.file)?;
    let filter = args.filters.recorded(&args.file, recording.head())?;
    let destination = Destination {
        path: args.output.clone(),
        force: args.force,
        rotation: Rotation::default(),
        owner: user::caller(),
    };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, Sink(Output::open(destination)?));
    let exported = export(recording, &filter, args.to, &mut out)?;
    let mut output = out.into_inner().map_err(io::IntoInnerError::into_error)?.0;
    // Only what is whole takes the place of what was there.
    output.begin().context("cannot finish the export")?;
    if let Some(nothing) = said_of_nothing(&filter, exported.events) {
        crate::note!("twtrace: {nothing}");
    }
    if let Some(trouble) = exported.ended.trouble() {
        let file = printable(&args.file.to_string_lossy()).into_owned();
        crate::note!("twtrace: {file}: {trouble}");
    }
    crate::note!("exported {} events, {} bytes, to {}", exported.events, output.total(), output.shown());
    Ok(Outcome::Done)
}

struct Sink(Output);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_bytes(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
