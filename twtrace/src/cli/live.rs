//! Owns: `twtrace` without a command: what is live now, as a screen where there is one, else as a picture every interval.
//! Must not know: how it is traced, how a picture is laid out.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::Outcome;
use super::events::TraceArgs;
use super::filters::{FilterArgs, of_view};
use super::pictures::Pictures;
use super::runtime;
use super::values::{from_one, interval};
use crate::present::live::Origin;
use crate::present::tui::{Screen, Theme, has_size};
use crate::source::View;
use crate::source::session::{self};

/// How it is shown: the flags of the live view and of a replay.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Time between two refreshes
    #[arg(long, default_value = "1s", value_parser = interval)]
    pub(super) interval: Duration,
    /// Exit after N updates
    #[arg(long, value_name = "N", value_parser = from_one::<u64>)]
    pub(super) count: Option<u64>,
    /// Show one update after one interval, then exit
    #[arg(long, conflicts_with = "count")]
    pub(super) once: bool,
    /// Print plain text, as when stdout is not a terminal
    #[arg(long, conflicts_with = "json")]
    pub(super) plain: bool,
    /// Print one JSON object per update and line
    #[arg(long)]
    pub(super) json: bool,
    /// Show more columns and do not cut lines
    #[arg(long, conflicts_with = "json")]
    pub(super) wide: bool,
    /// Colours of the full screen [default: dark; mono if NO_COLOR is set]
    #[arg(long, value_name = "THEME", conflicts_with_all = ["plain", "json", "once", "count", "wide"])]
    pub(super) theme: Option<Theme>,
}

impl ShowArgs {
    /// Whether there is a terminal to fill, and nothing was asked for that belongs on paper.
    pub(super) fn wants_screen(&self) -> bool {
        let is_paper = self.once || self.plain || self.json || self.wide || self.count.is_some();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if is_paper || is_dumb || !std::io::stdout().is_terminal() {
            return false;
        }
        let has_size = has_size();
        if !has_size {
            crate::note!(
                "twtrace: the terminal does not say how large it is, so there is no full screen; `stty rows 24 cols 80` tells it"
            );
        }
        has_size
    }
}

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
