//! Owns: the flags about OTLP: where to export to, how, how often.
//! Must not know: what is exported.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::super::values::{Usage, duration};
use crate::model::escape::printable;
use crate::present::serve::{Endpoint, Transport};

/// Longest file of headers, in bytes.
const LONGEST: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Otlp {
    /// Export the metrics, and findings as log records, to this OpenTelemetry endpoint, such as http://collector:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How --otlp is spoken to; where it is not said, HTTP on port 4318 and where the URL has a path, else gRPC
    #[arg(long, value_name = "TRANSPORT")]
    otlp_protocol: Option<Transport>,
    /// How often it is exported
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    otlp_every: Duration,
    /// Roots that certify an https:// endpoint (PEM); without it, those of this machine
    #[arg(long, value_name = "FILE")]
    otlp_ca: Option<PathBuf>,
    /// Headers for the endpoint, such as its token: a line each, NAME: VALUE
    #[arg(long, value_name = "FILE")]
    otlp_headers_file: Option<PathBuf>,
}

impl Otlp {
    /// Where to export to and how often; `None` where nothing is exported.
    pub(super) fn endpoint(&self) -> anyhow::Result<Option<(Endpoint, Duration)>> {
        let Some(url) = &self.otlp else { return Ok(None) };
        let headers = self.otlp_headers_file.as_deref().map(headers).transpose()?.unwrap_or_default();
        let endpoint = Endpoint::new(url, self.otlp_protocol, self.otlp_ca.as_deref(), headers);
        let endpoint = endpoint
            .map_err(|error| Usage(format!("cannot export to --otlp {}: {error}", printable(url))))?;
        Ok(Some((endpoint, self.otlp_every.max(Duration::from_secs(1)))))
    }
}

fn headers(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let shown = printable(&path.to_string_lossy()).into_owned();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .with_context(|| format!("cannot read --otlp-headers-file {shown}"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| match line.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            // The line may be a secret.
            None => Err(Usage(format!("line {} of {shown} is not NAME: VALUE", at + 1)).into()),
        })
        .collect()
}
