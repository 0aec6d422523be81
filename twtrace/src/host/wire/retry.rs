//! Owns: after how long a server wants to be asked again, as the details of a status of gRPC say it (`google.rpc.RetryInfo`).
//! Must not know: what was asked, whether it is asked again.
//!
//! Of the messages only those fields stand here that are read; their numbers are those of `google/rpc/status.proto`, of
//! `google/rpc/error_details.proto` and of Protobuf's own types.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD_INDIFFERENT as BASE64;
use prost::Message;

/// Longest text that is read, in bytes: what servers send has some hundred.
const LONGEST: usize = 8 << 10;
/// How the type of what counts ends; before it stands who defines it.
const RETRY_INFO: &str = "/google.rpc.RetryInfo";
/// A duration has fewer nanoseconds beside its seconds.
const SECOND_NS: u32 = 1_000_000_000;

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What the header `grpc-status-details-bin` says; `None` where it does not say that asking again helps. Any text is accepted.
pub(super) fn after(details: &str) -> Option<Duration> {
    if details.len() > LONGEST {
        return None;
    }
    let status = Status::decode(BASE64.decode(details).ok()?.as_slice()).ok()?;
    let info = status.details.into_iter().find(|detail| detail.type_url.ends_with(RETRY_INFO))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    // A time that is not, or is before now, leaves it to us.
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(SECOND_NS - 1);
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(types: &[&str], delay: Option<(i64, i32)>) -> String {
        let retry_delay = delay.map(|(seconds, nanos)| Delay { seconds, nanos });
        let value = RetryInfo { retry_delay }.encode_to_vec();
        let any = |url: &&str| Any { type_url: (*url).to_owned(), value: value.clone() };
        BASE64.encode(Status { details: types.iter().map(any).collect() }.encode_to_vec())
    }

    #[test]
    fn a_time_is_found_among_the_details() {
        // Byte by byte from the definitions: code 8, "slow down", a RetryInfo of 17 s and 250 ms.
        let whole =
            "CAgSCXNsb3cgZG93bho1Cih0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuUmV0cnlJbmZvEgkKBwgREIDlmnc=";
        assert_eq!(after(whole), Some(Duration::from_millis(17_250)));
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        for (told, want) in [
            (Some((17, 250_000_000)), Duration::from_millis(17_250)),
            (None, Duration::ZERO),
            (Some((0, 0)), Duration::ZERO),
            (Some((-5, -5)), Duration::ZERO),
            (Some((i64::MAX, i32::MAX)), Duration::new(i64::MAX as u64, SECOND_NS - 1)),
        ] {
            assert_eq!(after(&details(&["x/google.rpc.DebugInfo", kind], told)), Some(want), "{told:?}");
        }
        // Padded or not, both are allowed.
        let bare = details(&[kind], Some((7, 0)));
        let padded = format!("{bare}{}", "=".repeat((4 - bare.len() % 4) % 4));
        assert_eq!(
            (after(&bare), after(&padded)),
            (Some(Duration::from_secs(7)), Some(Duration::from_secs(7)))
        );
    }

    #[test]
    fn whatever_else_comes_says_nothing() {
        let other = details(&["x/google.rpc.DebugInfo", "google.rpc.RetryInfoX"], Some((7, 0)));
        let long = details(&vec!["x/google.rpc.RetryInfo"; LONGEST], Some((7, 0)));
        for text in ["", "!", "CAg", "////", "GgP///8", "\u{e9}", "GjUKAf8SAA", &other, &long] {
            assert_eq!(after(text), None, "{}", text.get(..20).unwrap_or(text));
        }
    }
}
