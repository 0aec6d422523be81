//! Owns: the endpoint: where it is, and in which transport it is spoken to.
//! Must not know: what is in a message, when it is sent, what an answer means (`verdict`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Uri};

use super::headers::Headers;
use super::queue::{Message, Outcome, Signal};
use super::verdict::{self, SendResult};
use crate::host::wire::{Call, Channel, ClientConfig, Protocol, Refusal, ServerAddress, trust};
use crate::model::escape::{self, printable};
use crate::present::serve::watch::Watched;

/// So long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: it says little.
const LONGEST_ANSWER: usize = 64 << 10;

/// How an endpoint is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// gRPC; where the URL names no port, 4317, or 443 by https://
    Grpc,
    /// Protobuf over HTTP/1.1; where the URL names no port, 4318, or 443 by https://
    Http,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Endpoint {
    channel: Channel,
    transport: Transport,
    /// What stands before `/v1/metrics`.
    path: String,
    headers: Headers,
    /// The PEM file whose roots certify the endpoint, where there is one.
    roots: Option<(PathBuf, Watched<Arc<ClientConfig>>)>,
    shown: String,
}

impl Endpoint {
    /// Of a URL. Where `transport` does not say it, port 4318 and any path mean HTTP, all else gRPC. `roots` is a PEM file, which is read again
    /// when it changes.
    ///
    /// # Errors
    /// In words about the URL or the roots.
    pub fn new(
        url: &str,
        transport: Option<Transport>,
        roots: Option<&Path>,
        headers: Headers,
    ) -> io::Result<Self> {
        let Address { host, port, is_tls, transport, path } = Address::of(url, transport)?;
        let protocol = transport.protocol();
        let watched = |path: &Path| -> io::Result<_> {
            let read = || trusting(Some(path), protocol);
            Ok((path.to_owned(), Watched::read("the roots", vec![path.to_owned()], read)?))
        };
        let roots = roots.filter(|_| is_tls).map(watched).transpose()?;
        let tls = match &roots {
            Some((_, config)) => Some(Arc::clone(config.get())),
            None => is_tls.then(|| trusting(None, protocol)).transpose()?,
        };
        let channel =
            Channel::new(ServerAddress::Tcp { host, port, tls }, protocol, PATIENCE, LONGEST_ANSWER);
        Ok(Self { channel, transport, path, headers, roots, shown: printable(url).into_owned() })
    }

    /// Its URL, for people.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: &Message) -> SendResult {
        if let Some((path, config)) = &mut self.roots
            && let Some(config) = config.changed(|| trusting(Some(path), self.transport.protocol()))
        {
            self.channel.trust(Arc::clone(config));
        }
        match (self.transport, message.signal) {
            (Transport::Grpc, Signal::Metrics) => {
                let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
                verdict::of_call(self.call(path, message).await, verdict::of_points)
            }
            (Transport::Grpc, Signal::Logs) => {
                let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
                verdict::of_call(self.call(path, message).await, verdict::of_records)
            }
            (Transport::Http, signal) => self.post(signal, message).await,
        }
    }

    async fn call<R: prost::Message + Default>(
        &mut self,
        path: &str,
        message: &Message,
    ) -> Result<R, Refusal> {
        let call = Call { path, headers: self.headers.current(), message: &message.bytes };
        call.make(&mut self.channel).await
    }

    async fn post(&mut self, signal: Signal, message: &Message) -> SendResult {
        let path = match signal {
            Signal::Metrics => format!("{}/v1/metrics", self.path),
            Signal::Logs => format!("{}/v1/logs", self.path),
        };
        let mut headers = self.headers.current();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let answer = self.channel.ask(Method::POST, &path, headers, message.bytes.clone()).await;
        match answer {
            Err(failure) => (Outcome::Later(None), Some(failure.to_string())),
            Ok(answer) if answer.status.is_success() => verdict::of_body(signal, &answer.body),
            Ok(answer) => {
                let after = answer.headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok());
                let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
                (verdict::of_status(answer.status, after), Some(format!("HTTP status {}", answer.status)))
            }
        }
    }
}

impl Transport {
    const fn protocol(self) -> Protocol {
        match self {
            Self::Grpc => Protocol::Http2,
            Self::Http => Protocol::Http1,
        }
    }

    /// Where a URL names no port: by TLS that of https, as everywhere on the web, because who answers there is what stands before collectors;
    /// else the one that collectors listen on.
    const fn usual_port(self, is_tls: bool) -> u16 {
        match self {
            _ if is_tls => 443,
            Self::Grpc => 4317,
            Self::Http => 4318,
        }
    }
}

/// What a URL says.
#[derive(Debug)]
struct Address {
    host: String,
    port: u16,
    is_tls: bool,
    transport: Transport,
    path: String,
}

impl Address {
    fn of(url: &str, transport: Option<Transport>) -> io::Result<Self> {
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it begins with http:// or https://")),
        };
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("there is no host in it"))?;
        if uri.query().is_some() || uri.authority().is_some_and(|all| all.as_str().contains('@')) {
            return Err(wrong(
                "a query, a user or a password in it is not sent; --otlp-headers-file takes headers",
            ));
        }
        if uri.port_u16().is_none() && uri.authority().is_some_and(|all| all.as_str().len() != host.len()) {
            return Err(wrong("its port is no number of one"));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        let is_http = uri.port_u16() == Some(4318) || !path.is_empty();
        let transport = transport.unwrap_or(if is_http { Transport::Http } else { Transport::Grpc });
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(transport.usual_port(is_tls));
        Ok(Self { host, port, is_tls, transport, path })
    }
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// Errors name the file, where there is one.
fn trusting(roots: Option<&Path>, protocol: Protocol) -> io::Result<Arc<ClientConfig>> {
    trust(roots, protocol).map_err(|error| match roots {
        Some(path) => io::Error::other(format!("cannot use --otlp-ca {}: {error}", escape::path(path))),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::present::serve::tls::tests::{Authority, serving};

    #[test]
    fn a_url_says_where_and_how() {
        for (url, transport, host, port, path) in [
            ("http://127.0.0.1:4317", Transport::Grpc, "127.0.0.1", 4317, ""),
            ("http://collector", Transport::Grpc, "collector", 4317, ""),
            ("http://collector/otlp", Transport::Http, "collector", 4318, "/otlp"),
            ("http://collector:4318", Transport::Http, "collector", 4318, ""),
            ("http://[::1]:9999/otlp/", Transport::Http, "::1", 9999, "/otlp"),
            ("https://collector", Transport::Grpc, "collector", 443, ""),
            ("https://otlp.example.net/otlp", Transport::Http, "otlp.example.net", 443, "/otlp"),
            ("https://collector:4317", Transport::Grpc, "collector", 4317, ""),
        ] {
            let at = Address::of(url, None).unwrap();
            let told = (at.transport, at.host.as_str(), at.port, at.path.as_str());
            assert_eq!(told, (transport, host, port, path), "{url}");
            assert_eq!(at.is_tls, url.starts_with("https:"), "{url}");
        }
        let asked = Address::of("http://x:4318", Some(Transport::Grpc)).unwrap();
        assert_eq!(asked.transport, Transport::Grpc);
        assert_eq!(Address::of("https://x", Some(Transport::Http)).unwrap().port, 443);
        for url in
            ["", "collector:4317", "ftp://x", "http://", "http://a:b@x", "http://x/?y", "http://x:99999"]
        {
            assert!(Endpoint::new(url, None, None, Headers::default()).is_err(), "{url}");
        }
    }

    #[test]
    fn roots_that_change_are_trusted_and_what_are_none_are_not() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        ours.certify("server");
        let server = serving(ours.files(None));
        let url = format!("https://{}", server.address());
        let roots = PathBuf::from(theirs.path("roots.pem"));
        let new = || Endpoint::new(&url, Some(Transport::Http), Some(&roots), Headers::default());
        let said = new().unwrap_err().to_string();
        assert!(said.contains("--otlp-ca ") && said.contains("roots.pem"), "{said}");
        std::fs::copy(theirs.path("ca.pem"), &roots).unwrap();
        let mut endpoint = new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let message = Message { signal: Signal::Metrics, bytes: Vec::new().into(), count: 1 };
        let outcome = |endpoint: &mut Endpoint| runtime.block_on(endpoint.send(&message)).0;
        assert_eq!(outcome(&mut endpoint), Outcome::Later(None));
        // A server that says no, as ours does to POST, is one that was trusted.
        for (root, want) in [(&ours, Outcome::Never), (&theirs, Outcome::Later(None))] {
            std::fs::copy(root.path("ca.pem"), &roots).unwrap();
            let exchanged = |endpoint: &mut Endpoint| endpoint.roots.as_mut().unwrap().1.expire();
            exchanged(&mut endpoint);
            assert_eq!(outcome(&mut endpoint), want);
            // There is none in it.
            std::fs::copy(root.path("ca.key"), &roots).unwrap();
            exchanged(&mut endpoint);
            assert_eq!(outcome(&mut endpoint), want);
        }
        server.stop().unwrap();
    }
}
