//! Owns: lines with labels, cut to a width, and the pages over the table that are nothing else: the doctor's, and the columns to sort by.
//! Must not know: how findings come about, rows.

use ratatui::text::{Line as Text, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::diagnose::finding::Severity;
use crate::diagnose::text::report_in;
use crate::present::tui::palette::{LABEL, PICKED, PLAIN, alarmed};
use crate::present::tui::state::State;
use crate::present::tui::views::{Alarm, Picture};

/// In front of each line.
pub(super) const LABELS: usize = 11;

/// Lines, the title first.
pub(super) struct Page {
    pub(super) lines: Vec<Text<'static>>,
    pub(super) width: usize,
}

impl Page {
    pub(super) fn new(title: &str, width: usize) -> Self {
        Self { lines: vec![Text::raw(format!(" {title}"))], width }
    }

    /// Columns of a text beside its label.
    pub(super) fn room(&self) -> usize {
        self.width.saturating_sub(LABELS + 1)
    }

    /// A label, and text that goes on below itself.
    pub(super) fn put(&mut self, label: &str, text: &str) {
        let mut label = label;
        for part in wrap(text, self.room().max(10)) {
            let label = Span::styled(format!(" {:LABELS$}", std::mem::take(&mut label)), LABEL);
            self.lines.push(Text::from(vec![label, Span::raw(part)]));
        }
    }
}

/// Cuts into lines, at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(' ') {
        if used + word.trim_end().width() > width && used > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for sign in word.chars() {
            let wide = sign.width().unwrap_or(0);
            if used + wide > width && sign != ' ' {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(sign);
            used += wide;
        }
    }
    lines.push(line);
    lines
}

/// The page, in so many columns; its title first.
pub(super) fn doctor(picture: &Picture, width: usize) -> Vec<Text<'static>> {
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

/// The columns of the open view, the selected one marked; a title first.
pub(super) fn sorting(state: &State, selected: usize) -> Vec<Text<'static>> {
    let columns = state.columns();
    let line = |(at, title): (usize, &str)| {
        let (mark, style) = if at == selected { ('>', PICKED) } else { (' ', PLAIN) };
        Text::styled(format!("{mark} {title}"), style)
    };
    let titles = columns.iter().map(|column| column.title).enumerate();
    std::iter::once(Text::raw(" Sort by")).chain(titles.map(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_never_pass_the_width() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij ", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        for line in wrap("日本語 日本語日本語", 5) {
            assert!(line.trim_end().width() <= 5, "{line:?}");
        }
    }
}
