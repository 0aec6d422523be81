//! Owns: what a client wants to have, by its Accept and Accept-Encoding headers (RFC 9110, 12.5).
//! Must not know: what it gets.

use super::exposition::Format;

/// Ranges of a header that are looked at.
const MOST: usize = 32;

/// The parts of a list: what each names, its parameters, and its weight from 0 to 1.
fn ranges(header: &str) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, &str)> + Clone, f64)> {
    header.split(',').take(MOST).map(|range| {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let parameters = parts.filter_map(|part| part.split_once('=')).map(|(a, b)| (a.trim(), b.trim()));
        let weight = parameters.clone().find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let weight = weight.map_or(1.0, |(_, weight)| weight.parse::<f64>().unwrap_or(0.0));
        (name, parameters, if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 })
    })
}

/// The format that is wanted most; of two alike, the newer one. Who says nothing gets the classic one.
pub(super) fn format(accept: &str) -> Format {
    let (mut open, mut classic) = (0.0_f64, 0.0_f64);
    for (name, mut parameters, weight) in ranges(accept) {
        let version = parameters.find(|(name, _)| *name == "version").map(|(_, version)| version);
        match name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0" | "0.0.1")) => {
                open = open.max(weight);
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => classic = classic.max(weight),
            _ => {}
        }
    }
    if open > 0.0 && open >= classic { Format::OpenMetrics } else { Format::Classic }
}

/// Whether the answer may be compressed.
pub(super) fn takes_gzip(accept_encoding: &str) -> bool {
    let named = |wanted: &str| {
        let is_it = |(name, _, _): &(&str, _, _)| name.eq_ignore_ascii_case(wanted);
        ranges(accept_encoding).find(is_it).map(|(_, _, weight)| weight > 0.0)
    };
    named("gzip").or_else(|| named("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_that_is_wanted_most() {
        for (accept, want) in [
            ("", Format::Classic),
            ("*/*", Format::Classic),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Classic),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Classic),
            ("application/openmetrics-text", Format::OpenMetrics),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text;version=2.0.0", Format::Classic),
            ("application/openmetrics-text; q=0, text/plain", Format::Classic),
            ("application/openmetrics-text; q=0.3, text/plain; q=0.7", Format::Classic),
            ("application/openmetrics-text;q=nan", Format::Classic),
            (";;;,,,=q=,q", Format::Classic),
        ] {
            assert_eq!(format(accept), want, "{accept}");
        }
    }

    #[test]
    fn compressed_for_those_who_take_it() {
        for (accept, want) in [
            ("", false),
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
        ] {
            assert_eq!(takes_gzip(accept), want, "{accept}");
        }
    }
}
