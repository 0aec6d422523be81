//! Owns: a unary call of gRPC over HTTP/2: a message framed, an answer unframed, and the status that came with it.
//! Must not know: services and messages.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use hyper::{Method, StatusCode};
use prost::Message;

use super::channel::{Answer, Channel, Failure};
use super::retry;

/// A byte that says whether the message is compressed, and its length (gRPC over HTTP/2, Length-Prefixed-Message).
const PREFIX: usize = 5;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There was no answer.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The server's answer is no.
    #[error("gRPC status {code}: {message}")]
    Status {
        /// gRPC's status code.
        code: u32,
        /// The server's words, which are a stranger's.
        message: String,
        /// That it wants to be asked again, after so long.
        retry_after: Option<Duration>,
    },
    /// What came is no gRPC.
    #[error("the answer is no gRPC: {0}")]
    Nonsense(String),
}

/// A call.
#[derive(Debug)]
pub struct Call<'a> {
    /// `/package.Service/Method`.
    pub path: &'a str,
    /// More headers.
    pub headers: HeaderMap,
    /// The message, encoded.
    pub message: &'a [u8],
}

impl Call<'_> {
    /// Makes the call.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn make<R: Message + Default>(self, channel: &mut Channel) -> Result<R, Refusal> {
        let mut headers = self.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let timeout = HeaderValue::try_from(format!("{}m", channel.patience().as_millis()));
        if let Ok(timeout) = timeout {
            headers.insert(HeaderName::from_static("grpc-timeout"), timeout);
        }
        let answer = channel.ask(Method::POST, self.path, headers, framed(self.message)).await?;
        read(&answer)
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX + message.len());
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.extend_from_slice(message);
    out.freeze()
}

fn read<R: Message + Default>(answer: &Answer) -> Result<R, Refusal> {
    let nonsense = |why: String| Refusal::Nonsense(why);
    // Where nothing but a status comes, it is among the headers (Trailers-Only).
    let text = |name: &str| {
        let value = answer.trailers.get(name).or_else(|| answer.headers.get(name));
        value.and_then(|value| value.to_str().ok())
    };
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        return Err(match answer.status {
            StatusCode::OK => nonsense("it has no status".to_owned()),
            status => nonsense(format!("HTTP status {status}")),
        });
    };
    if code != 0 {
        let message = text("grpc-message").unwrap_or_default().to_owned();
        let retry_after = text("grpc-status-details-bin").and_then(retry::after);
        return Err(Refusal::Status { code, message, retry_after });
    }
    let body = &answer.body;
    let message = match (body.first(), body.get(1..PREFIX).and_then(|length| length.try_into().ok())) {
        (Some(0), Some(length)) => {
            body.get(PREFIX..).filter(|rest| rest.len() == u32::from_be_bytes(length) as usize)
        }
        (Some(_), Some(_)) => return Err(nonsense("it is compressed".to_owned())),
        _ => None,
    };
    let message = message.ok_or_else(|| nonsense("its length is not what it says".to_owned()))?;
    R::decode(message).map_err(|error| nonsense(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(trailers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let pairs = trailers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            trailers: pairs.collect(),
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn a_message_goes_into_a_frame_and_comes_out_of_one() {
        let text = "seventeen".to_owned();
        let body = framed(&text.encode_to_vec());
        assert_eq!(read::<String>(&answer(&[("grpc-status", "0")], &body)).unwrap(), text);
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let status = read::<String>(&answer(&[("grpc-status", "14"), ("grpc-message", "full")], b""));
        assert_eq!(status.unwrap_err().to_string(), "gRPC status 14: full");
        // A RetryInfo of 7 s.
        let details = "CAgaKgoieC5leGFtcGxlLm5ldC9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIBw";
        for (details, want) in [(details, Some(Duration::from_secs(7))), ("CAg", None)] {
            let told = answer(&[("grpc-status", "8"), ("grpc-status-details-bin", details)], b"");
            let Err(Refusal::Status { code: 8, retry_after, .. }) = read::<String>(&told) else { panic!() };
            assert_eq!(retry_after, want, "{details}");
        }
        for (trailers, body) in [
            (&[][..], &b"\0\0\0\0\0"[..]),
            (&[("grpc-status", "0")], b""),
            (&[("grpc-status", "0")], b"\0\0\0\0"),
            (&[("grpc-status", "0")], b"\0\0\0\0\x01"),
            (&[("grpc-status", "0")], b"\0\0\0\0\0x"),
            (&[("grpc-status", "0")], b"\x01\0\0\0\0"),
            (&[("grpc-status", "0")], b"\0\0\0\0\x01\xff"),
            (&[("grpc-status", "none")], b"\0\0\0\0\0"),
        ] {
            let said = read::<String>(&answer(trailers, body)).unwrap_err();
            assert!(matches!(said, Refusal::Nonsense(_)), "{trailers:?} {body:?}: {said}");
        }
    }
}
