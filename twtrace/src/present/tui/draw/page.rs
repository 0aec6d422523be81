//! Owns: lines with labels, cut to a width.
//! Must not know: what stands in them.

use crate::present::tui::palette::LABEL;
use ratatui::text::{Line as Text, Span};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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
