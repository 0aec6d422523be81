//! Owns: whether the user's terminal can show more than ASCII, and what stands for our own signs where it cannot.
//! Must not know: where they are shown.

/// The locale's character set, asked as setlocale(3) does: UTF-8 or not.
pub fn has_unicode() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    is_utf8(&locale.unwrap_or_default().to_string_lossy())
}

/// A text for the user's terminal: where that shows ASCII only, with others for our own signs, wherever they stand. All else of names is as it is.
pub fn in_locale(text: String) -> String {
    if has_unicode() { text } else { in_ascii(&text) }
}

fn in_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '≤' => out.push_str("<="),
            sign => out.push(ascii(sign).unwrap_or(sign)),
        }
    }
    out
}

/// What stands for one of our signs.
pub fn ascii(sign: char) -> Option<char> {
    Some(match sign {
        '…' => '~',
        '·' => ' ',
        '×' => 'x',
        '÷' => '/',
        '▼' => 'v',
        '▲' => '^',
        '░' | '▁' => '.',
        '▂' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        '█' => '#',
        _ => return None,
    })
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_signs_have_others_in_ascii_and_names_stay() {
        assert_eq!(in_ascii("p50 ≤ 7ms, ports ÷ time, a█ ▁…, täst"), "p50 <= 7ms, ports / time, a# .~, täst");
        for sign in crate::present::spark::HEIGHTS.into_iter().skip(1).chain("…▼▲░·×÷".chars()) {
            assert!(ascii(sign).is_some_and(|sign| sign.is_ascii()), "{sign}");
        }
    }

    #[test]
    fn both_spellings_are_known() {
        for (locale, want) in
            [("de_AT.UTF-8", true), ("C.utf8", true), ("C", false), ("", false), ("de_DE.ISO-8859-1", false)]
        {
            assert_eq!(is_utf8(locale), want, "{locale}");
        }
    }
}
