//! Owns: how many columns a text for people has, and how it is broken into lines of so many.
//! Must not know: what is in it.

use std::io::IsTerminal as _;

use textwrap::{Options, WordSplitter, wrap};

/// Columns of the terminal that stdout is; `None` where it is none: what is read by a program, or later, has lines as long as they need to
/// be.
pub fn terminal_columns() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| textwrap::termwidth().max(LEAST))
}

/// With fewer, nothing is legible.
const LEAST: usize = 40;

/// Breaks a line between its words into lines of so many columns, the first behind `first`, the others behind `below`. No word is broken: it
/// may have to be copied.
pub fn fold(first: &str, line: &str, below: &str, columns: usize) -> Vec<String> {
    let options = Options::new(columns)
        .initial_indent(first)
        .subsequent_indent(below)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    wrap(line, options).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_between_words() {
        let lines =
            fold("a note: ", "of which some words are longer than others /and/this/is/a/path", "  ", 20);
        assert_eq!(
            lines,
            ["a note: of which", "  some words are", "  longer than others", "  /and/this/is/a/path"]
        );
        assert_eq!(fold("label    ", "/and/this/is/a/path", "  ", 20), ["label    /and/this/is/a/path"]);
    }
}
