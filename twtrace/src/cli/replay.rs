//! Owns: `twtrace replay`: the live view, fed from a recording.
//! Must not know: how it is fed, how a picture is laid out.

use std::io;
use std::path::PathBuf;

use super::filters::{FilterArgs, of_view, said_of_nothing};
use super::pictures::{Pictures, ShowArgs};
use super::{Outcome, runtime};
use crate::model::escape::{self, printable};
use crate::present::live::Origin;
use crate::present::tui::Screen;
use crate::recording::{OpenError, Recording};
use crate::source::View;
use crate::source::replay::{self, Driver, OpenReplay, Pace, Remote, Speed};

/// `twtrace replay`
#[derive(Debug, clap::Args)]
#[command(mut_arg("reason", of_view))]
#[command(after_help = "\
On a terminal: the full screen of the live view, with more keys: space pauses, . steps to the next event, ] and [ go 10 seconds \
forward and back, } and { a minute, 0 to the beginning, + and - change the speed; ? lists all keys. Otherwise a plain table \
for every --interval of recorded time, or a snapshot with --json.")]
pub(super) struct Args {
    /// Recording to read; - is stdin, in which one cannot go back
    file: PathBuf,
    /// Speed: 1x as recorded, 0.5x, 10x, or max
    #[arg(long, default_value = "1x")]
    speed: Speed,
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    // Opened once where it is a pipe.
    let first = Recording::open(&args.file)?;
    let head = first.head().clone();
    let filter = args.filters.recorded(&args.file, &head)?;
    let asked = filter.clone();
    let (file, remote) = (args.file.clone(), Remote::new(args.speed));
    let mut first = Some(first);
    let open: OpenReplay = Box::new(move || match first.take() {
        Some(first) => Ok(first),
        None if file.is_file() => Recording::open(&file),
        None => Err(OpenError::Io { path: escape::path(&file), error: io::ErrorKind::NotSeekable.into() }),
    });
    let every_ns = u64::try_from(args.show.interval.as_nanos()).unwrap_or(u64::MAX);
    let wants_screen = args.show.wants_screen();
    let pace = if wants_screen { Pace::Own } else { Pace::Recorded(every_ns) };
    let mut driver = Driver::new(open, filter, pace, args.speed, remote.clone())?;
    let mut view: Box<dyn View> = if wants_screen {
        Box::new(Screen::replaying(remote, &head, args.show.interval, args.show.theme, &asked))
    } else {
        Box::new(Pictures::new(
            &args.show,
            Origin::Recorded(head.host.clone(), driver.clock()),
            asked.reasons.clone(),
        )?)
    };
    let done = runtime()?.block_on(replay::run(&mut driver, view.as_mut()));
    drop(view);
    done?;
    if let Some(nothing) = driver.passed().and_then(|passed| said_of_nothing(&asked, passed)) {
        crate::note!("twtrace: {nothing}");
    }
    if let Some(trouble) = driver.trouble() {
        crate::note!("twtrace: the recording: {}", printable(&trouble));
    }
    if let Some(left_out) = driver.left_out() {
        crate::note!("twtrace: {left_out}");
    }
    Ok(Outcome::Done)
}
