//! Owns: metrics as text: the classic format of Prometheus, and OpenMetrics 1.0.
//! Must not know: what is measured, who reads it.
//!
//! Written here and not with a crate: `prometheus-client` writes OpenMetrics alone, and keeps live objects for each series where
//! there is a picture of one moment to be told.

use std::fmt::Write as _;

use super::metrics::{Family, Kind, Sample, Value};

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4 of Prometheus.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What HTTP calls it.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All families as text.
pub(super) fn text(families: &[Family], format: Format) -> String {
    let mut out = String::with_capacity(64 << 10);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        put_family(family, format, &mut out);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

// Writing to a String cannot fail, so its results are not looked at here.

fn put_family(family: &Family, format: Format, out: &mut String) {
    let (kind, total) = match family.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
    };
    // In the classic format the family is called as its series are.
    let suffix = if format == Format::Classic { total } else { "" };
    let name = family.name;
    let _ = writeln!(out, "# HELP {name}{suffix} {}", family.help);
    let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
    if let (Format::OpenMetrics, Some(unit)) = (format, family.unit()) {
        let _ = writeln!(out, "# UNIT {name} {unit}");
    }
    for Sample { labels, value } in &family.samples {
        let _ = write!(out, "{name}{total}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(out, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            put_label(value, out);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        put_value(*value, out);
    }
}

/// A label's value: the three characters that could end it are escaped.
fn put_label(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn put_value(value: Value, out: &mut String) {
    let _ = match value {
        Value::Count(count) => writeln!(out, " {count}"),
        Value::Real(value) if value == f64::INFINITY => writeln!(out, " +Inf"),
        Value::Real(value) => writeln!(out, " {value}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family> {
        let mut ended =
            Family::counter("twtrace_sockets_ended", "TIME_WAIT sockets that went away, by reason.");
        ended.put(&[("reason", "expired")], 17_u64);
        ended.put(&[("reason", "a\"b\\c\nd"), ("unit", "")], 19_u64);
        let mut full = Family::gauge("twtrace_pool_full_seconds", "Seconds until no port is left.");
        full.put(&[("destination", "[::1]:80")], f64::INFINITY);
        full.put(&[("destination", "10.0.0.9:5432")], 27.25);
        vec![
            ended,
            full,
            Family::gauge("twtrace_empty", "Nothing."),
            Family::gauge("twtrace_sockets_live", "TIME_WAIT sockets that exist.").of(23_u64),
        ]
    }

    #[test]
    fn the_classic_format() {
        let want = r#"# HELP twtrace_sockets_ended_total TIME_WAIT sockets that went away, by reason.
# TYPE twtrace_sockets_ended_total counter
twtrace_sockets_ended_total{reason="expired"} 17
twtrace_sockets_ended_total{reason="a\"b\\c\nd",unit=""} 19
# HELP twtrace_pool_full_seconds Seconds until no port is left.
# TYPE twtrace_pool_full_seconds gauge
twtrace_pool_full_seconds{destination="[::1]:80"} +Inf
twtrace_pool_full_seconds{destination="10.0.0.9:5432"} 27.25
# HELP twtrace_sockets_live TIME_WAIT sockets that exist.
# TYPE twtrace_sockets_live gauge
twtrace_sockets_live 23
"#;
        assert_eq!(text(&families(), Format::Classic), want);
    }

    #[test]
    fn openmetrics() {
        let want = r#"# HELP twtrace_sockets_ended TIME_WAIT sockets that went away, by reason.
# TYPE twtrace_sockets_ended counter
twtrace_sockets_ended_total{reason="expired"} 17
twtrace_sockets_ended_total{reason="a\"b\\c\nd",unit=""} 19
# HELP twtrace_pool_full_seconds Seconds until no port is left.
# TYPE twtrace_pool_full_seconds gauge
# UNIT twtrace_pool_full_seconds seconds
twtrace_pool_full_seconds{destination="[::1]:80"} +Inf
twtrace_pool_full_seconds{destination="10.0.0.9:5432"} 27.25
# HELP twtrace_sockets_live TIME_WAIT sockets that exist.
# TYPE twtrace_sockets_live gauge
twtrace_sockets_live 23
# EOF
"#;
        assert_eq!(text(&families(), Format::OpenMetrics), want);
    }
}
