//! Owns: `twtrace` without a command: what is live now, as a screen where there is one, else as a picture every interval.
//! Must not know: how it is traced, how a picture is laid out.

use super::Outcome;
use super::events::TraceArgs;
use super::filters::{FilterArgs, of_view};
use super::pictures::{Pictures, ShowArgs};
use super::runtime;
use crate::present::live::Origin;
use crate::present::tui::Screen;
use crate::source::View;
use crate::source::session;

/// `twtrace`
#[derive(Debug, clap::Args)]
#[command(mut_arg("reason", of_view))]
pub(super) struct Args {
    #[command(flatten)]
    show: ShowArgs,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

impl Args {
    /// Whether more is to be said than usual.
    pub(super) fn is_verbose(&self) -> bool {
        self.trace.verbose
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let filter = args.filters.live()?;
    let wants_screen = args.show.wants_screen();
    let options = session::Options { command_lines: wants_screen, ..args.trace.options(filter.clone()) };
    let mut view: Box<dyn View> = if wants_screen {
        Box::new(Screen::new(args.show.interval, args.show.theme, &filter)?)
    } else {
        Box::new(Pictures::new(&args.show, Origin::here()?, filter.reasons)?)
    };
    runtime()?.block_on(session::run(&options, view.as_mut()))?;
    Ok(Outcome::Done)
}
