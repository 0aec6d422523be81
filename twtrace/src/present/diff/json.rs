//! Owns: a comparison as one JSON object on a line.
//! Must not know: where it goes, how it was made.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Change, Comparison, Pair, Presence, Setting, Verdict};
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
    processes: Vec<Row>,
    tuples: Vec<Row>,
    settings: Vec<Differs<'a>>,
    /// What keeps a better number from being good news.
    cautions: Vec<String>,
    /// Conditions of --fail-if that hold, or of which nobody can tell.
    failed: Vec<Failed<'a>>,
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
struct Row {
    /// Whose it is, where one of the two has several machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(flatten)]
    name: Key,
    presence: &'static str,
    created_per_s: Values,
    ended_per_s: Values,
    failed_per_s: Values,
    pressure: Values,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Key {
    Comm { comm: String },
    Tuple { saddr: String, daddr: String, dport: u16 },
    Other { name: String },
}

#[derive(Serialize)]
struct Differs<'a> {
    name: &'static str,
    old: &'a str,
    new: &'a str,
    old_netns: u32,
    new_netns: u32,
}

#[derive(Serialize)]
struct Failed<'a> {
    condition: &'a str,
    why: &'a str,
}

/// Appends the comparison, with what came of conditions, and a newline to `out`.
pub fn line(comparison: &Comparison<'_>, verdicts: &[Verdict], out: &mut Vec<u8>) {
    let whole = Whole {
        old: comparison.old.into(),
        new: comparison.new.into(),
        totals: comparison.totals.iter().map(|(metric, pair)| (metric.name, (*pair).into())).collect(),
        processes: comparison.processes.iter().map(Into::into).collect(),
        tuples: comparison.tuples.iter().map(Into::into).collect(),
        settings: comparison.settings.iter().map(Into::into).collect(),
        cautions: comparison.cautions(),
        failed: verdicts
            .iter()
            .filter(|verdict| verdict.fails)
            .map(|verdict| Failed { condition: &verdict.condition, why: &verdict.why })
            .collect(),
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

impl From<&Change> for Row {
    fn from(change: &Change) -> Self {
        Self {
            host: change.host.clone(),
            name: match &change.name {
                Name::Comm(comm) => Key::Comm { comm: comm.clone() },
                Name::Tuple(key) => {
                    let (saddr, daddr) = (key.saddr.to_string(), key.daddr.to_string());
                    Key::Tuple { saddr, daddr, dport: key.dport }
                }
                other => Key::Other { name: view::name(other) },
            },
            presence: match change.presence {
                Presence::Both => "both",
                Presence::Appeared => "appeared",
                Presence::Gone => "gone",
            },
            created_per_s: change.created_rate.into(),
            ended_per_s: change.ended_rate.into(),
            failed_per_s: change.failed_rate.into(),
            pressure: change.pressure.into(),
        }
    }
}

impl<'a> From<&'a Setting> for Differs<'a> {
    fn from(setting: &'a Setting) -> Self {
        let (old_netns, new_netns) = setting.netns;
        Self { name: setting.name, old: &setting.old, new: &setting.new, old_netns, new_netns }
    }
}
