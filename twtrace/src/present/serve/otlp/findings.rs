//! Owns: findings as log records: one when a finding comes, and one when it becomes better or worse.
//! Must not know: how they are sent.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::attributes::{SCHEMA_URL, any, number, scope, text};
use crate::diagnose::finding::{Finding, Severity};
use crate::model::escape::{printable, process_name};

/// Findings that are told of one picture, the worst first.
const MOST: usize = 100;
/// Longest text, in characters.
const LONGEST: usize = 1024;
const EVENT: &str = "twtrace.finding";

/// Which finding it is: its id and what it is about.
type FindingKey = (&'static str, String);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct SentFindings(HashMap<FindingKey, Severity>);

impl SentFindings {
    /// Those that are new, or of another severity than before. What is fine is no finding.
    fn news<'a>(&mut self, findings: &'a [Finding]) -> Vec<&'a Finding> {
        let at_stake = findings.iter().filter(|finding| finding.severity != Severity::Fine);
        let now: Vec<(FindingKey, &Finding)> =
            at_stake.take(MOST).map(|finding| (key(finding), finding)).collect();
        let is_new = |(key, finding): &&(FindingKey, &Finding)| self.0.get(key) != Some(&finding.severity);
        let news = now.iter().filter(is_new).map(|(_, finding)| *finding).collect();
        self.0 = now.into_iter().map(|(key, finding)| (key, finding.severity)).collect();
        news
    }
}

fn key(finding: &Finding) -> FindingKey {
    (finding.id, format!("{:?} {:?}", finding.subject, finding.who.first().map(|share| &share.process.comm)))
}

/// The message of what is new, and how many there are; `None` where nothing is. `now_ns` is in nanoseconds since 1970.
pub(super) fn message(
    findings: &[Finding],
    told: &mut SentFindings,
    resource: &Resource,
    now_ns: u64,
) -> Option<(ExportLogsServiceRequest, u64)> {
    let news = told.news(findings);
    if news.is_empty() {
        return None;
    }
    let log_records: Vec<LogRecord> = news.into_iter().map(|finding| record(finding, now_ns)).collect();
    let count = log_records.len() as u64;
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    let of_resource =
        ResourceLogs { resource: Some(resource.clone()), scope_logs, schema_url: SCHEMA_URL.to_owned() };
    Some((ExportLogsServiceRequest { resource_logs: vec![of_resource] }, count))
}

fn record(finding: &Finding, now_ns: u64) -> LogRecord {
    let severity = match finding.severity {
        Severity::Critical => SeverityNumber::Error,
        Severity::Warning => SeverityNumber::Warn,
        Severity::Notice | Severity::Fine => SeverityNumber::Info,
    };
    LogRecord {
        time_unix_nano: now_ns,
        observed_time_unix_nano: now_ns,
        severity_number: severity.into(),
        severity_text: finding.severity.word().to_owned(),
        body: Some(any(Value::StringValue(bounded(&finding.what)))),
        attributes: attributes(finding),
        event_name: EVENT.to_owned(),
        ..LogRecord::default()
    }
}

fn attributes(finding: &Finding) -> Vec<KeyValue> {
    let subject = &finding.subject;
    let mut all = vec![
        text("twtrace.finding.id", finding.id),
        text("twtrace.finding.severity", finding.severity.word()),
    ];
    if finding.alike != 0 {
        all.push(number("twtrace.finding.alike", i64::try_from(finding.alike).unwrap_or(i64::MAX)));
    }
    let who = finding.who.first().map(|share| &share.process).filter(|process| process.pid.is_some());
    if let Some(process) = who {
        all.push(text("process.executable.name", process_name(&process.comm).into_owned()));
        all.extend(process.pid.map(|pid| number("process.pid", pid.into())));
    }
    all.extend(subject.netns.map(|netns| text("twtrace.netns", netns.to_string())));
    all.extend(subject.saddr.map(|address| text("source.address", address.to_string())));
    all.extend(subject.sport.map(|port| number("source.port", port.into())));
    all.extend(subject.daddr.map(|address| text("destination.address", address.to_string())));
    all.extend(subject.dport.map(|port| number("destination.port", port.into())));
    all.extend(finding.remedies.first().map(|remedy| text("twtrace.remedy.id", remedy.id)));
    all.extend(finding.remedies.first().map(|remedy| text("twtrace.remedy.title", bounded(&remedy.title))));
    all
}

fn bounded(text: &str) -> String {
    printable(text).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_when_it_comes_and_when_it_changes() {
        let finding = |id, severity| Finding::new(id, severity, format!("{id} it is"));
        let mut told = SentFindings::default();
        let mut tell = |findings: &[Finding]| {
            message(findings, &mut told, &Resource::default(), 1).map_or(Vec::new(), |(message, count)| {
                let records = &message.resource_logs[0].scope_logs[0].log_records;
                assert_eq!(records.len() as u64, count);
                records.iter().map(|record| record.severity_number).collect()
            })
        };
        let (full, half) =
            (finding("ports_exhausted", Severity::Critical), finding("half_full", Severity::Notice));
        assert_eq!(tell(&[finding("nothing_wrong", Severity::Fine)]), [0; 0]);
        assert_eq!(tell(&[full.clone(), half.clone()]), [17, 9]);
        assert_eq!(tell(&[full.clone(), half]), [0; 0]);
        assert_eq!(tell(&[finding("ports_exhausted", Severity::Warning)]), [13]);
        assert_eq!(tell(&[]), [0; 0]);
        assert_eq!(tell(&[full]), [17]);
    }
}
