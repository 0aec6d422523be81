//! Owns: the colours that there are to choose from.
//! Must not know: what is drawn with them.
//!
//! Drawing names what a colour means; a theme says what the terminal gets for it. No meaning is carried by colour alone, so
//! that `mono` shows everything too.

use ratatui::style::{Color, Modifier, Style};

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
    pub(super) fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    fn style(self, role: Role) -> Style {
        use Role::{Critical, History, Label, Warning};
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
