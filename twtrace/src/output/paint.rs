//! Owns: what colours mean in text for people, and whether there are any.
//! Must not know: where the text goes, what is in it.
//!
//! The screen has themes of its own, whose usual one has these colours. No meaning is carried by colour alone.

use std::borrow::Cow;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

use crate::model::event::Kind;

/// What a colour means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: the terminal's own colour.
    #[default]
    Plain,
    /// What a text or a number is: titles of columns, labels.
    Label,
    /// What is to be read first.
    Title,
    /// Of less importance.
    Faint,
    /// All is well, or what makes it so.
    Good,
    /// Something is lost or will run out.
    Warning,
    /// Calls fail.
    Critical,
}

// For a page's styles.
crate::model::words!(Meaning, ALL, {
    Plain => "plain", Label => "label", Title => "title", Faint => "faint", Good => "good", Warning => "warning", Critical => "critical",
});

impl Meaning {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Label => AnsiColor::Cyan.on_default(),
            Self::Title => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Critical => AnsiColor::BrightRed.on_default().bold(),
        }
    }
}

impl From<Kind> for Meaning {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Created => Self::Good,
            Kind::Ended | Kind::Listed => Self::Faint,
            Kind::Aborted | Kind::SynRefused => Self::Warning,
            Kind::Overflow | Kind::ConnectFailed | Kind::BindFailed | Kind::Lost => Self::Critical,
        }
    }
}

/// Whether a text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// No colours.
    pub const NONE: Self = Self(false);
    /// Colours.
    pub const COLOURS: Self = Self(true);

    /// For what goes to stdout: colours on a terminal that can show them, where nobody said that there are to be none.
    pub fn stdout() -> Self {
        Self::on(&std::io::stdout())
    }

    /// As [`Self::stdout`], for what goes to stderr.
    pub fn stderr() -> Self {
        Self::on(&std::io::stderr())
    }

    fn on(terminal: &impl IsTerminal) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(terminal.is_terminal() && !is_dumb && !no_colour())
    }

    /// Appends `text`, which is printable.
    pub fn put(self, meaning: Meaning, text: &str, out: &mut String) {
        out.push_str(&self.of(meaning, text));
    }

    /// `text`, which is printable, with the colour around it.
    pub fn of(self, meaning: Meaning, text: &str) -> Cow<'_, str> {
        match meaning.style() {
            style if self.0 && !style.is_plain() => format!("{style}{text}{style:#}").into(),
            _ => text.into(),
        }
    }
}

/// Whether the user wants no colours (no-color.org: set and not empty).
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// A text as it reads without its colours.
#[cfg(test)]
pub(crate) fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap_or_default().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_goes_around_its_text_and_nothing_around_what_means_nothing() {
        assert_eq!(Paint::COLOURS.of(Meaning::Critical, "x"), "\x1b[1m\x1b[91mx\x1b[0m");
        assert_eq!(Paint::COLOURS.of(Meaning::Plain, "x"), "x");
        assert_eq!(Paint::NONE.of(Meaning::Critical, "x"), "x");
        assert_eq!(without_colours(&Paint::COLOURS.of(Meaning::Label, "x")), "x");
    }
}
