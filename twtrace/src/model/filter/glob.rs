//! Owns: names with wildcards, and what of them can be decided by words and masks.
//! Must not know: whose names.

use std::fmt;

use twtrace_common::name::NamePattern;
use wildmatch::WildMatch;

use crate::model::event::Comm;

/// A name, or many: `*` stands for any text, also for none, `?` for one character.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    /// `None`: a name without wildcards.
    pattern: Option<WildMatch>,
}

/// What the kernel side can decide of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// All names that match agree with it.
    pub pattern: NamePattern,
    /// No others do.
    pub exactly: bool,
}

impl Glob {
    /// Whether there is a wildcard in it.
    pub const fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// As it was given. Hostile until escaped.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a name of `text`, all of it.
    pub fn matches(&self, text: &str) -> bool {
        self.pattern.as_ref().map_or(self.text == text, |pattern| pattern.matches(text))
    }

    /// Whether it is a name of a process: of that the kernel keeps no more than 15 bytes, and so no more are compared.
    pub fn matches_comm(&self, comm: Comm) -> bool {
        match self.whole_comm() {
            Some(whole) => whole == comm,
            None => self.matches(&comm.text()),
        }
    }

    /// The only process name that matches, where that is clear from the part that the kernel keeps.
    fn whole_comm(&self) -> Option<Comm> {
        let (head, _) = self.ends();
        (self.pattern.is_none() || Comm::is_filled_by(head)).then(|| Comm::new(head))
    }

    /// What stands before the first wildcard, and after the last. Both are the whole, where there is none.
    fn ends(&self) -> (&str, &str) {
        let is_wild = |c: char| matches!(c, '*' | '?');
        let head = self.text.split(is_wild).next().unwrap_or_default();
        (head, self.text.rsplit(is_wild).next().unwrap_or_default())
    }

    /// What of it the kernel side can decide about process names. That compares bytes, and what is no text has any: there it lets pass what
    /// agrees in the rest.
    pub fn decided(&self) -> Decided {
        if let Some(whole) = self.whole_comm() {
            let text = whole.text();
            let clear = before_stray(&text);
            return if clear.len() == text.len() {
                Decided { pattern: NamePattern::whole(whole.padded()), exactly: true }
            } else {
                Decided::beginning(clear)
            };
        }
        let (head, tail) = self.ends();
        let (clear_head, clear_tail) = (before_stray(head), behind_stray(tail));
        let between = &self.text[clear_head.len()..self.text.len() - clear_tail.len()];
        match NamePattern::around(clear_head.as_bytes(), clear_tail.as_bytes()) {
            Some(pattern) => Decided { pattern, exactly: between.bytes().all(|byte| byte == b'*') },
            // No name is long enough for both ends. That one of them is not found is enough.
            None => Decided::beginning(clear_head),
        }
    }
}

impl Decided {
    /// Names that begin so, of which others are to be looked at.
    fn beginning(head: &str) -> Self {
        let pattern = NamePattern::around(head.as_bytes(), b"").unwrap_or_default();
        Self { pattern, exactly: false }
    }
}

/// What stands before the first U+FFFD, which is all of it where there is none.
fn before_stray(text: &str) -> &str {
    text.split(char::REPLACEMENT_CHARACTER).next().unwrap_or_default()
}

/// What stands behind the last U+FFFD.
fn behind_stray(text: &str) -> &str {
    text.rsplit(char::REPLACEMENT_CHARACTER).next().unwrap_or_default()
}

impl From<String> for Glob {
    fn from(text: String) -> Self {
        let pattern = text.contains(['*', '?']).then(|| WildMatch::new(&text));
        Self { text, pattern }
    }
}

impl From<&str> for Glob {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use twtrace_common::name::{agrees, at_end, cut};
    use twtrace_common::wire::words_of_bytes;

    use super::*;

    /// As the kernel side compares.
    fn agrees_in_kernel(pattern: &NamePattern, bytes: [u8; 16]) -> bool {
        let comm = cut(words_of_bytes(bytes));
        let (end, length) = at_end(comm);
        agrees(comm, pattern.head, pattern.head_mask)
            && length >= pattern.least
            && agrees(end, pattern.tail, pattern.tail_mask)
    }

    const NAMES: [&str; 17] = [
        "",
        "a",
        "ab",
        "aba",
        "abab",
        "php",
        "php-fpm",
        "php-fpm7.4",
        "php-fpm8.2-fpm",
        "xphp-fpm",
        "exactly-fifteen",
        "exactly-fifteem",
        "seven77",
        "eight888",
        "nine99999",
        "naïve",
        "*",
    ];
    const PATTERNS: [(&str, bool); 22] = [
        ("php-fpm", true),
        ("php-fpm*", true),
        ("*fpm", true),
        ("php*fpm", true),
        ("*", true),
        ("**", true),
        ("?", false),
        ("a*a", true),
        ("ab*ab", true),
        ("ab*ba", true),
        ("*p*p*", false),
        ("php-???", false),
        ("?hp-fpm", false),
        ("exactly-fifteen-and-more", true),
        ("exactly-fifteen*", true),
        ("exactly-*teen", true),
        ("*fifteen", true),
        ("exactly-f*fifteen-and", false),
        ("na*ve", true),
        ("*8", true),
        ("nine*9", true),
        ("*a*b", false),
    ];

    #[test]
    fn the_kernel_lets_pass_what_matches_and_exactly_that_where_it_says_so() {
        for (text, exactly) in PATTERNS {
            let glob = Glob::from(text);
            let decided = glob.decided();
            assert_eq!(decided.exactly, exactly, "{text}");
            for name in NAMES {
                let comm = Comm::new(name);
                let mut bytes = comm.padded();
                // What an older kernel leaves behind the NUL.
                let end = comm.bytes().len() + 1;
                bytes.iter_mut().skip(end).for_each(|byte| *byte = b'a');
                for bytes in [comm.padded(), bytes] {
                    let agrees = agrees_in_kernel(&decided.pattern, bytes);
                    assert!(agrees || !glob.matches_comm(comm), "{text} {name}");
                    assert!(!exactly || agrees == glob.matches_comm(comm), "{text} {name}");
                }
            }
        }
    }

    /// Names as the kernel has them that text cannot hold, patterns, and whether one matches the other.
    const TORN: [&[u8]; 4] = [
        // "проверка" is 16 bytes long.
        b"\xd0\xbf\xd1\x80\xd0\xbe\xd0\xb2\xd0\xb5\xd1\x80\xd0\xba\xd0",
        &[0xff; 10],
        b"a\xfe-worker",
        b"twelve-bytes\xf0\x9f\x98",
    ];
    const OF_TORN: [(&str, [bool; 4]); 12] = [
        ("проверка", [true, false, false, false]),
        ("проверка-и-больше", [true, false, false, false]),
        ("проверка*", [true, false, false, false]),
        ("проверк*", [true, false, false, false]),
        ("проверк\u{fffd}", [true, false, false, false]),
        ("проверк", [false; 4]),
        (
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            [false, true, false, false],
        ),
        ("\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}*", [false, true, false, false]),
        ("a\u{fffd}-worker", [false, false, true, false]),
        ("a\u{fffd}*ker", [false, false, true, false]),
        ("a*\u{fffd}-worker", [false, false, true, false]),
        ("twelve-bytes\u{1f600}*", [false, false, false, true]),
    ];

    #[test]
    fn a_name_that_is_torn_or_no_text_is_found_by_its_text_and_by_the_whole_of_it() {
        for (text, want) in OF_TORN {
            let glob = Glob::from(text);
            let decided = glob.decided();
            for (name, want) in TORN.into_iter().zip(want) {
                let mut bytes = [0; 16];
                bytes[..name.len()].copy_from_slice(name);
                let comm = Comm::from_kernel(bytes);
                assert_eq!(glob.matches_comm(comm), want, "{text} {}", comm.text());
                let agrees = agrees_in_kernel(&decided.pattern, bytes);
                assert!(agrees || !want, "{text} {}: never heard of", comm.text());
                assert!(!decided.exactly || agrees == want, "{text} {}", comm.text());
            }
        }
    }

    #[test]
    fn what_matches() {
        let matching = |text: &str| {
            let glob = Glob::from(text);
            NAMES.iter().filter(|name| glob.matches_comm(Comm::new(name))).copied().collect::<Vec<_>>()
        };
        assert_eq!(matching("php-fpm*"), ["php-fpm", "php-fpm7.4", "php-fpm8.2-fpm"]);
        assert_eq!(matching("php*fpm"), ["php-fpm", "php-fpm8.2-fpm"]);
        assert_eq!(matching("ab*ab"), ["abab"]);
        assert_eq!(matching("na?ve"), ["naïve"]);
        assert_eq!(matching("exactly-fifteen-and-more"), ["exactly-fifteen"]);
        assert_eq!(matching("*").len(), NAMES.len());
        assert!(matching("").len() == 1 && matching("ph").is_empty());
    }
}
