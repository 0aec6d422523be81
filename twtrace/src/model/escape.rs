//! Owns: how text from strangers (process names, command lines, paths) is made harmless for a terminal, a log or a
//! page, and how it is cut to a width.
//! Must not know: who shows it. HTML's own escaping (`<`, `&`) is the page's business.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `text` with everything visible that could act on a terminal or deceive a reader: control characters (C0, DEL,
/// C1) become `\x1b`, characters that are invisible or change the direction of writing become `\u{202e}`, and a
/// backslash becomes `\\`, so that the result is unambiguous. Borrowed when there is nothing to do.
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(needs_escape) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        let code = u32::from(c);
        // Writing to a String cannot fail.
        let _ = match c {
            '\\' => out.write_str("\\\\"),
            _ if !needs_escape(c) => out.write_char(c),
            _ if code <= 0xff => write!(out, "\\x{code:02x}"),
            _ => write!(out, "\\u{{{code:x}}}"),
        };
    }
    Cow::Owned(out)
}

/// What a process is called that took its name away, `prctl(PR_SET_NAME, "")`. JSON has its empty name.
const NAMELESS: &str = "(empty)";

/// The name of a process as people are told it, wherever they are: as [`printable`] has it.
pub fn process_name(comm: &str) -> Cow<'_, str> {
    if comm.is_empty() { Cow::Borrowed(NAMELESS) } else { printable(comm) }
}

/// What a network namespace is called; its inode where it has no name.
pub fn netns(name: Option<&str>, inode: u32) -> String {
    name.map_or_else(|| inode.to_string(), |name| printable(name).into_owned())
}

/// A path as it may be shown: what is not UTF-8 in it becomes U+FFFD.
pub fn path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

fn needs_escape(c: char) -> bool {
    c == '\\' || c.is_control() || (c > '\u{ac}' && is_invisible(c))
}

/// Line and paragraph separators, format characters that leave no mark (general category Cf, less the few Arabic
/// and Egyptian signs in it that are seen), and what fonts must draw as nothing (Default_Ignorable_Code_Point):
/// UnicodeData.txt and DerivedCoreProperties.txt, Unicode 17.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` cut to at most `width` terminal columns, the last of them `…` where something was cut.
pub fn fit(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width && text.is_ascii() || text.width() <= width {
        return Cow::Borrowed(text);
    }
    let Some(room) = width.checked_sub(1) else { return Cow::Borrowed("") };
    let mut used = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(1);
        if used > room {
            break;
        }
        end = at + c.len_utf8();
    }
    // Some sequences are wider together than their characters are alone.
    while text[..end].width() > room {
        end = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_general_category::{GeneralCategory, get_general_category};

    #[test]
    fn what_could_act_on_a_terminal_becomes_visible() {
        for (text, want) in [
            ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
            ("a\nb\tc\rd\0", r"a\x0ab\x09c\x0dd\x00"),
            ("del\x7f csi\u{9b}31m", r"del\x7f csi\x9b31m"),
            ("exe\u{202e}gpj", r"exe\u{202e}gpj"),
            ("\u{2066}x\u{2069}\u{200e}\u{200f}", r"\u{2066}x\u{2069}\u{200e}\u{200f}"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("ng\u{ad}in\u{200b}x\u{e0041}", r"ng\xadin\u{200b}x\u{e0041}"),
            (r"C:\x1b", r"C:\\x1b"),
        ] {
            assert_eq!(printable(text), want);
        }
    }

    #[test]
    fn a_process_has_something_that_it_is_called() {
        for (comm, want) in [("", "(empty)"), (" ", " "), ("nginx", "nginx"), ("a\x1b", r"a\x1b")] {
            assert_eq!(process_name(comm), want);
        }
    }

    #[test]
    fn the_rest_passes_and_is_borrowed() {
        for text in [
            "",
            "nginx: worker process",
            "проверка",
            "日本語 (deleted)",
            "naïve",
            "e\u{301}",
            "🦀",
            "\u{fffd}",
        ] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn every_control_separator_and_format_character_of_unicode_is_escaped() {
        // Signs of category Cf that do leave a mark on the page.
        let seen = |c| {
            matches!(c, '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
                | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
        };
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let category = get_general_category(c);
            let hidden = matches!(
                category,
                GeneralCategory::Control
                    | GeneralCategory::Format
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
            );
            if hidden && !seen(c) {
                assert!(needs_escape(c), "{:x} {category:?}", u32::from(c));
            } else if needs_escape(c) && c != '\\' {
                assert_eq!(c.width().unwrap_or(0) % 2, 0, "{:x} {category:?} has ink", u32::from(c));
            }
        }
    }

    #[test]
    fn cutting_counts_columns() {
        for (text, width, want) in [
            ("nginx", 5, "nginx"),
            ("nginx", 4, "ngi…"),
            ("nginx", 1, "…"),
            ("nginx", 0, ""),
            ("", 0, ""),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 2, "…"),
            ("e\u{301}te\u{301}", 3, "e\u{301}te\u{301}"),
            ("e\u{301}te\u{301}s", 3, "e\u{301}t…"),
            ("\u{301}\u{301}", 0, "\u{301}\u{301}"),
        ] {
            let cut = fit(text, width);
            assert_eq!(cut, want, "{text:?} to {width}");
            assert!(cut.width() <= width, "{text:?} to {width}");
        }
    }

    #[test]
    fn no_sequence_gets_wider_than_asked_for() {
        let wide_together = "\u{2764}\u{fe0f}\u{2764}\u{fe0f}\u{2764}\u{fe0f}👩\u{200d}🔬\u{1f1e9}\u{1f1ea}";
        for width in 0..11 {
            assert!(fit(wide_together, width).width() <= width, "{width}");
        }
    }
}
