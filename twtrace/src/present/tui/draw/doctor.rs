//! Owns: what the doctor makes of the picture, as a page over the table.
//! Must not know: how findings come about.

use ratatui::text::Line as Text;

use crate::diagnose::finding::Severity;
use crate::diagnose::text::report_in;
use crate::present::tui::palette::alarmed;
use crate::present::tui::views::{Alarm, Picture};

/// The page, in so many columns; its title first.
pub(super) fn lines(picture: &Picture, width: usize) -> Vec<Text<'static>> {
    let text = report_in(&picture.facts, &picture.findings, width);
    let alarm = |line: &str| {
        let starts_with = |severity: Severity| line.starts_with(&severity.word().to_uppercase());
        match () {
            () if starts_with(Severity::Critical) => Alarm::Critical,
            () if starts_with(Severity::Warning) => Alarm::Warning,
            () => Alarm::None,
        }
    };
    text.lines().map(|line| Text::styled(line.to_owned(), alarmed(alarm(line)))).collect()
}
