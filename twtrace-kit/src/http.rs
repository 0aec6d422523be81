//! Owns: asking an HTTP server on this machine, and reading metrics in the text format of Prometheus.
//! Must not know: what should be answered.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of the answer with status 200 to `GET path`, as text.
pub fn get(at: SocketAddr, path: &str, headers: &str) -> Result<String> {
    String::from_utf8(get_bytes(at, path, headers)?).with_context(|| format!("the answer to {path}"))
}

/// The body of the answer with status 200 to `GET path`.
pub fn get_bytes(at: SocketAddr, path: &str, headers: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(at).with_context(|| format!("connecting to {at}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {at}\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("the answer to {path}"))?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an answer without a head")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    match head.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => {
            let line = head.lines().next().unwrap_or_default();
            bail!("{path}: {line}: {}", String::from_utf8_lossy(&body))
        }
    }
}

/// Escapes everything but letters and digits, for a query.
pub fn percent(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Series and their values, as they stand in the text format: the name with its labels is the key.
#[derive(Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Those that a server on this machine has now.
    pub fn scrape(at: SocketAddr) -> Result<Self> {
        Self::parse(&get(at, "/metrics", "")?)
    }

    /// Reads the text; an error where a line is none, or a series comes twice.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no series: {line}"))?;
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse()? };
            if all.insert(series.to_owned(), value).is_some() {
                bail!("{series} is there twice");
            }
        }
        Ok(Self(all))
    }

    /// The value of a series.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// All series of one name together.
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.0.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }

    /// What is not as it should be.
    pub fn differences(&self, want: &[(&str, f64)]) -> Vec<String> {
        let differs = |(series, value): &&(&str, f64)| self.value(series) != Some(*value);
        let told =
            |(series, value): &(&str, f64)| format!("{series} is {:?}, meant {value}", self.value(series));
        want.iter().filter(differs).map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read() {
        let text = "# HELP a_total A.\na_total{x=\"b c\"} 17\na_total{x=\"}\"} 2\na_total_more 3\nb +Inf\n";
        let metrics = Metrics::parse(text).expect("good lines");
        assert_eq!((metrics.sum("a_total"), metrics.value("b")), (19.0, Some(f64::INFINITY)));
        assert_eq!(metrics.differences(&[("a_total{x=\"b c\"}", 17.0), ("c", 1.0)]), ["c is None, meant 1"]);
        assert!(Metrics::parse("a 1\na 2\n").is_err() && Metrics::parse("a\n").is_err());
    }

    #[test]
    fn a_query_has_nothing_but_letters() {
        assert_eq!(percent("a{b}"), "a%7Bb%7D");
    }
}
