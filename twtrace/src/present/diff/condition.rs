//! Owns: conditions on two recordings: how one is written, and whether it holds.
//! Must not know: what is done where one holds.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::metric::{METRICS, Metric, Unit};
use super::{Comparison, Pair};
use crate::model::escape::printable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Greater => value > limit,
            Self::GreaterOrEqual => value >= limit,
        }
    }
}

/// What a value is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// The new value itself.
    Value(f64),
    /// By how much it grew.
    Change(f64),
    /// By which share of the old value it grew.
    Growth(f64),
}

/// A condition such as `created/s > +10%`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As it was written.
    text: String,
    metric: &'static Metric,
    operator: Operator,
    limit: Limit,
}

/// What came of a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionResult {
    /// The condition, as it was written.
    pub condition: String,
    /// It holds, or nobody can tell.
    #[serde(skip)]
    pub fails: bool,
    /// Whether anybody can tell.
    #[serde(skip)]
    pub is_known: bool,
    /// In words for a user.
    pub why: String,
}

impl fmt::Display for ConditionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = match (self.is_known, self.fails) {
            (true, true) => "holds",
            (true, false) => "does not hold",
            (false, _) => "cannot be told, which counts as if it held",
        };
        write!(f, "'{}' {holds}: {}", printable(&self.condition), self.why)
    }
}

impl Condition {
    /// Whether it holds. What nobody knows counts as if it held: a gate that cannot see stays shut.
    pub fn judge(&self, comparison: &Comparison<'_>) -> ConditionResult {
        let pair = comparison.totals.iter().find(|(metric, _)| *metric == self.metric).map(|(_, pair)| *pair);
        let pair = pair.unwrap_or(Pair { old: None, new: None });
        let (value, limit) = match self.limit {
            Limit::Value(limit) => (pair.new, limit),
            Limit::Change(limit) => (pair.change(), limit),
            Limit::Growth(limit) => (pair.growth(), limit),
        };
        let fails = value.is_none_or(|value| self.operator.holds(value, limit));
        let said = |value: Option<f64>| {
            value.map_or_else(|| "not known".to_owned(), |value| self.metric.said(value))
        };
        let growth = pair.growth().map(|growth| format!(" ({})", grown(growth))).unwrap_or_default();
        let why = format!("{} was {}, is {}{growth}", self.metric.name, said(pair.old), said(pair.new));
        ConditionResult { condition: self.text.clone(), fails, is_known: value.is_some(), why }
    }
}

/// `+10%`, `-3.2%`, `from nothing`.
pub(super) fn grown(growth: f64) -> String {
    match growth {
        0.0 => "the same".to_owned(),
        all if all == f64::INFINITY => "from nothing".to_owned(),
        small if small.abs() < 0.1 => format!("{:+.1}%", small * 100.0),
        large => format!("{:+.0}%", large * 100.0),
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: String| format!("'{}' is no condition such as 'created/s > +10%': {why}", printable(text));
        let at = text.find(['<', '>']).ok_or_else(|| wrong("there is no <, <=, > or >= in it".to_owned()))?;
        let (name, rest) = text.split_at(at);
        let (operator, limit) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Operator::LessOrEqual, &rest[2..]),
            [b'>', b'=', ..] => (Operator::GreaterOrEqual, &rest[2..]),
            [b'<', ..] => (Operator::Less, &rest[1..]),
            _ => (Operator::Greater, &rest[1..]),
        };
        let metric = Metric::named(name.trim()).ok_or_else(|| {
            let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            wrong(format!("'{}' is not one of {}", printable(name.trim()), names.join(", ")))
        })?;
        let limit = limit_of(metric, limit.trim()).map_err(wrong)?;
        Ok(Self { text: text.trim().to_owned(), metric, operator, limit })
    }
}

fn limit_of(metric: &Metric, text: &str) -> Result<Limit, String> {
    let wrong = || format!("'{}' is no number such as 100, +100 or +10%", printable(text));
    let is_change = text.starts_with(['+', '-']);
    let (number, is_percent) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
    let number: f64 = number.trim_end().parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(wrong)?;
    match (is_change, is_percent) {
        (true, true) => Ok(Limit::Growth(number / 100.0)),
        (true, false) => Ok(Limit::Change(number)),
        (false, true) if metric.unit == Unit::Share => Ok(Limit::Value(number / 100.0)),
        (false, true) => Err(format!("{} is no share: write +{text} for what it grew by", metric.name)),
        (false, false) => Ok(Limit::Value(number)),
    }
}
