//! Medians and spreads, and ratios taken round by round.
//!
//! Owns: the arithmetic. Must not know: what the numbers mean.
//!
//! Speeds of one machine drift by more than a tracer costs. So a ratio is always one of two runs of the same round, and what is told is
//! the middle of these ratios and how far the middle half of them spreads.

use crate::model::{Arm, Bill, Round, Sample};

/// Some numbers by their quarters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// A quarter of them is below this.
    pub(crate) low: f64,
    /// A quarter of them is above this.
    pub(crate) high: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of no numbers.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let at = |share| quantile(&values, share);
        Some(Self { median: at(0.5), low: at(0.25), high: at(0.75), min, max })
    }
}

/// Between neighbours, in proportion. `sorted` is not empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let below = sorted[rank.floor() as usize];
    let above = sorted[rank.ceil() as usize];
    below + (above - below) * rank.fract()
}

/// A number of each run of an arm that has it.
pub(crate) fn values(
    rounds: &[Round],
    arm: Arm,
    value: impl Fn(&Sample) -> Option<f64>,
) -> impl Iterator<Item = f64> {
    let runs = rounds.iter().flatten().filter(move |sample| sample.arm == arm);
    runs.filter_map(value)
}

/// As [`values`], of its bill.
pub(crate) fn bills(rounds: &[Round], arm: Arm, value: impl Fn(&Bill) -> Option<f64>) -> Option<Spread> {
    Spread::of(values(rounds, arm, |sample| value(sample.bill.as_ref()?)))
}

/// A number of an arm over the same of the untraced run in that round.
pub(crate) fn ratios(rounds: &[Round], arm: Arm, value: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
    let of = |round: &Round, arm| round.iter().find(|sample| sample.arm == arm).and_then(&value);
    Spread::of(rounds.iter().filter_map(|round| {
        let base = of(round, Arm::Untraced).filter(|base| *base > 0.0)?;
        Some(of(round, arm)? / base)
    }))
}

/// Speed over untraced speed.
pub(crate) fn speed_ratios(rounds: &[Round], arm: Arm) -> Option<Spread> {
    ratios(rounds, arm, |sample| Some(sample.speed))
}

/// 99th percentile of connect() over the untraced one.
pub(crate) fn p99_ratios(rounds: &[Round], arm: Arm) -> Option<Spread> {
    ratios(rounds, arm, |sample| Some(sample.connect?.p99_ns as f64))
}

/// CPU of the tracer while the load ran, in percent of one core.
pub(crate) fn cpu_percent(rounds: &[Round], arm: Arm) -> Option<Spread> {
    Spread::of(values(rounds, arm, |sample| Some(sample.bill.as_ref()?.cpu_s? / sample.load_s * 100.0)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run that only has a speed.
    pub(crate) fn sample(arm: Arm, speed: f64) -> Sample {
        Sample { arm, speed, load_s: 1.0, connect: None, created: Some(0), overflow: 0, bill: None }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn quarters_lie_between_neighbours() {
        let spread = Spread::of([11.0, 2.0, 3.0, 7.0, 5.0]).unwrap();
        assert_eq!(spread, Spread { median: 5.0, low: 3.0, high: 7.0, min: 2.0, max: 11.0 });
        let even = Spread::of([1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!(close(even.median, 2.5) && close(even.low, 1.75) && close(even.high, 3.25), "{even:?}");
        assert_eq!(Spread::of([7.0]).unwrap().low, 7.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round_whatever_the_order() {
        let rounds = [
            vec![sample(Arm::Untraced, 100.0), sample(Arm::Events, 90.0)],
            vec![sample(Arm::Events, 40.0), sample(Arm::Untraced, 50.0)],
            vec![sample(Arm::Untraced, 200.0), sample(Arm::Events, 200.0)],
            // Without its counterpart a run has no ratio.
            vec![sample(Arm::Events, 7.0)],
        ];
        let spread = speed_ratios(&rounds, Arm::Events).unwrap();
        assert!(close(spread.median, 0.9) && close(spread.min, 0.8) && close(spread.max, 1.0), "{spread:?}");
        assert_eq!(speed_ratios(&rounds, Arm::Live), None);
    }

    #[test]
    fn cpu_is_of_the_time_that_the_load_took() {
        let mut run = sample(Arm::Events, 1.0);
        run.load_s = 0.5;
        run.bill = Some(Bill { cpu_s: Some(0.01), ..Bill::default() });
        assert!(close(cpu_percent(&[vec![run]], Arm::Events).unwrap().median, 2.0));
    }
}
