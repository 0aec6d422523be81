//! Owns: a comparison as one JSON object on a line.
//! Must not know: where it goes, how it was made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::{Change, Comparison, ConditionResult, Pair, Presence, Setting};
use crate::output::object_line;
use crate::present::report::model::{Name, Report};
use crate::present::report::view;

#[derive(Serialize)]
struct Whole<'a> {
    old: Origin<'a>,
    new: Origin<'a>,
    /// By metric.
    totals: BTreeMap<&'static str, Values>,
    /// By the owner's name.
    processes: Vec<DiffRow>,
    tuples: Vec<DiffRow>,
    settings: &'a [Setting],
    /// What keeps a better number from being good news.
    cautions: Vec<String>,
    /// Conditions of --fail-if that hold, or of which nobody can tell.
    failed: Vec<&'a ConditionResult>,
}

#[derive(Serialize)]
struct Origin<'a> {
    file: &'a str,
    complete: bool,
    duration_s: f64,
    lost: u64,
}

/// What grew from nothing has no ratio.
#[derive(Serialize)]
struct Values {
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<f64>,
    /// 0.1 is ten percent more.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<f64>,
}

#[derive(Serialize)]
struct DiffRow {
    /// Whose it is, where one of the two has several machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(flatten)]
    name: NameKeys,
    presence: Presence,
    created_per_s: Values,
    ended_per_s: Values,
    failed_per_s: Values,
    pressure: Values,
}

#[derive(Serialize)]
#[serde(untagged)]
enum NameKeys {
    Comm { comm: String },
    Tuple { saddr: IpAddr, daddr: IpAddr, dport: u16 },
    Other { name: String },
}

/// Appends the comparison, with what came of conditions, and a newline to `out`.
pub fn line(comparison: &Comparison<'_>, verdicts: &[ConditionResult], out: &mut Vec<u8>) {
    let whole = Whole {
        old: comparison.old.into(),
        new: comparison.new.into(),
        totals: comparison.totals.iter().map(|(metric, pair)| (metric.name, (*pair).into())).collect(),
        processes: comparison.processes.iter().map(Into::into).collect(),
        tuples: comparison.tuples.iter().map(Into::into).collect(),
        settings: &comparison.settings,
        cautions: comparison.cautions(),
        failed: verdicts.iter().filter(|verdict| verdict.fails).collect(),
    };
    object_line(&whole, out);
}

impl<'a> From<&'a Report> for Origin<'a> {
    fn from(report: &'a Report) -> Self {
        Self {
            file: &report.file,
            complete: report.missing.is_none() && report.damaged.is_none(),
            duration_s: report.duration_s(),
            lost: report.lost.events(),
        }
    }
}

impl From<Pair> for Values {
    fn from(pair: Pair) -> Self {
        let growth = pair.growth().filter(|growth| growth.is_finite());
        Self { old: pair.old, new: pair.new, change: pair.change(), growth }
    }
}

impl From<&Change> for DiffRow {
    fn from(change: &Change) -> Self {
        Self {
            host: change.host.clone(),
            name: match &change.name {
                Name::Comm(comm) => NameKeys::Comm { comm: comm.clone() },
                Name::Tuple(key) => NameKeys::Tuple { saddr: key.saddr, daddr: key.daddr, dport: key.dport },
                other => NameKeys::Other { name: view::name(other) },
            },
            presence: change.presence,
            created_per_s: change.created_rate.into(),
            ended_per_s: change.ended_rate.into(),
            failed_per_s: change.failed_rate.into(),
            pressure: change.pressure.into(),
        }
    }
}
