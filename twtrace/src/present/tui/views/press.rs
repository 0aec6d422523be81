//! Owns: how much a row wants to be seen: its alarm, and what it is ordered by until the user asks for a column.
//! Must not know: what a row says.

use super::rows::{ViewRow, full};
use super::{Alarm, alarm_of};
use crate::engine::Pressure;
use crate::present::tui::journal::Repeat;

/// From these shares on, a full table wants to be seen.
const WARNING: f64 = 0.7;
const CRITICAL: f64 = 0.9;

/// How much a row presses: who fails of late first, then the severity, then how soon its ports are used up, then how many are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Press {
    fails: bool,
    alarm: u8,
    soon: u64,
    per_mille: u64,
}

/// How full a pool of ports is, as an alarm.
pub(in crate::present::tui) fn alarm(pressure: Option<Pressure>) -> Alarm {
    match pressure {
        Some(pressure) if pressure.is_short() => alarm_of_share(pressure.fraction()),
        _ => Alarm::None,
    }
}

fn alarm_of_share(share: f64) -> Alarm {
    match share {
        share if share >= CRITICAL => Alarm::Critical,
        share if share >= WARNING => Alarm::Warning,
        _ => Alarm::None,
    }
}

impl ViewRow<'_> {
    pub(in crate::present::tui) fn alarm(&self) -> Alarm {
        if let Self::Event((_, event), ..) | Self::Repeat(Repeat { last: (_, event), .. }, _) = self {
            return alarm_of(event.kind);
        }
        if self.figures().is_some_and(|figures| figures.failed() != 0) {
            return Alarm::Critical;
        }
        match self {
            Self::Process(row, ..) => alarm(row.pressure),
            Self::Fold(row, _) => alarm(row.hottest.and_then(|link| link.pressure)),
            Self::Tuple(row, _) => alarm(row.pressure),
            Self::Netns(row, _) => alarm_of_share(full(row).unwrap_or(0.0)),
            _ => Alarm::None,
        }
    }

    /// How much it presses.
    pub(super) fn press(&self) -> Press {
        let fails = self.figures().is_some_and(|figures| figures.failed_rate.s60 > 0.0);
        let (pressure, share) = match self {
            Self::Process(row, ..) => (row.pressure, None),
            Self::Fold(row, _) => (row.hottest.and_then(|link| link.pressure), None),
            Self::Tuple(row, _) => (row.pressure, None),
            Self::Netns(row, _) => (None, full(row)),
            _ => (None, None),
        };
        let alarm = match share {
            Some(share) => alarm_of_share(share),
            None => alarm(pressure),
        };
        if alarm == Alarm::None && !fails {
            return Press::default();
        }
        let left_s = pressure.and_then(|pressure| pressure.full_in_s);
        let used = share.or(pressure.map(|pressure| pressure.fraction())).unwrap_or(0.0);
        Press {
            fails,
            alarm: alarm as u8,
            soon: left_s.map_or(0, |left_s| u64::MAX - (left_s * 1e3) as u64),
            per_mille: (used * 1e3) as u64,
        }
    }
}
