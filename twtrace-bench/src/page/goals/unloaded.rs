//! Goals for what twtrace takes where it traces no load: to start, beside nothing, for a picture, for a report.
//!
//! Owns: their limits, and what is compared with each. Must not know: how the page looks.

use super::{Goal, Verdict, unmeasured};
use crate::model::{Arm, Load, Results};
use crate::page::text::fixed;
use crate::stats::Spread;

/// From the start until all hooks are attached, in milliseconds, at most.
const ATTACHED_MS: f64 = 200.0;
/// Wake-ups of all threads a second, at most, where nothing is connected and nothing closes.
const WAKEUPS: f64 = 2.0;
/// CPU of the screen there, in percent of one core, at most.
const SCREEN_PERCENT: f64 = 2.0;
/// A frame of 100,000 live sockets, in milliseconds, at most.
const FRAME_MS: f64 = 5.0;
/// Resident at 131,072 sockets and 10,000 processes, in megabytes, at most.
const RESIDENT_MB: f64 = 80.0;
/// An event of a recording, in bytes on disk, at most.
const EVENT_BYTES: f64 = 24.0;
/// A report of 10,000,000 events, in seconds, at most.
const REPORT_S: f64 = 1.5;
/// The peak of its memory, in megabytes, at most.
const REPORT_MB: f64 = 500.0;

/// All of them.
pub(super) fn all(results: &Results) -> Vec<Goal> {
    let mut all = vec![start(results), idle(results), frames(results)];
    all.extend(numbers(results));
    all
}

/// A number, what it is of, and how it is told.
type Told = (f64, String);

/// Whether none of some numbers is above its limit; all of them are told.
fn at_most(name: &'static str, (limit, unit): (f64, &str), digits: usize, all: &[Told]) -> Goal {
    let wanted = format!("at most {limit} {unit}");
    let Some(worst) = all.iter().map(|(number, _)| *number).max_by(f64::total_cmp) else {
        return unmeasured(name, wanted, "it was not run");
    };
    let reached: Vec<String> = all
        .iter()
        .map(|(number, what)| {
            format!("{what} {} {unit}", fixed(Some(*number), digits)).trim_start().to_owned()
        })
        .collect();
    let verdict = match worst <= limit {
        true => Verdict::Met,
        false => Verdict::Missed(format!("{} {unit}", fixed(Some(worst - limit), digits))),
    };
    Goal { name, wanted, reached: reached.join(", "), verdict }
}

/// The median over all runs beside all loads: a machine that is at work takes longer.
fn start(results: &Results) -> Goal {
    let of = |arm: Arm| {
        let runs = results.loads.iter().flat_map(|Load { rounds, .. }| rounds).flatten();
        let bills = runs.filter(|sample| sample.arm == arm).filter_map(|sample| sample.bill.as_ref());
        Some((Spread::of(bills.filter_map(|bill| bill.attach_ms))?.median, arm.name().to_owned()))
    };
    let all: Vec<Told> = Arm::TWTRACE.into_iter().filter_map(of).collect();
    at_most("from the start of twtrace until it is attached, every mode", (ATTACHED_MS, "ms"), 0, &all)
}

fn idle(results: &Results) -> Goal {
    let modes = results.idle.iter().filter(|idle| idle.arm.is_twtrace());
    let modes = modes.map(|idle| (idle.wakeups, idle.arm.name().to_owned()));
    let screen = figures(&results.screen, |name| name.starts_with("wake-ups of the screen"));
    let screen = screen.into_iter().map(|(number, _)| (number, "the screen".to_owned()));
    let all: Vec<Told> = modes.chain(screen).collect();
    at_most("wake-ups of twtrace on an idle machine, every mode", (WAKEUPS, "a second"), 1, &all)
}

/// All tables at once are on no screen.
fn frames(results: &Results) -> Goal {
    let is_frame =
        |name: &str| name.starts_with("frame ") && name.contains(" at ") && !name.contains("all tables");
    let all = figures(&results.screen, is_frame);
    at_most("a frame of the screen at 100,000 live sockets", (FRAME_MS, "ms"), 2, &all)
}

/// What is one number.
fn numbers(results: &Results) -> [Goal; 5] {
    let goal = |of: &[_], figure: &str, name, limit, digits| {
        let all = figures(of, |name| name.starts_with(figure));
        let unnamed: Vec<Told> = all.into_iter().map(|(number, _)| (number, String::new())).collect();
        at_most(name, limit, digits, &unnamed)
    };
    let (screen, reports) = (&results.screen, &results.reports);
    let is_full = reports.iter().any(|(name, ..)| name.starts_with("report of 10000000 events"));
    let reports = if is_full { &reports[..] } else { &[] };
    [
        goal(
            screen,
            "memory at 131,072 sockets",
            "memory at 131,072 sockets and 10,000 processes",
            (RESIDENT_MB, "MB"),
            1,
        ),
        goal(
            screen,
            "CPU of the screen",
            "CPU of the screen on an idle machine",
            (SCREEN_PERCENT, "% of a core"),
            2,
        ),
        goal(reports, "size of an event", "an event of a recording on disk", (EVENT_BYTES, "bytes"), 1),
        goal(reports, "report of", "a report of 10,000,000 events", (REPORT_S, "s"), 2),
        goal(reports, "peak memory of that report", "the peak of its memory", (REPORT_MB, "MB"), 0),
    ]
}

/// Figures whose names say that they are of a goal.
fn figures(figures: &[(String, String, String)], is_one: impl Fn(&str) -> bool) -> Vec<Told> {
    let told = figures.iter().filter(|(name, ..)| is_one(name));
    told.filter_map(|(name, value, _)| Some((value.parse().ok()?, name.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bill, Idle, Sample};
    use crate::stats::tests::sample;

    fn figure(name: &str, value: &str) -> (String, String, String) {
        (name.to_owned(), value.to_owned(), String::new())
    }

    #[test]
    fn the_worst_of_all_is_held_against_the_limit_and_all_are_told() {
        let screen = |filtered| {
            let all = [("frame of tuples at 80x24", "1.28"), ("frame with a filter at 80x24", filtered)];
            let others =
                [("frame of all tables at 80x24", "20.94"), ("frame of one pool of 20,000 processes", "39")];
            let screen = all.iter().chain(&others);
            frames(&Results {
                screen: screen.map(|(name, value)| figure(name, value)).collect(),
                ..Results::default()
            })
        };
        assert_eq!(screen("5.00").verdict, Verdict::Met);
        let missed = screen("12.23");
        assert_eq!(missed.verdict, Verdict::Missed("7.23 ms".to_owned()));
        assert_eq!(missed.reached, "frame of tuples at 80x24 1.28 ms, frame with a filter at 80x24 12.23 ms");
        assert!(matches!(frames(&Results::default()).verdict, Verdict::Unmeasured(_)));
    }

    #[test]
    fn one_number_needs_no_name() {
        let of = |value| {
            numbers(&Results {
                reports: vec![figure("report of 10000000 events", value)],
                screen: vec![figure("memory at 131,072 sockets and 10,000 processes", "64.9")],
                ..Results::default()
            })
        };
        let [resident, cpu, size, report, _] = of("1.75");
        assert_eq!((resident.verdict, resident.reached.as_str()), (Verdict::Met, "64.9 MB"));
        assert_eq!(report.verdict, Verdict::Missed("0.25 s".to_owned()));
        assert!(matches!((size.verdict, cpu.verdict), (Verdict::Unmeasured(_), Verdict::Unmeasured(_))));
        // Of another size it says nothing.
        let reports = vec![figure("report of 1000 events", "0.1"), figure("peak memory of that report", "7")];
        for goal in numbers(&Results { reports, ..Results::default() }) {
            assert!(matches!(goal.verdict, Verdict::Unmeasured(_)), "{}", goal.name);
        }
    }

    #[test]
    fn other_tools_may_wake_as_often_as_they_like() {
        let idle_at = |arm, wakeups| Idle { arm, cpu_percent: 0.1, wakeups };
        let results = |live| Results {
            idle: vec![idle_at(Arm::Record, 1.6), idle_at(Arm::Live, live), idle_at(Arm::Tcplife, 10.0)],
            screen: vec![figure("wake-ups of the screen on an idle machine", "1.9")],
            ..Results::default()
        };
        assert_eq!(idle(&results(2.0)).verdict, Verdict::Met);
        let missed = idle(&results(2.2));
        assert_eq!(missed.verdict, Verdict::Missed("0.2 a second".to_owned()));
        assert!(missed.reached.ends_with("the screen 1.9 a second"), "{}", missed.reached);
    }

    #[test]
    fn half_of_all_starts_decide() {
        let run = |arm, attach_ms| {
            let bill = Some(Bill { attach_ms: Some(attach_ms), ..Bill::default() });
            vec![Sample { bill, ..sample(arm, 1.0) }]
        };
        let rounds = |last| {
            let rounds =
                vec![run(Arm::Live, 170.0), run(Arm::Live, 400.0), run(Arm::Live, last), run(Arm::Ss, 900.0)];
            let load = Load { name: String::new(), unit: String::new(), rounds };
            start(&Results { loads: vec![load], ..Results::default() })
        };
        assert_eq!(rounds(199.0).verdict, Verdict::Met);
        assert_eq!(rounds(231.0).verdict, Verdict::Missed("31 ms".to_owned()));
    }
}
