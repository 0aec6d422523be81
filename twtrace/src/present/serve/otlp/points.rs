//! Owns: metrics as OpenTelemetry's message: data points with the time at which each series began.
//! Must not know: what is measured, how it is sent.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::super::metrics::{Family, Kind, Sample, Value};
use super::attributes::{SCHEMA_URL, scope};
use super::names;
use crate::model::clock::Clock;

/// When series began: one that went and comes again counts anew, from another beginning.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// By metric and labels.
    known: HashMap<u64, Beginning>,
    hasher: RandomState,
    round: u64,
    /// When the round before was, CLOCK_BOOTTIME in nanoseconds: the calendar may be set at any time.
    last_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// CLOCK_BOOTTIME in nanoseconds.
    start_ns: u64,
    round: u64,
}

impl Beginnings {
    /// A series that comes began after the round before: what it counts since then is its own.
    fn of(&mut self, family: &Family, sample: &Sample, now_ns: u64) -> u64 {
        let key = self.hasher.hash_one((family.name, &sample.labels));
        let start_ns = if self.last_ns == 0 { now_ns } else { self.last_ns };
        let round = self.round;
        let beginning = self.known.entry(key).or_insert(Beginning { start_ns, round });
        beginning.round = round;
        beginning.start_ns
    }

    fn end_round(&mut self, now_ns: u64) {
        let round = self.round;
        self.known.retain(|_, beginning| beginning.round == round);
        self.round += 1;
        self.last_ns = now_ns;
    }
}

/// When a trace that has counted from `began_ns` on, CLOCK_BOOTTIME, tells for the first time.
pub(super) fn beginnings(began_ns: u64) -> Beginnings {
    Beginnings { last_ns: began_ns, ..Beginnings::default() }
}

/// A time in nanoseconds since 1970; 0, which stands for none, where that is before.
pub(super) fn calendar_ns(clock: Clock, boot_ns: u64) -> u64 {
    u64::try_from(clock.wall_ns(boot_ns)).unwrap_or(0)
}

/// The message, and how many data points are in it. `now_ns` is CLOCK_BOOTTIME, which the clock ties to the calendar.
pub(super) fn message(
    families: &[Family],
    resource: &Resource,
    beginnings: &mut Beginnings,
    (clock, now_ns): (Clock, u64),
) -> (ExportMetricsServiceRequest, u64) {
    let mut metrics = Vec::with_capacity(families.len());
    let mut count = 0;
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let Some(named) = names::metric(family) else { continue };
        count += family.samples.len() as u64;
        let points = family.samples.iter().map(|sample| {
            let start_ns = beginnings.of(family, sample, now_ns);
            point(sample, calendar_ns(clock, start_ns), calendar_ns(clock, now_ns))
        });
        let data = data(family.kind, named.is_sum, points.collect());
        metrics.push(Metric {
            name: named.name,
            description: family.help.to_owned(),
            unit: named.unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }
    beginnings.end_round(now_ns);
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let of_resource = ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics,
        schema_url: SCHEMA_URL.to_owned(),
    };
    (ExportMetricsServiceRequest { resource_metrics: vec![of_resource] }, count)
}

fn point(sample: &Sample, start_ns: u64, now_ns: u64) -> NumberDataPoint {
    let value = match sample.value {
        Value::Count(count) => Number::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        Value::Real(value) => Number::AsDouble(value),
    };
    NumberDataPoint {
        attributes: names::attributes(&sample.labels),
        start_time_unix_nano: start_ns,
        time_unix_nano: now_ns,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn data(kind: Kind, is_sum: bool, data_points: Vec<NumberDataPoint>) -> Data {
    let is_monotonic = kind == Kind::Counter;
    if is_monotonic || is_sum {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        return Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic });
    }
    Data::Gauge(Gauge { data_points })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(programs: &[(&str, u64)]) -> Family {
        let mut family = Family::counter("twtrace_owner_sockets_created", "Made.");
        programs.iter().for_each(|(program, count)| family.put(&[("program", program)], *count));
        family
    }

    fn starts(message: &ExportMetricsServiceRequest) -> Vec<u64> {
        let Some(Data::Sum(sum)) = &message.resource_metrics[0].scope_metrics[0].metrics[0].data else {
            panic!()
        };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        sum.data_points.iter().map(|point| point.start_time_unix_nano).collect()
    }

    #[test]
    fn a_series_that_went_begins_anew() {
        let mut known = beginnings(100);
        let clock = std::cell::Cell::new(Clock { mono_ns: 0, wall_ns: 1000 });
        let mut tell = |programs: &[(&str, u64)], now_ns| {
            let now = (clock.get(), now_ns);
            let (message, count) = message(&[family(programs)], &Resource::default(), &mut known, now);
            assert_eq!(count, programs.len() as u64);
            starts(&message)
        };
        assert_eq!(tell(&[("a", 17), ("b", 3)], 110), [1100, 1100]);
        assert_eq!(tell(&[("a", 19)], 120), [1100]);
        assert_eq!(tell(&[("a", 19), ("b", 5)], 130), [1100, 1120]);
        assert_eq!(tell(&[("a", 19), ("b", 5)], 140), [1100, 1120]);
        // Once the calendar is set, they began by what it says now: never after the time of the point.
        clock.set(Clock { mono_ns: 0, wall_ns: 5 });
        assert_eq!(tell(&[("a", 19), ("b", 5)], 150), [105, 125]);
    }
}
