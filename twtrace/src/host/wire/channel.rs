//! Owns: a connection to a server: kept, made again when it is gone, given up when it takes too long.
//! Must not know: what is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::rustls::ClientConfig;

use super::destination::{Protocol, ServerAddress};

const AGENT: &str = concat!("twtrace/", env!("CARGO_PKG_VERSION"));

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody is there, or not who should be.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke, or something else than HTTP came.
    #[error("the connection broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// What came after the body.
    pub trailers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// Whether it can take another request.
    async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

/// See the head of the file. It lives in a runtime of tokio's.
#[derive(Debug)]
pub struct Channel {
    destination: ServerAddress,
    protocol: Protocol,
    patience: Duration,
    /// The most that an answer may have, in bytes.
    longest: usize,
    open: Option<Sender>,
}

impl Channel {
    /// To `destination`, where nobody is asked yet. An answer takes at most `patience`, the connection included, and has at most `longest` bytes.
    pub fn new(destination: ServerAddress, protocol: Protocol, patience: Duration, longest: usize) -> Self {
        Self { destination, protocol, patience, longest, open: None }
    }

    /// Whom it trusts from now on, where it speaks TLS; the connection is made again.
    pub fn trust(&mut self, config: Arc<ClientConfig>) {
        if let ServerAddress::Tcp { tls: Some(tls), .. } = &mut self.destination {
            *tls = config;
            self.open = None;
        }
    }

    /// How long an answer may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Asks for `path`, which begins with a slash.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let patience = self.patience;
        let request = self.request(method, path, headers, body)?;
        let asked = tokio::time::timeout(patience, self.exchange(request)).await;
        let answer = asked.unwrap_or(Err(Failure::Slow(patience)));
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let authority = self.destination.authority();
        let uri = match self.protocol {
            Protocol::Http1 => path.to_owned(),
            Protocol::Http2 => format!("{}://{authority}{path}", self.destination.scheme()),
        };
        let request = Request::builder().method(method).uri(uri).body(Full::new(body));
        let mut request = request.map_err(|error| Failure::Broken(error.into()))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        if self.protocol == Protocol::Http1 {
            let host = HeaderValue::try_from(authority).map_err(|error| Failure::Broken(error.into()))?;
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let response = self.ready().await?.send(request).await;
        let (parts, body) = response.map_err(|error| Failure::Broken(error.into()))?.into_parts();
        let body = Limited::new(body, self.longest).collect().await.map_err(Failure::Broken)?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, trailers, body: body.to_bytes() })
    }

    /// The connection, a new one where there is none that takes requests.
    async fn ready(&mut self) -> Result<&mut Sender, Failure> {
        if let Some(open) = &mut self.open
            && !open.is_ready().await
        {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        Ok(self.open.insert(open))
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = TokioIo::new(self.destination.connect().await.map_err(Failure::Connect)?);
        let broken = |error: hyper::Error| Failure::Broken(error.into());
        // What becomes of the connection shows at the next request.
        match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(broken)?;
                drop(tokio::spawn(connection));
                Ok(Sender::Http1(sender))
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), stream).await.map_err(broken)?;
                drop(tokio::spawn(connection));
                Ok(Sender::Http2(sender))
            }
        }
    }
}
