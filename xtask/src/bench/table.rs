//! Medians, ratios and the table.
//!
//! Owns: how samples become a table. Must not know: where they come from.

/// What runs beside the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Untraced,
    Twtrace,
    Tcpstates,
}

/// One run of one arm.
pub(super) struct Sample {
    /// Requests a second.
    pub(super) speed: f64,
    pub(super) traced: Option<Traced>,
}

/// What a tracer cost and produced in one run.
pub(super) struct Traced {
    pub(super) attach_ms: f64,
    pub(super) cpu_s: f64,
    pub(super) peak_rss_kib: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
}

impl Traced {
    /// Percent of one core that it would take at 20,000 events a second.
    fn cpu_percent_at_20k(&self) -> f64 {
        self.cpu_s / self.events.max(1) as f64 * 20_000.0 * 100.0
    }
}

/// The samples of one round, one for each arm in whatever order.
pub(super) type Round = Vec<(Arm, Sample)>;

/// Markdown: one column an arm, medians over all rounds.
pub(super) fn render(arms: &[Arm], rounds: &[Round]) -> String {
    let mut text = row("", arms.iter().map(|arm| format!("{arm:?}").to_lowercase()));
    text += &format!("|---|{}\n", "---:|".repeat(arms.len()));
    let medians = |value: &dyn Fn(&Sample) -> Option<f64>, digits: usize| {
        let cell = |arm: &Arm| {
            let values: Option<Vec<f64>> = samples(*arm, rounds).map(value).collect();
            values.map_or("–".to_owned(), |values| format!("{:.digits$}", median(values)))
        };
        arms.iter().map(cell).collect::<Vec<_>>().into_iter()
    };
    let traced = |value: fn(&Traced) -> f64| move |sample: &Sample| sample.traced.as_ref().map(value);
    text += &row("requests/s", medians(&|sample| Some(sample.speed), 0));
    text += &row("ratio to untraced", arms.iter().map(|arm| format!("{:.3}", median(ratios(*arm, rounds)))));
    text += &row("ratio, each round", arms.iter().map(|arm| listed(&ratios(*arm, rounds))));
    text += &row("CPU, % of a core at 20,000 events/s", medians(&traced(Traced::cpu_percent_at_20k), 2));
    text += &row("peak RSS, MiB", medians(&traced(|t| t.peak_rss_kib as f64 / 1024.0), 1));
    text += &row("start to attached, ms", medians(&traced(|t| t.attach_ms), 0));
    text += &row("events", medians(&traced(|t| t.events as f64), 0));
    text += &row("bytes written", medians(&traced(|t| t.bytes as f64), 0));
    let lost = |arm: &Arm| match *arm {
        Arm::Untraced => "–".to_owned(),
        arm => {
            samples(arm, rounds).filter_map(|s| s.traced.as_ref()).map(|t| t.lost).sum::<u64>().to_string()
        }
    };
    text + &row("lost, all rounds", arms.iter().map(lost))
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("| {name} | {} |\n", cells.join(" | "))
}

fn samples(arm: Arm, rounds: &[Round]) -> impl Iterator<Item = &Sample> {
    rounds.iter().flatten().filter(move |(name, _)| *name == arm).map(|(_, sample)| sample)
}

/// The arm's speed over the untraced speed of the same round.
fn ratios(arm: Arm, rounds: &[Round]) -> Vec<f64> {
    samples(arm, rounds)
        .zip(samples(Arm::Untraced, rounds))
        .map(|(traced, base)| traced.speed / base.speed)
        .collect()
}

fn listed(ratios: &[f64]) -> String {
    ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len(), values.len() % 2) {
        (0, _) => 0.0,
        (_, 0) => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(speed: f64, lost: u64) -> Sample {
        let bill =
            Traced { attach_ms: 11.0, cpu_s: 0.5, peak_rss_kib: 2048, events: 100_000, bytes: 23, lost };
        Sample { speed, traced: Some(bill) }
    }

    fn untraced(speed: f64) -> Sample {
        Sample { speed, traced: None }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let rounds = [
            vec![(Arm::Untraced, untraced(100.0)), (Arm::Twtrace, traced(90.0, 3))],
            vec![(Arm::Twtrace, traced(40.0, 4)), (Arm::Untraced, untraced(50.0))],
            vec![(Arm::Untraced, untraced(200.0)), (Arm::Twtrace, traced(200.0, 0))],
        ];
        let text = render(&[Arm::Untraced, Arm::Twtrace], &rounds);
        for line in [
            "|  | untraced | twtrace |",
            "| requests/s | 100 | 90 |",
            "| ratio to untraced | 1.000 | 0.900 |",
            "| ratio, each round | 1.00 1.00 1.00 | 0.90 0.80 1.00 |",
            "| CPU, % of a core at 20,000 events/s | – | 10.00 |",
            "| peak RSS, MiB | – | 2.0 |",
            "| lost, all rounds | – | 7 |",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn medians() {
        for (values, expected) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0], 5.0), (vec![7.0, 1.0, 2.0], 2.0)]
        {
            assert!((median(values) - expected).abs() < f64::EPSILON);
        }
    }
}
