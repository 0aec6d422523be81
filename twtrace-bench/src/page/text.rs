//! Numbers in words and cells in rows.
//!
//! Owns: how a number and a table look. Must not know: what they mean.

use crate::stats::Spread;

/// What stands for a number that there is none of.
pub(super) const NONE: &str = "–";

/// 1009 as `1,009`, rounded to whole numbers.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

/// With so many digits after the point.
pub(super) fn fixed(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| NONE.to_owned(), |number| format!("{number:.digits$}"))
}

/// The middle one.
pub(super) fn median(spread: Option<Spread>, digits: usize) -> String {
    fixed(spread.map(|spread| spread.median), digits)
}

/// The middle one and the middle half of them: `0.86 (0.84 to 0.88)`.
pub(super) fn quarters(spread: Option<Spread>, digits: usize) -> String {
    let text = |s: Spread| format!("{:.digits$} ({:.digits$} to {:.digits$})", s.median, s.low, s.high);
    spread.map_or_else(|| NONE.to_owned(), text)
}

/// The outermost: `0.80 to 0.91`.
pub(super) fn range(spread: Option<Spread>, digits: usize) -> String {
    let text = |s: Spread| format!("{:.digits$} to {:.digits$}", s.min, s.max);
    spread.map_or_else(|| NONE.to_owned(), text)
}

/// Markdown; the first `words` columns hold words, the others numbers.
pub(super) fn table(names: &[&str], words: usize, rows: &[Vec<String>]) -> String {
    let mut text = row(names.iter().map(|name| (*name).to_owned()));
    text += "|";
    for column in 0..names.len() {
        text += if column < words { "---|" } else { "---:|" };
    }
    text += "\n";
    for cells in rows {
        text += &row(cells.iter().cloned());
    }
    text
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.map(|cell| one_line(&cell)).collect::<Vec<_>>().join(" | "))
}

/// What would end a cell is told otherwise.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        for (number, text) in [
            (0.4, "0"),
            (999.4, "999"),
            (999.6, "1,000"),
            (1009.0, "1,009"),
            (1_234_567.0, "1,234,567"),
            (-1009.0, "-1,009"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_spread_is_told_by_its_quarters_and_its_ends() {
        let spread = Spread::of([0.5, 0.6, 0.7, 0.8, 0.9]);
        assert_eq!(quarters(spread, 2), "0.70 (0.60 to 0.80)");
        assert_eq!(range(spread, 1), "0.5 to 0.9");
        assert_eq!(median(None, 1), NONE);
    }

    #[test]
    fn no_cell_breaks_its_table() {
        let text = table(&["what", "n"], 1, &[vec!["a | b\nc".to_owned(), "7".to_owned()]]);
        assert_eq!(text, "| what | n |\n|---|---:|\n| a \\| b c | 7 |\n");
    }
}
