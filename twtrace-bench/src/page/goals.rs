//! The goals, and whether this run met them.
//!
//! Owns: the limits, and what is compared with each. Must not know: how the page looks.

mod unloaded;

use super::text::{fixed, grouped};
use crate::model::{Arm, Load, Results, SoakMode};
use crate::stats::{Spread, cpu_percent, p99_ratios, speed_ratios};

/// Throughput over untraced throughput, at least.
pub(super) const THROUGHPUT: f64 = 0.98;
/// p99 of connect() over the untraced one, at most.
const P99: f64 = 1.03;
/// CPU of the tracer at 20,000 created a second, in percent of one core: below.
const CPU_PERCENT: f64 = 2.0;
/// The rate of that goal, and how near to it a run must come to count.
pub(super) const CPU_RATE: f64 = 20_000.0;
const NEAR: f64 = 0.95;
/// Kernel time of a TIME_WAIT socket over its life, in nanoseconds: below; with fentry, and with any other backend.
const KERNEL_FENTRY_NS: f64 = 1000.0;
const KERNEL_OTHER_NS: f64 = 2500.0;
/// What memory may grow by over a soak once it has begun, in parts of itself.
const FLAT: f64 = 0.02;
/// The soak has begun, and all tables are full, after so many seconds: a minute of TIME_WAIT and some.
const SETTLED_S: f64 = 90.0;
/// How long the soak of that goal is, in seconds.
const SOAK_S: f64 = 600.0;

/// How a goal came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    /// By how much.
    Missed(String),
    /// Why not.
    Unmeasured(String),
}

/// One goal.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub(super) name: &'static str,
    pub(super) wanted: String,
    pub(super) reached: String,
    pub(super) verdict: Verdict,
}

/// All of them.
pub(super) fn all(results: &Results) -> Vec<Goal> {
    let mut all = vec![
        throughput(results),
        p99(results),
        loss(results),
        cpu(results),
        kernel_time(results),
        keep_alive(results),
        memory(results),
    ];
    all.extend(unloaded::all(results));
    all
}

fn unmeasured(name: &'static str, wanted: String, why: &str) -> Goal {
    Goal { name, wanted, reached: super::text::NONE.to_owned(), verdict: Verdict::Unmeasured(why.to_owned()) }
}

/// The loads that make as many connections as they can.
fn full_rate(results: &Results) -> impl Iterator<Item = &Load> {
    results.loads.iter().filter(|load| load.name != "keepalive")
}

/// The worst of a number of each mode under each load: its value and where it was.
fn worst(
    results: &Results,
    value: impl Fn(&Load, Arm) -> Option<Spread>,
    worse: impl Fn(f64, f64) -> bool,
) -> Option<(f64, String)> {
    let mut worst: Option<(f64, String)> = None;
    for load in full_rate(results) {
        for arm in Arm::TWTRACE {
            let Some(spread) = value(load, arm) else { continue };
            if worst.as_ref().is_none_or(|(so_far, _)| worse(spread.median, *so_far)) {
                worst = Some((spread.median, format!("{}, {}", arm.name(), load.name)));
            }
        }
    }
    worst
}

fn throughput(results: &Results) -> Goal {
    let name = "throughput over untraced, every mode, as fast as the machine goes";
    let wanted = format!("at least {THROUGHPUT}");
    let ratio = |load: &Load, arm| speed_ratios(&load.rounds, arm);
    let Some((ratio, case)) = worst(results, ratio, |new, old| new < old) else {
        return unmeasured(name, wanted, "no load at full rate was run");
    };
    let verdict = match ratio >= THROUGHPUT {
        true => Verdict::Met,
        false => Verdict::Missed(format!("{:.3}", THROUGHPUT - ratio)),
    };
    Goal { name, wanted, reached: format!("{ratio:.3} at worst ({case})"), verdict }
}

fn p99(results: &Results) -> Goal {
    let name = "p99 of connect() over untraced, every mode, as fast as the machine goes";
    let wanted = format!("at most {P99}");
    let ratio = |load: &Load, arm| p99_ratios(&load.rounds, arm);
    let Some((ratio, case)) = worst(results, ratio, |new, old| new > old) else {
        return unmeasured(name, wanted, "no load that measures connect() was run");
    };
    let verdict = match ratio <= P99 {
        true => Verdict::Met,
        false => Verdict::Missed(format!("{:.3}", ratio - P99)),
    };
    Goal { name, wanted, reached: format!("{ratio:.3} at worst ({case})"), verdict }
}

/// What became of births beside one tracer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Births {
    /// By the kernel's counters.
    created: u64,
    /// Not told, summed run by run: what another run tells after its count was taken makes up for none of them.
    missing: u64,
    /// Events that the tracer says it lost.
    lost: u64,
    /// Runs of its hooks that it says the kernel skipped.
    missed_runs: u64,
}

/// All runs beside `arm`.
fn births(results: &Results, arm: Arm) -> Births {
    let rounds = results.loads.iter().map(|load| &load.rounds);
    let grown = results.growth.iter().flat_map(|growth| &growth.points).map(|point| &point.rounds);
    let mut sum = Births::default();
    for sample in rounds.chain(grown).flatten().flatten().filter(|sample| sample.arm == arm) {
        let told = sample.bill.as_ref().map(|bill| &bill.told);
        if let (Some(created), Some(told)) = (sample.created, told)
            && let (Some(seen), Some(lost)) = (told.created, told.lost)
        {
            sum.created += created;
            sum.missing += created.saturating_sub(seen);
            sum.lost += lost;
            sum.missed_runs += told.missed_runs;
        }
    }
    sum
}

fn loss(results: &Results) -> Goal {
    let name = "births not told, in all runs of all modes";
    let wanted = "none".to_owned();
    let mut sum = Births::default();
    for births in Arm::TWTRACE.map(|arm| births(results, arm)) {
        sum.created += births.created;
        sum.missing += births.missing;
        sum.lost += births.lost;
        sum.missed_runs += births.missed_runs;
    }
    if sum.created == 0 {
        return unmeasured(name, wanted, "this kernel does not count births, or no load was run");
    }
    let number = |count: u64| grouped(count as f64);
    let reached = format!(
        "{} of {}; by its own account {} lost, and {} runs of hooks skipped by the kernel",
        number(sum.missing),
        number(sum.created),
        number(sum.lost),
        number(sum.missed_runs)
    );
    let is_met = sum.missing == 0 && sum.lost == 0;
    let verdict = if is_met { Verdict::Met } else { Verdict::Missed(number(sum.missing.max(sum.lost))) };
    Goal { name, wanted, reached, verdict }
}

fn cpu(results: &Results) -> Goal {
    let name = "CPU of twtrace at 20,000 created/s, every mode";
    let wanted = format!("below {CPU_PERCENT} % of a core");
    let points =
        results.growth.iter().filter(|growth| growth.name == "rate").flat_map(|growth| &growth.points);
    let near = |size: f64| (CPU_RATE * NEAR..CPU_RATE / NEAR).contains(&size);
    let Some(point) = points.into_iter().find(|point| near(point.size)) else {
        return unmeasured(name, wanted, "no run was at that rate");
    };
    let of = |arm| Some((arm, cpu_percent(&point.rounds, arm)?.median));
    let all: Vec<(Arm, f64)> = Arm::TWTRACE.into_iter().filter_map(of).collect();
    let Some(worst) = all.iter().map(|(_, percent)| *percent).max_by(f64::total_cmp) else {
        return unmeasured(name, wanted, "no mode was run at that rate");
    };
    let reached: Vec<String> =
        all.iter().map(|(arm, percent)| format!("{} {percent:.2} %", arm.name())).collect();
    let verdict = match worst < CPU_PERCENT {
        true => Verdict::Met,
        false => Verdict::Missed(format!("{:.2} %", worst - CPU_PERCENT)),
    };
    Goal { name, wanted, reached: reached.join(", "), verdict }
}

fn kernel_time(results: &Results) -> Goal {
    let name = "time in twtrace's BPF programs per TIME_WAIT socket over its life";
    let limit = if results.machine.backend == "fentry" { KERNEL_FENTRY_NS } else { KERNEL_OTHER_NS };
    let wanted = format!("below {} ns ({} backend)", grouped(limit), results.machine.backend);
    let of = |load: &crate::model::ProgramLoad| {
        let run_ns: u64 = load.programs.iter().map(|program| program.run_ns).sum();
        (load.connections > 0).then(|| (run_ns as f64 / load.connections as f64, load.load.clone()))
    };
    let all: Vec<(f64, String)> = results.programs.iter().filter_map(of).collect();
    let Some(worst) = all.iter().map(|(ns, _)| *ns).max_by(f64::total_cmp) else {
        return unmeasured(name, wanted, "the kernel's statistics of programs were not read");
    };
    let reached: Vec<String> = all.iter().map(|(ns, load)| format!("{} ns ({load})", grouped(*ns))).collect();
    let verdict = match worst < limit {
        true => Verdict::Met,
        false => Verdict::Missed(format!("{} ns", grouped(worst - limit))),
    };
    Goal { name, wanted, reached: reached.join(", "), verdict }
}

fn keep_alive(results: &Results) -> Goal {
    let name = "throughput with keep-alive";
    let wanted = "no difference from noise".to_owned();
    let load = results.loads.iter().find(|load| load.name == "keepalive");
    let again = load.and_then(|load| speed_ratios(&load.rounds, Arm::Again));
    let (Some(load), Some(again)) = (load, again) else {
        return unmeasured(name, wanted, "this load was not run");
    };
    let noise = (1.0 - again.low).abs().max((again.high - 1.0).abs());
    let of = |arm| Some(speed_ratios(&load.rounds, arm)?.median);
    let worst = Arm::TWTRACE.into_iter().filter_map(of).min_by(f64::total_cmp);
    let reached = format!("{} at worst, noise ±{noise:.3}", fixed(worst, 3));
    let short = 1.0 - noise - worst.unwrap_or(0.0);
    let verdict = if short <= 0.0 { Verdict::Met } else { Verdict::Missed(format!("{short:.3}")) };
    Goal { name, wanted, reached, verdict }
}

/// By how much memory grew from when it had settled to the end, in parts of itself.
pub(super) fn growth(mode: &SoakMode) -> Option<f64> {
    let end = mode.rss.last()?;
    let settled = SETTLED_S.min(end.0 / 3.0);
    let then = mode.rss.iter().find(|(at, _)| *at >= settled)?;
    Some(end.1 as f64 / then.1 as f64 - 1.0)
}

fn memory(results: &Results) -> Goal {
    let name = "memory over a ten-minute soak at full rate";
    let wanted = format!("grows by at most {:.0} % once the tables are full", FLAT * 100.0);
    let Some(soak) = &results.soak else {
        return unmeasured(name, wanted, "no soak in this run (`cargo xtask bench --soak 10m`)");
    };
    let growths = soak.modes.iter().filter_map(|mode| Some((mode.arm, growth(mode)?)));
    let growths: Vec<(Arm, f64)> = growths.collect();
    let Some(worst) = growths.iter().map(|(_, growth)| *growth).max_by(f64::total_cmp) else {
        return unmeasured(name, wanted, "memory was never looked at");
    };
    let reached: Vec<String> =
        growths.iter().map(|(arm, growth)| format!("{} {:+.1} %", arm.name(), growth * 100.0)).collect();
    let verdict = if soak.length_s < SOAK_S {
        Verdict::Unmeasured(format!("the soak took {:.0} s only", soak.length_s))
    } else if worst <= FLAT {
        Verdict::Met
    } else {
        Verdict::Missed(format!("{:.1} %", (worst - FLAT) * 100.0))
    };
    Goal { name, wanted, reached: reached.join(", "), verdict }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bill, Connect, Growth, Point, Program, ProgramLoad, Sample, Soak, Told};
    use crate::stats::tests::sample;

    fn load(name: &str, rounds: Vec<Vec<Sample>>) -> Results {
        let load = Load { name: name.to_owned(), unit: "connections/s".to_owned(), rounds };
        Results { loads: vec![load], ..Results::default() }
    }

    #[test]
    fn the_worst_mode_decides_on_throughput() {
        let round = |live| {
            vec![
                sample(Arm::Untraced, 100.0),
                sample(Arm::Events, 99.0),
                sample(Arm::Live, live),
                sample(Arm::Tcpstates, 7.0),
            ]
        };
        assert_eq!(throughput(&load("nginx", vec![round(98.0)])).verdict, Verdict::Met);
        let missed = throughput(&load("nginx", vec![round(97.0)]));
        assert_eq!(missed.verdict, Verdict::Missed("0.010".to_owned()));
        assert_eq!(missed.reached, "0.970 at worst (twtrace (live), nginx)");
        assert!(matches!(throughput(&Results::default()).verdict, Verdict::Unmeasured(_)));
        // Keep-alive is no load at full rate.
        assert!(matches!(throughput(&load("keepalive", vec![round(7.0)])).verdict, Verdict::Unmeasured(_)));
    }

    #[test]
    fn p99_may_be_a_little_longer() {
        let timed = |arm, p99_ns| Sample { connect: Some(Connect { p50_ns: 1, p99_ns }), ..sample(arm, 1.0) };
        let results =
            |ns| load("client-first", vec![vec![timed(Arm::Untraced, 1000), timed(Arm::Record, ns)]]);
        assert_eq!(p99(&results(1029)).verdict, Verdict::Met);
        assert_eq!(p99(&results(1031)).verdict, Verdict::Missed("0.001".to_owned()));
    }

    #[test]
    fn what_was_not_told_counts_whether_it_was_admitted_or_not() {
        let run = |seen, lost| {
            let told = Told { created: Some(seen), lost: Some(lost), ..Told::default() };
            let bill = Some(Bill { told, ..Bill::default() });
            vec![Sample { created: Some(101), bill, ..sample(Arm::Events, 1.0) }]
        };
        assert_eq!(loss(&load("nginx", vec![run(101, 0), run(101, 0)])).verdict, Verdict::Met);
        // What one run tells too much makes up for nothing.
        let missed = loss(&load("nginx", vec![run(131, 0), run(90, 7)]));
        assert_eq!(missed.verdict, Verdict::Missed("11".to_owned()));
        assert!(missed.reached.starts_with("11 of 202; by its own account 7 lost"), "{}", missed.reached);
    }

    #[test]
    fn cpu_is_judged_at_its_rate_only() {
        let results = |size: f64, cpu_s| {
            let bill = Some(Bill { cpu_s: Some(cpu_s), ..Bill::default() });
            let rounds = vec![vec![Sample { bill, ..sample(Arm::Events, 1.0) }]];
            let points = vec![Point { label: String::new(), size, rounds }];
            let growth = vec![Growth { name: "rate".to_owned(), axis: String::new(), points }];
            Results { growth, ..Results::default() }
        };
        assert_eq!(cpu(&results(19_900.0, 0.019)).verdict, Verdict::Met);
        assert_eq!(cpu(&results(19_900.0, 0.0301)).verdict, Verdict::Missed("1.01 %".to_owned()));
        assert!(matches!(cpu(&results(15_000.0, 0.001)).verdict, Verdict::Unmeasured(_)));
    }

    #[test]
    fn the_backend_says_how_long_the_kernel_may_take() {
        let results = |backend: &str| {
            let program = Program {
                name: String::new(),
                target: String::new(),
                runs: 1,
                run_ns: 7 * 1500,
                verified: None,
                bytes: 0,
            };
            let load = ProgramLoad {
                load: "nginx".to_owned(),
                connections: 7,
                programs: vec![program],
                floor: Vec::new(),
            };
            let mut results = Results { programs: vec![load], ..Results::default() };
            results.machine.backend = backend.to_owned();
            results
        };
        assert_eq!(kernel_time(&results("tracepoint")).verdict, Verdict::Met);
        assert_eq!(kernel_time(&results("fentry")).verdict, Verdict::Missed("500 ns".to_owned()));
    }

    #[test]
    fn keep_alive_is_compared_with_noise() {
        let round = |again, events| {
            vec![sample(Arm::Untraced, 100.0), sample(Arm::Again, again), sample(Arm::Events, events)]
        };
        let results = |events| load("keepalive", vec![round(98.0, events), round(103.0, events)]);
        assert_eq!(keep_alive(&results(99.0)).verdict, Verdict::Met);
        assert!(matches!(keep_alive(&results(90.0)).verdict, Verdict::Missed(_)));
    }

    #[test]
    fn memory_is_flat_if_it_stays_once_the_tables_are_full() {
        let results = |length_s: f64, end| {
            let rss = vec![(1.0, 100), (95.0, 1000), (300.0, 1000), (length_s, end)];
            let mode = SoakMode { arm: Arm::Live, rss, told: Told::default(), created: None };
            let soak = Some(Soak { length_s, speed: 1.0, modes: vec![mode] });
            Results { soak, ..Results::default() }
        };
        assert_eq!(memory(&results(600.0, 1019)).verdict, Verdict::Met);
        assert_eq!(memory(&results(600.0, 1030)).verdict, Verdict::Missed("1.0 %".to_owned()));
        assert!(matches!(memory(&results(400.0, 1000)).verdict, Verdict::Unmeasured(_)));
    }
}
