//! Owns: what a terminal can show: which colours, Unicode or ASCII; and the few signs and styles there are.
//! Must not know: what they mean where they are used.

use ratatui::buffer::Buffer;
use ratatui::style::{Modifier, Style};

use super::theme::{Role, Theme};
use super::views::Alarm;
use crate::output::paint::no_colour;
use crate::present::signs::{ascii, has_unicode};
pub(super) use crate::present::signs::{chart, spark};

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Palette {
    pub(super) theme: Theme,
    pub(super) has_unicode: bool,
}

impl Palette {
    /// `NO_COLOR` (no-color.org: set and not empty; what the user asked for by a flag comes first), and the locale.
    pub(super) fn from_environment(theme: Option<Theme>) -> Self {
        let usual = if no_colour() { Theme::Mono } else { Theme::Dark };
        Self { theme: theme.unwrap_or(usual), has_unicode: has_unicode() }
    }

    /// Gives a drawn screen its colours, and takes from it what the terminal cannot show.
    pub(super) fn finish(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            cell.set_style(self.theme.apply(cell.fg));
            if !self.has_unicode && !cell.symbol().is_ascii() {
                let sign = cell.symbol().chars().next().and_then(ascii).unwrap_or('?');
                cell.set_char(sign);
            }
        }
    }
}

/// A share between 0 and 1 as a bar. Full only when nothing is left.
pub(super) fn bar(share: f64, width: usize) -> String {
    let some = usize::from(share > 0.0);
    let filled = ((share * width as f64) as usize).clamp(some, width);
    "█".repeat(filled) + &"░".repeat(width - filled)
}

pub(super) const PLAIN: Style = Style::new();
pub(super) const LABEL: Style = Style::new().fg(Role::Label.placeholder());
pub(super) const HISTORY: Style = Style::new().fg(Role::History.placeholder());
pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const PICKED: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) const fn alarmed(alarm: Alarm) -> Style {
    match alarm {
        Alarm::None => PLAIN,
        Alarm::Warning => Style::new().fg(Role::Warning.placeholder()),
        Alarm::Critical => Style::new().fg(Role::Critical.placeholder()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_seen_and_much_is_full() {
        assert_eq!(bar(0.0, 4), "░░░░");
        assert_eq!(bar(0.001, 4), "█░░░");
        assert_eq!(bar(0.999, 4), "███░");
        assert_eq!(bar(1.5, 4), "████");
    }
}
