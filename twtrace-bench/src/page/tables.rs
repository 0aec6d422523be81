//! Tables of loads: speed, accuracy, the tracers' own cost; of programs; of what grew.
//!
//! Owns: their rows and columns. Must not know: what is concluded from them.

use super::text::{NONE, fixed, grouped, median, quarters, range, table};
use crate::model::{Arm, Bill, Growth, Load, Program, ProgramLoad, Results, Round, Sample};
use crate::stats::{Spread, bills, cpu_percent, p99_ratios, speed_ratios, values};

/// The arms that a load was run beside, in the order of tables.
fn arms(rounds: &[Round]) -> impl Iterator<Item = Arm> {
    Arm::ALL.into_iter().filter(|arm| rounds.iter().flatten().any(|sample| sample.arm == *arm))
}

/// Speed and connect() of one load.
pub(super) fn speeds(load: &Load) -> String {
    let timed = load.rounds.iter().flatten().any(|sample| sample.connect.is_some());
    let mut names = vec!["beside", load.unit.as_str(), "ratio to untraced", "all rounds"];
    if timed {
        names.extend(["connect() p50, µs", "p99, µs", "p99 to untraced"]);
    }
    let rows: Vec<Vec<String>> = arms(&load.rounds).map(|arm| speed(&load.rounds, arm, timed)).collect();
    table(&names, 1, &rows)
}

fn speed(rounds: &[Round], arm: Arm, timed: bool) -> Vec<String> {
    let speeds = Spread::of(values(rounds, arm, |sample| Some(sample.speed)));
    let ratios = speed_ratios(rounds, arm);
    let mut cells = vec![
        arm.name().to_owned(),
        speeds.map_or_else(|| NONE.to_owned(), |speed| grouped(speed.median)),
        quarters(ratios, 3),
        range(ratios, 2),
    ];
    if timed {
        let connect = |time: fn(&Sample) -> Option<f64>| Spread::of(values(rounds, arm, time));
        cells.push(median(connect(|sample| Some(sample.connect?.p50_ns as f64 / 1e3)), 1));
        cells.push(median(connect(|sample| Some(sample.connect?.p99_ns as f64 / 1e3)), 1));
        cells.push(quarters(p99_ratios(rounds, arm), 2));
    }
    cells
}

/// What each tracer told of what happened, load by load.
pub(super) fn accuracy(results: &Results) -> String {
    let names =
        ["tracer", "load", "created", "seen", "really lost", "lost by its own account", "right owner"];
    let mut rows = Vec::new();
    for arm in Arm::ALL {
        for load in results.loads.iter().filter(|load| load.name != "keepalive") {
            rows.extend(accurate(&load.rounds, arm, &load.name));
        }
    }
    table(&names, 2, &rows)
}

/// Summed over all rounds; `None` for what tells no births.
fn accurate(rounds: &[Round], arm: Arm, load: &str) -> Option<Vec<String>> {
    let runs: Vec<&Sample> = rounds.iter().flatten().filter(|sample| sample.arm == arm).collect();
    let told = |value: fn(&Bill) -> Option<u64>| {
        runs.iter().map(|sample| value(sample.bill.as_ref()?)).sum::<Option<u64>>()
    };
    let seen = told(|bill| bill.told.created).filter(|_| !runs.is_empty())?;
    let created = runs.iter().map(|sample| sample.created).sum::<Option<u64>>();
    let number =
        |number: Option<u64>| number.map_or_else(|| NONE.to_owned(), |number| grouped(number as f64));
    let owners = told(|bill| bill.told.right).filter(|_| seen > 0);
    let share = owners.map_or_else(|| NONE.to_owned(), |right| share(right, seen));
    Some(vec![
        arm.name().to_owned(),
        load.to_owned(),
        number(created),
        number(Some(seen)),
        number(created.map(|created| created.saturating_sub(seen))),
        number(told(|bill| bill.told.lost)),
        share,
    ])
}

/// In percent; never rounded up to all of it.
fn share(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole as f64 * 100.0;
    if part == whole { "100 %".to_owned() } else { format!("{:.2} %", (percent * 100.0).floor() / 100.0) }
}

/// What each tracer itself takes, under one load.
pub(super) fn costs(load: &Load) -> String {
    let names = [
        "tracer",
        "start to attached, ms",
        "CPU, % of a core",
        "CPU at 20,000 created/s, %",
        "peak memory, MiB",
        "BPF maps, MiB",
        "written per birth, bytes",
    ];
    let traced = arms(&load.rounds).filter(|arm| !matches!(arm, Arm::Untraced | Arm::Again | Arm::Floor));
    let rows: Vec<Vec<String>> = traced.map(|arm| cost(&load.rounds, arm)).collect();
    table(&names, 1, &rows)
}

fn cost(rounds: &[Round], arm: Arm) -> Vec<String> {
    let mib = |kib: Option<u64>| Some(kib? as f64 / 1024.0);
    vec![
        arm.name().to_owned(),
        median(bills(rounds, arm, |bill| bill.attach_ms), 0),
        quarters(cpu_percent(rounds, arm), 2),
        median(cpu_per_20k(rounds, arm), 2),
        median(bills(rounds, arm, |bill| mib(bill.rss_kib)), 1),
        median(bills(rounds, arm, |bill| mib(bill.maps_kib)), 1),
        median(bills(rounds, arm, |bill| Some(bill.told.bytes? as f64 / bill.told.created? as f64)), 0),
    ]
}

/// CPU as if there had been 20,000 births a second, in percent of one core.
fn cpu_per_20k(rounds: &[Round], arm: Arm) -> Option<Spread> {
    let percent = |sample: &Sample| {
        let created = sample.created.filter(|created| *created > 0)?;
        Some(sample.bill.as_ref()?.cpu_s? / created as f64 * super::goals::CPU_RATE * 100.0)
    };
    Spread::of(values(rounds, arm, percent))
}

/// One row for each size and arm.
pub(super) fn grown(growth: &Growth) -> String {
    let axis = growth.axis.as_str();
    let names = [
        axis,
        "beside",
        "connections/s",
        "connect() p50, µs",
        "p99 to untraced",
        "CPU, % of a core",
        "CPU at 20,000 created/s, %",
        "peak memory, MiB",
        "really lost",
    ];
    let mut rows = Vec::new();
    for point in &growth.points {
        for arm in arms(&point.rounds) {
            let rounds = &point.rounds;
            let cost = cost(rounds, arm);
            let p50 = values(rounds, arm, |sample| Some(sample.connect?.p50_ns as f64 / 1e3));
            let lost = accurate(rounds, arm, "").and_then(|cells| cells.get(4).cloned());
            rows.push(vec![
                point.label.clone(),
                arm.name().to_owned(),
                grouped(
                    Spread::of(values(rounds, arm, |sample| Some(sample.speed))).map_or(0.0, |s| s.median),
                ),
                median(Spread::of(p50), 1),
                quarters(p99_ratios(rounds, arm), 2),
                cost[2].clone(),
                cost[3].clone(),
                cost[4].clone(),
                lost.unwrap_or_else(|| NONE.to_owned()),
            ]);
        }
    }
    table(&names, 2, &rows)
}

/// What each program takes, under one load.
pub(super) fn programs(load: &ProgramLoad) -> String {
    let names = [
        "program",
        "attached to",
        "runs per connection",
        "ns per run",
        "ns per connection",
        "instructions verified",
        "machine code, bytes",
    ];
    let connections = load.connections.max(1) as f64;
    let row = |program: &Program| {
        vec![
            program.name.clone(),
            program.target.clone(),
            fixed(Some(program.runs as f64 / connections), 2),
            fixed((program.runs > 0).then(|| program.run_ns as f64 / program.runs as f64), 0),
            fixed(Some(program.run_ns as f64 / connections), 0),
            program.verified.map_or_else(|| NONE.to_owned(), |verified| grouped(verified as f64)),
            grouped(program.bytes as f64),
        ]
    };
    let sum = |name: &str, programs: &[Program]| {
        let total = |value: fn(&Program) -> u64| programs.iter().map(value).sum::<u64>();
        let verified = programs.iter().map(|program| program.verified).sum();
        row(&Program {
            name: format!("**{name}**"),
            target: String::new(),
            runs: total(|program| program.runs),
            run_ns: total(|program| program.run_ns),
            verified,
            bytes: total(|program| program.bytes),
        })
    };
    let mut rows: Vec<Vec<String>> = load.programs.iter().map(row).collect();
    rows.push(sum("all", &load.programs));
    if !load.floor.is_empty() {
        rows.push(sum("floor: programs that only return", &load.floor));
    }
    table(&names, 2, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Connect, Point, Told};
    use crate::stats::tests::sample;

    fn traced(arm: Arm, speed: f64) -> Sample {
        let told = Told {
            created: Some(1000),
            right: Some(999),
            lost: Some(3),
            bytes: Some(17_000),
            ..Told::default()
        };
        let bill = Bill {
            attach_ms: Some(11.0),
            cpu_s: Some(0.01),
            rss_kib: Some(2048),
            maps_kib: Some(1024),
            told,
        };
        let connect = Some(Connect { p50_ns: 7000, p99_ns: 31_000 });
        Sample { created: Some(1009), bill: Some(bill), connect, ..sample(arm, speed) }
    }

    fn rounds() -> Vec<Round> {
        let base = Sample {
            connect: Some(Connect { p50_ns: 6000, p99_ns: 20_000 }),
            ..sample(Arm::Untraced, 100.0)
        };
        vec![vec![base, traced(Arm::Events, 90.0)]]
    }

    fn load() -> Load {
        Load { name: "client-first".to_owned(), unit: "connections/s".to_owned(), rounds: rounds() }
    }

    #[test]
    fn speeds_stand_beside_the_untraced_ones() {
        let text = speeds(&load());
        let row = "| twtrace events | 90 | 0.900 (0.900 to 0.900) | 0.90 to 0.90 | 7.0 | 31.0 | 1.55 (1.55 to 1.55) |";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains("tcplife"), "{text}");
    }

    #[test]
    fn what_was_not_told_is_counted_and_no_share_is_rounded_up() {
        let results = Results { loads: vec![load()], ..Results::default() };
        let text = accuracy(&results);
        assert!(
            text.contains("| twtrace events | client-first | 1,009 | 1,000 | 9 | 3 | 99.90 % |"),
            "{text}"
        );
        assert_eq!(share(99_999, 100_000), "99.99 %");
        assert_eq!(share(7, 7), "100 %");
    }

    #[test]
    fn costs_are_also_told_at_the_same_rate() {
        let text = costs(&load());
        let row = "| twtrace events | 11 | 1.00 (1.00 to 1.00) | 19.82 | 2.0 | 1.0 | 17 |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn sizes_stand_one_below_the_other() {
        let points =
            ["10", "1,000"].map(|label| Point { label: label.to_owned(), size: 1.0, rounds: rounds() });
        let growth = Growth { name: "x".to_owned(), axis: "processes".to_owned(), points: points.to_vec() };
        let text = grown(&growth);
        assert!(text.contains("| 1,000 | twtrace events | 90 | 7.0 | 1.55 (1.55 to 1.55) | 1.00 (1.00 to 1.00) | 19.82 | 2.0 | 9 |"), "{text}");
        assert_eq!(text.lines().count(), 6);
    }

    #[test]
    fn programs_are_told_by_the_connection() {
        let program = |runs, run_ns| Program {
            name: "tp_x".to_owned(),
            target: "timer_start".to_owned(),
            runs,
            run_ns,
            verified: Some(1009),
            bytes: 300,
        };
        let load = ProgramLoad {
            load: "x".to_owned(),
            connections: 100,
            programs: vec![program(700, 35_000), program(0, 0)],
            floor: vec![program(700, 7000)],
        };
        let text = programs(&load);
        assert!(text.contains("| tp_x | timer_start | 7.00 | 50 | 350 | 1,009 | 300 |"), "{text}");
        assert!(text.contains("| tp_x | timer_start | 0.00 | – | 0 | 1,009 | 300 |"), "{text}");
        assert!(text.contains("| **all** |  | 7.00 | 50 | 350 | 2,018 | 600 |"), "{text}");
        assert!(text.contains("| 7.00 | 10 | 70 |"), "{text}");
    }
}
