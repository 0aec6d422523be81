//! Owns: what can be compared of two recordings, by name.
//! Must not know: conditions, how a comparison is shown.

use crate::engine::Percentiles;
use crate::model::event::Reason;
use crate::model::figures::{bytes, grouped, lasted, percent, rate, short_time};
use crate::present::report::Report;

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces.
    Count,
    /// Pieces a second, over the whole recording.
    Rate,
    /// Between 0 and 1.
    Share,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// A number of a recording.
#[derive(Debug)]
pub struct Metric {
    /// As it is written in a condition.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    of: fn(&Report) -> Option<f64>,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Metric {
    /// Its value; `None` where nothing is known of it, as the age of no connection.
    pub fn of(&self, report: &Report) -> Option<f64> {
        (self.of)(report)
    }

    /// A value in words.
    pub fn said(&self, value: f64) -> String {
        match self.unit {
            Unit::Count => grouped(value.round() as u64),
            Unit::Rate => format!("{}/s", rate(value)),
            Unit::Share => percent(value),
            Unit::Milliseconds => short_time((value * 1000.0) as u64),
            Unit::Bytes => bytes(value as u64).replace(' ', ""),
            Unit::Seconds => lasted(value),
        }
    }

    /// The metric of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }
}

const fn metric(name: &'static str, unit: Unit, of: fn(&Report) -> Option<f64>) -> Metric {
    Metric { name, unit, of }
}

fn a_second(report: &Report, events: u64) -> Option<f64> {
    Some(report.per_second(events))
}

fn ended(report: &Report, reason: Reason) -> Option<f64> {
    a_second(report, report.total.counts.ended_for(reason))
}

fn age(report: &Report, pick: fn(Percentiles) -> u64) -> Option<f64> {
    report.total.age_us.map(|all| pick(all) as f64 / 1000.0)
}

fn lifetime(report: &Report, pick: fn(Percentiles) -> u64) -> Option<f64> {
    report.total.lifetime_ms.map(|all| pick(all) as f64)
}

/// Of those that are known. Without any there are either no pools, or nobody knows how many ports they have.
fn pressure(report: &Report) -> Option<f64> {
    let of_none = (!report.has_unmeasured_pools).then_some(0.0);
    report.fullest.map(|peak| peak.pressure()).or(of_none)
}

/// Every metric, in the order in which they are shown.
pub const METRICS: &[Metric] = &[
    metric("duration", Unit::Seconds, |report| Some(report.duration_s())),
    metric("created", Unit::Count, |report| Some(report.total.counts.created as f64)),
    metric("created/s", Unit::Rate, |report| a_second(report, report.total.counts.created)),
    metric("peak_created/s", Unit::Rate, |report| Some(report.busiest.value as f64)),
    metric("ended/s", Unit::Rate, |report| a_second(report, report.total.counts.ended())),
    metric("expired/s", Unit::Rate, |report| ended(report, Reason::Expired)),
    metric("reused_outgoing/s", Unit::Rate, |report| ended(report, Reason::ReusedOutgoing)),
    metric("reused_incoming/s", Unit::Rate, |report| ended(report, Reason::ReusedIncoming)),
    metric("reset/s", Unit::Rate, |report| ended(report, Reason::Reset)),
    metric("live", Unit::Count, |report| Some(report.total.live as f64)),
    metric("peak_live", Unit::Count, |report| Some(report.peak_live.value as f64)),
    metric("pressure", Unit::Share, pressure),
    metric("failed", Unit::Count, |report| Some(report.total.failed() as f64)),
    metric("failed/s", Unit::Rate, |report| a_second(report, report.total.failed())),
    metric("overflow", Unit::Count, |report| Some(report.total.counts.overflow as f64)),
    metric("connect_failed", Unit::Count, |report| Some(report.total.counts.connect_failed as f64)),
    metric("bind_failed", Unit::Count, |report| Some(report.total.counts.bind_failed as f64)),
    metric("aborted", Unit::Count, |report| Some(report.total.counts.aborted as f64)),
    metric("aborted/s", Unit::Rate, |report| a_second(report, report.total.counts.aborted)),
    metric("syn_refused", Unit::Count, |report| Some(report.total.counts.syn_refused as f64)),
    metric("lost", Unit::Count, |report| Some(report.lost.events() as f64)),
    metric("age_p50", Unit::Milliseconds, |report| age(report, |all| all.p50)),
    metric("age_p90", Unit::Milliseconds, |report| age(report, |all| all.p90)),
    metric("age_p99", Unit::Milliseconds, |report| age(report, |all| all.p99)),
    metric("lifetime_p50", Unit::Milliseconds, |report| lifetime(report, |all| all.p50)),
    metric("lifetime_p99", Unit::Milliseconds, |report| lifetime(report, |all| all.p99)),
    metric("sent_p50", Unit::Bytes, |report| report.total.sent.map(|all| all.p50 as f64)),
    metric("received_p50", Unit::Bytes, |report| report.total.received.map(|all| all.p50 as f64)),
];
