//! Owns: whether the user's terminal can show more than ASCII.
//! Must not know: what is shown instead.

/// The locale's character set, asked as setlocale(3) does: UTF-8 or not.
pub fn has_unicode() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
    is_utf8(&locale.unwrap_or_default().to_string_lossy())
}

fn is_utf8(locale: &str) -> bool {
    let locale = locale.to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_known() {
        for (locale, want) in
            [("de_AT.UTF-8", true), ("C.utf8", true), ("C", false), ("", false), ("de_DE.ISO-8859-1", false)]
        {
            assert_eq!(is_utf8(locale), want, "{locale}");
        }
    }
}
