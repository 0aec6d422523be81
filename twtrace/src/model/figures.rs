//! Owns: numbers as people read them: spans of time, rates, shares, sizes.
//! Must not know: what is counted.

/// `<1s`, `3s`, `12m30s`, `3h05m`, `2d04h`.
pub fn span(seconds: f64) -> String {
    if seconds > 0.0 && seconds < 1.0 {
        return "<1s".to_owned();
    }
    // A float that is too large becomes the largest number there is.
    let all = seconds.max(0.0) as u64;
    let (days, hours, minutes, seconds) = (all / 86_400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        (1..=99, ..) => format!("{days}d{hours:02}h"),
        _ => ">99d".to_owned(),
    }
}

/// As [`span`], with a tenth of a second below a minute: how long something took.
pub fn lasted(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.1}s") } else { span(seconds) }
}

/// `7us`, `3.1ms`, `470ms`, `12m30s`.
pub fn short_time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..10_000 => format!("{:.1}ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", us / 1_000),
        _ => span(us as f64 / 1e6),
    }
}

/// `28,232`: a count, in groups of three digits.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 connection`, `7 connections`.
pub fn count(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Five characters at most: `0`, `0.1`, `47.3`, `470`, `1,075`, `20.0k`, `131k`.
pub fn rate(a_second: f64) -> String {
    match a_second {
        0.0 => "0".to_owned(),
        small if small < 0.05 => "<0.1".to_owned(),
        medium if medium < 99.95 => format!("{medium:.1}"),
        large if large < 9_999.5 => grouped(large.round() as u64),
        larger if larger < 99_950.0 => format!("{:.1}k", larger / 1000.0),
        huge => format!("{:.0}k", huge / 1000.0),
    }
}

/// Of a share between 0 and 1, and above; never 100 % where something is left, and never 0 % where there is something.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        some if some < 1.0 => "<1%".to_owned(),
        some if some < 100.0 => format!("{some:.0}%").replace("100%", "99%"),
        some => format!("{:.0}%", some.min(999.0)),
    }
}

/// `512 B`, `7.1 MiB`.
pub fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let cases = [
            (0.0, "0s"),
            (0.9, "<1s"),
            (59.0, "59s"),
            (61.0, "1m01s"),
            (3_600.0, "1h00m"),
            (100_800.0, "1d04h"),
            (1e9, ">99d"),
            (f64::INFINITY, ">99d"),
            (-1.0, "0s"),
        ];
        for (seconds, want) in cases {
            assert_eq!(span(seconds), want);
        }
    }

    #[test]
    fn rates_and_shares_never_round_to_nothing_or_to_all() {
        for (value, want) in [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.05, "0.1"),
            (99.94, "99.9"),
            (99.96, "100"),
            (1_075.4, "1,075"),
            (20_011.0, "20.0k"),
            (99_949.0, "99.9k"),
            (131_072.0, "131k"),
        ] {
            assert_eq!(rate(value), want);
        }
        for (share, want) in
            [(0.0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.9999, "99%"), (1.0, "100%"), (1.25, "125%")]
        {
            assert_eq!(percent(share), want);
        }
    }

    #[test]
    fn counts_are_grouped() {
        for (count, want) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (28_232, "28,232"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(count), want);
        }
    }

    #[test]
    fn sizes() {
        for (count, want) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (7_444_890, "7.1 MiB"), (1 << 50, "1024.0 TiB")]
        {
            assert_eq!(bytes(count), want);
        }
    }
}
