//! Owns: the flags about OTLP: where to export to, how, how often.
//! Must not know: what is exported.

use std::path::PathBuf;
use std::time::Duration;

use super::super::values::{Usage, duration};
use super::refuse_without;
use crate::model::escape::printable;
use crate::present::serve::{Endpoint, Headers, Transport};

#[derive(Debug, clap::Args)]
pub(super) struct Otlp {
    /// Export the metrics, and findings as log records, to this OpenTelemetry endpoint, such as http://collector:4317
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How --otlp is spoken to; where it is not said, HTTP on port 4318 and where the URL has a path, else gRPC
    #[arg(long, value_name = "TRANSPORT")]
    otlp_protocol: Option<Transport>,
    /// How often it is exported [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    otlp_every: Option<Duration>,
    /// Roots that certify an https:// endpoint (PEM), read again when it changes; without it, those of this machine
    #[arg(long, value_name = "FILE")]
    otlp_ca: Option<PathBuf>,
    /// Headers for the endpoint, such as its token: a line each, NAME: VALUE; it is read again when it changes
    #[arg(long, value_name = "FILE")]
    otlp_headers_file: Option<PathBuf>,
}

/// How often, where nobody says otherwise; and the most often.
const EVERY: Duration = Duration::from_secs(30);
const LEAST_EVERY: Duration = Duration::from_secs(1);

impl Otlp {
    /// Where to export to and how often; `None` where nothing is exported.
    pub(super) fn endpoint(&self) -> anyhow::Result<Option<(Endpoint, Duration)>> {
        let given = [
            (self.otlp_protocol.is_some(), "--otlp-protocol"),
            (self.otlp_every.is_some(), "--otlp-every"),
            (self.otlp_ca.is_some(), "--otlp-ca"),
            (self.otlp_headers_file.is_some(), "--otlp-headers-file"),
        ];
        refuse_without(self.otlp.is_some(), &given, "--otlp URL")?;
        let Some(url) = &self.otlp else { return Ok(None) };
        let every = self.otlp_every.unwrap_or(EVERY);
        if every < LEAST_EVERY {
            return Err(Usage(format!("--otlp-every must be 1s or more, and is {every:?}")).into());
        }
        let headers = self.headers()?;
        let endpoint = Endpoint::new(url, self.otlp_protocol, self.otlp_ca.as_deref(), headers);
        let endpoint = endpoint
            .map_err(|error| Usage(format!("cannot export to --otlp {}: {error}", printable(url))))?;
        Ok(Some((endpoint, every)))
    }

    fn headers(&self) -> Result<Headers, Usage> {
        let read = self.otlp_headers_file.as_deref().map(Headers::read).transpose();
        read.map(Option::unwrap_or_default).map_err(Usage::of_file)
    }
}
