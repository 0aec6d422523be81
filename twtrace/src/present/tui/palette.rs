//! Owns: the colours that there are to choose from, what a terminal can show of them, Unicode or ASCII; and the few signs and styles there are.
//! Must not know: what they mean where they are used, what is drawn with them.
//!
//! Drawing names what a colour means; a theme says what the terminal gets for it. No meaning is carried by colour alone, so
//! that `mono` shows everything too.

use Role::{Critical, History, Label, Warning};
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

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

/// Colours, by whom they suit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Theme {
    /// For a dark background
    Dark,
    /// For a light background
    Light,
    /// For eyes that do not tell red from green; needs 256 colours
    Safe,
    /// No colours: bold, underlined and reversed only
    Mono,
}

/// What a colour means. As a colour of ratatui's it has a number that nothing else is drawn in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Label,
    History,
    Warning,
    Critical,
}

impl Role {
    const ALL: [Self; 4] = [Self::Label, Self::History, Self::Warning, Self::Critical];

    /// Stands for the role until a theme is applied.
    pub(super) const fn placeholder(self) -> Color {
        Color::Indexed(self as u8)
    }

    fn of(placeholder: Color) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.placeholder() == placeholder)
    }
}

impl Theme {
    const ALL: [Self; 4] = [Self::Dark, Self::Light, Self::Safe, Self::Mono];

    /// The one after it, round and round.
    pub(in crate::present::tui) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    fn style(self, role: Role) -> Style {
        let colour = match (self, role) {
            (Self::Dark, Label) => Color::Cyan,
            (Self::Dark, History) => Color::Green,
            (Self::Dark, Warning) => Color::Yellow,
            (Self::Dark, Critical) => Color::LightRed,
            (Self::Light, Label) => Color::Blue,
            (Self::Light, History) => Color::DarkGray,
            (Self::Light, Warning) => Color::Magenta,
            (Self::Light, Critical) => Color::Red,
            // Sky blue, yellow and vermilion differ in brightness too (Okabe and Ito, Color Universal Design).
            (Self::Safe, Label | History) => Color::Indexed(74),
            (Self::Safe, Warning) => Color::Indexed(220),
            (Self::Safe, Critical) => Color::Indexed(202),
            (Self::Mono, _) => Color::Reset,
        };
        let more = if role == Critical { Modifier::BOLD } else { Modifier::empty() };
        Style::new().fg(colour).add_modifier(more)
    }

    /// What a terminal gets for a colour that something was drawn in.
    pub(super) fn apply(self, drawn: Color) -> Style {
        Role::of(drawn).map_or(Style::new().fg(drawn), |role| self.style(role))
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

    #[test]
    fn every_theme_tells_alarms_apart_from_text_and_from_one_another() {
        for theme in Theme::ALL.into_iter().filter(|theme| *theme != Theme::Mono) {
            let colours = [Role::Warning, Role::Critical].map(|role| theme.style(role).fg);
            assert_ne!(colours[0], colours[1], "{theme:?}");
            assert!(Role::ALL.iter().all(|role| theme.style(*role).fg != Some(Color::Reset)), "{theme:?}");
        }
        assert!(Role::ALL.iter().all(|role| Theme::Mono.style(*role).fg == Some(Color::Reset)));
    }

    #[test]
    fn themes_go_round() {
        let mut theme = Theme::Dark;
        for _ in 0..Theme::ALL.len() {
            theme = theme.next();
        }
        assert_eq!(theme, Theme::Dark);
    }
}
