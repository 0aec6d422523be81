//! Owns: our own signs: numbers in a row as signs of different height, whether the user's terminal can show more than ASCII, and what stands
//! for our signs where it cannot.
//! Must not know: what is counted, where they are shown.

/// Signs of rising height, the first for nothing.
pub const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last values as signs of different height, as many as there is room for. `most` is full height.
pub fn spark(values: &[u32], most: u32, width: usize) -> String {
    chart(values, most, width, 1).concat()
}

/// As [`spark`], in so many rows; the highest comes first.
pub fn chart(values: &[u32], most: u32, width: usize, rows: usize) -> Vec<String> {
    let last = &values[values.len().saturating_sub(width)..];
    let (signs, most) = (HEIGHTS.len() - 1, u64::from(most.max(1)));
    let steps = (signs * rows) as u64;
    // Little is never shown as nothing.
    let height = |value: u32| (u64::from(value) * steps).div_ceil(most).min(steps) as usize;
    let sign = |value: &u32, below: usize| HEIGHTS[height(*value).saturating_sub(below).min(signs)];
    (0..rows).rev().map(|at| last.iter().map(|value| sign(value, at * signs)).collect()).collect()
}

/// All values, in as many columns at most: where there are more, each column has its part of those that it covers.
pub fn whole(values: &[u32], columns: usize) -> String {
    let squeezed: Vec<u32> = if values.len() <= columns {
        values.to_vec()
    } else {
        let share = values.len() as f64 / columns as f64;
        let column = |at: usize| {
            let (from, to) = (at as f64 * share, (at + 1) as f64 * share);
            let covered = |value: usize| (to.min(value as f64 + 1.0) - from.max(value as f64)).max(0.0);
            let values = values.iter().enumerate().skip(from as usize).take(share.ceil() as usize + 1);
            values.map(|(at, value)| f64::from(*value) * covered(at)).sum::<f64>().ceil() as u32
        };
        (0..columns).map(column).collect()
    };
    spark(&squeezed, squeezed.iter().copied().max().unwrap_or(0), columns)
}

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
    fn little_is_seen_and_much_is_full() {
        assert_eq!(spark(&[9, 0, 1, 500, 1000], 1000, 4), " ▁▄█");
        assert_eq!(spark(&[0], 0, 4), " ");
        assert_eq!(chart(&[500, 501, 1, 0, 760], 1000, 5, 2), [" ▁  ▅", "██▁ █"]);
    }

    #[test]
    fn columns_share_what_they_cover() {
        assert_eq!(whole(&[7, 0, 3], 4), "█ ▄");
        // The same in each, though five do not go into three.
        assert_eq!(whole(&[3; 5], 3), "███");
        assert_eq!(whole(&[0, 0, 0, 0, 1], 3), "  █");
        assert_eq!(whole(&[], 3), "");
    }

    #[test]
    fn our_signs_have_others_in_ascii_and_names_stay() {
        assert_eq!(in_ascii("p50 ≤ 7ms, ports ÷ time, a█ ▁…, täst"), "p50 <= 7ms, ports / time, a# .~, täst");
        for sign in HEIGHTS.into_iter().skip(1).chain("…▼▲░·×÷".chars()) {
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
