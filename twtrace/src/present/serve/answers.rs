//! Owns: what is answered to each request.
//! Must not know: connections, the trace.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::access::Peer;
use super::board::NoPicture;
use super::exposition;
use super::families::families;
use super::negotiation::{format, takes_gzip};
use super::shared::Shared;
use crate::diagnose;
use crate::host::usage::Usage;

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What is shorter than this is not worth compressing, in bytes.
const SHORT: usize = 1024;

const INDEX: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>twtrace</title></head><body>
<h1>twtrace</h1>
<p>For each TIME_WAIT socket on this machine: who made it, towards whom, and why it ended.</p>
<ul>
<li><a href=\"/metrics\">/metrics</a>: for Prometheus, as text or OpenMetrics</li>
<li><a href=\"/findings\">/findings</a>: what the doctor says of the last ten seconds, as JSON</li>
<li><a href=\"/readyz\">/readyz</a>: whether everything is attached and goes on</li>
<li><a href=\"/healthz\">/healthz</a>: whether this process goes on</li>
</ul>
</body></html>
";

/// An answer that is not compressed yet.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    fn text(status: StatusCode, words: impl std::fmt::Display) -> Self {
        Self::new(status, TEXT, format!("{words}\n"))
    }
}

impl From<NoPicture> for Answer {
    fn from(why: NoPicture) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

/// Answers a request; its body is not looked at.
pub(super) async fn answer<B>(request: &Request<B>, peer: Peer, shared: &Shared) -> Response<Full<Bytes>> {
    let answer = match *request.method() {
        Method::GET | Method::HEAD => of_path(request.uri().path(), request.headers(), peer, shared).await,
        _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered"),
    };
    shared.counters.answered(answer.status);
    let takes_gzip = takes_gzip(text_of(request.headers(), header::ACCEPT_ENCODING));
    response(answer, takes_gzip)
}

async fn of_path(path: &str, headers: &HeaderMap, peer: Peer, shared: &Shared) -> Answer {
    let is_probe = matches!(path, "/healthz" | "/readyz");
    if !is_probe && peer == Peer::Uncertified {
        return Answer::text(
            StatusCode::FORBIDDEN,
            "a certificate by one of those of --tls-client-ca is wanted",
        );
    }
    let token = text_of(headers, header::AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
    if !is_probe && !shared.token.as_ref().is_none_or(|known| known.is(token)) {
        return Answer::text(
            StatusCode::UNAUTHORIZED,
            "the token of --token-file is wanted: Authorization: Bearer TOKEN",
        );
    }
    match path {
        "/metrics" => metrics(headers, shared).await,
        "/findings" => findings(shared).await,
        "/healthz" if shared.board.is_stuck() => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the trace does not go on")
        }
        "/healthz" => Answer::text(StatusCode::OK, "ok"),
        "/readyz" => match shared.board.picture().await {
            Ok(_) => Answer::text(StatusCode::OK, "ready"),
            Err(why) => why.into(),
        },
        "/" => Answer::new(StatusCode::OK, HTML, INDEX),
        _ => Answer::text(StatusCode::NOT_FOUND, "there is /metrics, /findings, /readyz, /healthz and /"),
    }
}

async fn metrics(headers: &HeaderMap, shared: &Shared) -> Answer {
    let picture = match shared.board.picture().await {
        Ok(picture) => picture,
        Err(why) => return why.into(),
    };
    let format = format(text_of(headers, header::ACCEPT));
    let usage = Usage::read(shared.started_s());
    let families = families(&picture, &usage, &shared.served(), shared.top);
    Answer::new(StatusCode::OK, format.content_type(), exposition::text(&families, format))
}

async fn findings(shared: &Shared) -> Answer {
    match shared.board.picture().await {
        Ok(picture) => {
            let mut body = Vec::new();
            let (facts, findings) = picture.diagnosis();
            diagnose::json::line(facts, findings, &mut body);
            Answer::new(StatusCode::OK, JSON, body)
        }
        Err(why) => why.into(),
    }
}

fn response(answer: Answer, takes_gzip: bool) -> Response<Full<Bytes>> {
    let Answer { status, content_type, body } = answer;
    let packed = (takes_gzip && body.len() >= SHORT).then(|| packed(&body)).flatten();
    let is_packed = packed.is_some();
    let mut response = Response::new(Full::new(Bytes::from(packed.unwrap_or(body))));
    *response.status_mut() = status;
    let mut put =
        |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_TYPE, content_type);
    put(header::CACHE_CONTROL, "no-store");
    put(header::VARY, "accept, accept-encoding");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_packed {
        put(header::CONTENT_ENCODING, "gzip");
    }
    match status {
        StatusCode::METHOD_NOT_ALLOWED => drop(put(header::ALLOW, "GET, HEAD")),
        StatusCode::UNAUTHORIZED => drop(put(header::WWW_AUTHENTICATE, "Bearer")),
        _ => {}
    }
    response
}

fn packed(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// A header as text; empty where there is none, or where it is none.
fn text_of(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
