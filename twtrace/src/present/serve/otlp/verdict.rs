//! Owns: what an endpoint's answers mean: whether it took a message and how much of it, or may take it later, or never.
//! Must not know: how it is asked.

use std::time::Duration;

use hyper::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;

use super::queue::{Outcome, Signal};
use crate::host::wire::Refusal;
use crate::model::escape::printable;

/// Longest word of an endpoint that is shown, in characters.
const LONGEST_WORD: usize = 200;

/// gRPC's RESOURCE_EXHAUSTED.
const EXHAUSTED: u32 = 8;

/// How an attempt came out, and words for people, where there are any.
pub(super) type SendResult = (Outcome, Option<String>);

/// As the protocol's "Retryable Response Codes" has it.
pub(super) fn of_status(status: StatusCode, after: Option<Duration>) -> Outcome {
    match status.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Later(after),
        _ => Outcome::Never,
    }
}

/// As the protocol's "OTLP/gRPC Response" has it. `taken` says what the answer of one that took it means.
pub(super) fn of_call<R>(done: Result<R, Refusal>, taken: impl FnOnce(&R) -> SendResult) -> SendResult {
    let refusal = match done {
        Ok(answer) => return taken(&answer),
        Err(refusal) => refusal,
    };
    let outcome = match &refusal {
        Refusal::Failed(_) => Outcome::Later(None),
        // It may as well be a message that is too large for good: only who says when has room again.
        Refusal::Status { code: EXHAUSTED, retry_after: None, .. } => Outcome::Never,
        // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        Refusal::Status { code: 1 | 4 | EXHAUSTED | 10 | 11 | 14 | 15, retry_after, .. } => {
            Outcome::Later(*retry_after)
        }
        Refusal::Status { .. } => Outcome::Never,
        // A proxy answers for an endpoint that is not there.
        Refusal::Nonsense(_) => Outcome::Later(None),
    };
    (outcome, shown(&refusal.to_string()))
}

/// What the answer to data points means.
pub(super) fn of_points(answer: &ExportMetricsServiceResponse) -> SendResult {
    let partial = answer.partial_success.as_ref();
    partial.map_or((Outcome::Taken(0), None), |of| in_part(of.rejected_data_points, &of.error_message))
}

/// What the answer to log records means.
pub(super) fn of_records(answer: &ExportLogsServiceResponse) -> SendResult {
    let partial = answer.partial_success.as_ref();
    partial.map_or((Outcome::Taken(0), None), |of| in_part(of.rejected_log_records, &of.error_message))
}

/// What the body of an answer means that says that all is well. One that we do not understand rejects nothing.
pub(super) fn of_body(signal: Signal, body: &[u8]) -> SendResult {
    match signal {
        Signal::Metrics => of_points(&ExportMetricsServiceResponse::decode(body).unwrap_or_default()),
        Signal::Logs => of_records(&ExportLogsServiceResponse::decode(body).unwrap_or_default()),
    }
}

/// Words without anything rejected are advice.
fn in_part(rejected: i64, words: &str) -> SendResult {
    (Outcome::Taken(u64::try_from(rejected).unwrap_or(0)), shown(words))
}

/// A stranger's words.
fn shown(words: &str) -> Option<String> {
    let words: String = printable(words).chars().take(LONGEST_WORD).collect();
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let after = Some(Duration::from_secs(17));
        let of = |code, retry_after| {
            let refusal = Refusal::Status { code, message: "full".to_owned(), retry_after };
            of_call(Err::<(), _>(refusal), |()| unreachable!())
        };
        for code in 1..=16 {
            let (outcome, words) = of(code, None);
            assert_eq!(outcome == Outcome::Later(None), [1, 4, 10, 11, 14, 15].contains(&code), "{code}");
            assert_eq!(words, Some(format!("gRPC status {code}: full")));
            let (outcome, _) = of(code, after);
            assert_eq!(outcome == Outcome::Later(after), [1, 4, 8, 10, 11, 14, 15].contains(&code), "{code}");
        }
        for status in [400, 401, 404, 413, 429, 500, 502, 503, 504] {
            let outcome = of_status(StatusCode::from_u16(status).unwrap(), after);
            assert_eq!(outcome == Outcome::Later(after), [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn what_was_taken_in_part_is_counted_and_why_is_said() {
        let points = |rejected_data_points, error_message: &str| {
            let error_message = error_message.to_owned();
            let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
            of_body(
                Signal::Metrics,
                &ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec(),
            )
        };
        assert_eq!(points(17, "too\nold"), (Outcome::Taken(17), Some("too\\x0aold".to_owned())));
        assert_eq!(points(0, "deprecated"), (Outcome::Taken(0), Some("deprecated".to_owned())));
        assert_eq!(points(-1, ""), (Outcome::Taken(0), None));
        let (_, long) = points(1, &"\u{1b}".repeat(5000));
        assert_eq!(long.map(|words| words.chars().count()), Some(LONGEST_WORD));
        let partial = ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "no".to_owned() };
        let records = ExportLogsServiceResponse { partial_success: Some(partial) };
        assert_eq!(
            of_body(Signal::Logs, &records.encode_to_vec()),
            (Outcome::Taken(3), Some("no".to_owned()))
        );
        for body in [&b""[..], b"\xff", b"<html>"] {
            assert_eq!(of_body(Signal::Logs, body), (Outcome::Taken(0), None), "{body:?}");
        }
    }
}
