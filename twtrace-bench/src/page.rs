//! The page: prose with the numbers of a run in it.
//!
//! Owns: what is said, and in which order. `goals` judges, `tables` has the numbers, `text` how they look.
//! Must not know: how anything was measured, files.

mod goals;
mod tables;
pub(crate) mod text;

use crate::model::{Arm, Growth, Load, Results};
use crate::plan::{IDLE_AFTER_S, IDLE_S};
use crate::stats::speed_ratios;
use goals::{Goal, Verdict};
use text::{grouped, quarters, table};

/// The whole page, in Markdown. Plots are in the folder `overhead` beside it.
pub(crate) fn render(results: &Results) -> String {
    let sections: [fn(&Results) -> String; 12] =
        [head, verdicts, machine, method, loads, accuracy, costs, programs, growth, idle, soak, absent];
    let mut page = sections.map(|section| section(results)).concat();
    page += &commands(results);
    page
}

/// What a reader in a hurry wants to know: a line each.
pub(crate) fn headlines(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for load in &results.loads {
        let untraced = crate::stats::values(&load.rounds, Arm::Untraced, |sample| Some(sample.speed));
        let Some(untraced) = crate::stats::Spread::of(untraced) else { continue };
        let ratios = Arm::ALL
            .into_iter()
            .filter(|arm| *arm != Arm::Untraced)
            .filter_map(|arm| Some(format!("{} {:.3}", arm.name(), speed_ratios(&load.rounds, arm)?.median)));
        let ratios = ratios.collect::<Vec<_>>().join(", ");
        let speed = grouped(untraced.median);
        lines.push(format!("{}: {speed} {} untraced; ratio to that beside {ratios}", load.name, load.unit));
    }
    for Goal { name, wanted, reached, verdict } in goals::all(results) {
        lines.push(format!("goal: {name}: {wanted}; reached {reached}: {}", said(&verdict)));
    }
    lines
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Met => "met".to_owned(),
        Verdict::Missed(by) => format!("**missed** by {by}"),
        Verdict::Unmeasured(why) => format!("not measured: {why}"),
    }
}

fn head(results: &Results) -> String {
    let settings = &results.settings;
    let mut text = format!(
        "# What tracing costs\n\nWritten by `{}`, which measured all of this in one run of {:.0} minutes, on one machine; nothing here was \
         typed by hand. Other machines give other numbers: run it on yours.\n\n",
        settings.command,
        (settings.took_s / 60.0).max(1.0)
    );
    for command in &settings.also {
        text += &format!("A run of its own, `{command}`, added what that one had not measured.\n\n");
    }
    if settings.quick {
        text += "**This is one short iteration, which shows that the benchmarks work. Its numbers mean nothing.**\n\n";
    }
    if settings.partial {
        text += "**Only some of the benchmarks were run (`--only`).**\n\n";
    }
    text
}

fn verdicts(results: &Results) -> String {
    let row = |goal: Goal| vec![goal.name.to_owned(), goal.wanted, goal.reached, said(&goal.verdict)];
    let rows: Vec<Vec<String>> = goals::all(results).into_iter().map(row).collect();
    let mut text = "## Goals\n\n".to_owned() + &table(&["what", "goal", "reached", "verdict"], 4, &rows);
    text += &floor_says(results);
    text + "\n"
}

/// Whether any program at all, where twtrace has its own, could meet the goal for throughput.
fn floor_says(results: &Results) -> String {
    let floors = results.loads.iter().filter(|load| load.name != "keepalive").filter_map(|load| {
        Some((speed_ratios(&load.rounds, Arm::Floor)?, speed_ratios(&load.rounds, Arm::Events)?, load))
    });
    let Some((floor, events, load)) = floors.min_by(|a, b| a.0.median.total_cmp(&b.0.median)) else {
        return String::new();
    };
    let Load { name, .. } = load;
    let backend = &results.machine.backend;
    let mut text = format!(
        "\nOf what throughput is lost, a part is the kernel's own: programs that only return, at the same places as twtrace's with the \
         {backend} backend (the floor), leave {} of the untraced throughput with the load {name}; `twtrace events` leaves {}.",
        quarters(Some(floor), 3),
        quarters(Some(events), 3)
    );
    if floor.median < goals::THROUGHPUT {
        text += &format!(
            " So **no tracer that attaches there can reach {}** on this machine under this load, whatever its programs do.",
            goals::THROUGHPUT
        );
    }
    text + "\n"
}

fn machine(results: &Results) -> String {
    let facts = &results.machine.facts;
    let rows: Vec<Vec<String>> =
        facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    format!("## Machine\n\n{}\n", table(&["", ""], 2, &rows))
}

fn method(results: &Results) -> String {
    let settings = &results.settings;
    format!(
        "## How it was measured\n\n\
         Each load runs in a network namespace of its own, with its table of TIME_WAIT sockets filled beforehand. A round runs the load \
         once beside each tracer (about {:.1} s each) and twice beside none; the next round begins with another one. There are {} rounds. \
         Speeds of a machine drift by more than a tracer costs, so a ratio is always one of two runs of the same round; told are the \
         median of these ratios and, in brackets, their quartiles. `untraced again` is the second run beside nothing: how far its ratio \
         is from 1 and how far it spreads is the noise.\n\n\
         - `nginx`: `ab` opens 50 connections at a time, one for each request; the server closes first. Both use all cores, so the tracer \
         competes with them.\n\
         - `keepalive`: the same with `ab -k`; there are hardly any TIME_WAIT sockets.\n\
         - `client-first`, `server-first`: our own generator opens and closes connections without data, as fast as one core can. Its \
         client and server are two processes on that one core, so what is lost is time in the kernel's hooks; a tracer may have the others. \
         It measures each connect(), and knows who closed first.\n\n\
         The tracers are started anew for each run and waited for until they are attached. `floor` is no tracer: it attaches BPF programs \
         of two instructions, which return, wherever twtrace attaches its own, system calls' tracepoints excepted. `ss` runs once a \
         second. What the others tell beside TIME_WAIT sockets they tell for other purposes; only their cost and what they say of these \
         sockets are compared.\n\n",
        settings.run_ms as f64 / 1e3,
        settings.rounds
    )
}

fn loads(results: &Results) -> String {
    let mut text = "## Throughput and connect()\n\n".to_owned();
    for load in &results.loads {
        text += &format!("### {}\n\n{}\n", load.name, tables::speeds(load));
    }
    text
}

fn accuracy(results: &Results) -> String {
    format!(
        "## What was told of it\n\n\
         Summed over all rounds. `created` is by the kernel's counters (TcpExt TW and TWKilled), `seen` the births that the tracer told, \
         of `tcpstates`, `tcplife` and `bpftrace` those of the end that closed first. The right owner is the process that sent the first \
         FIN, a share of what was seen. The live view shows processes of which it knows the owner as `events` does; a picture has no line \
         for each birth, so its share is not taken. `ss` shows what lives, no births and no owners.\n\n{}\n",
        tables::accuracy(results)
    )
}

fn costs(results: &Results) -> String {
    let mut text = "## What the tracers themselves take\n\nCPU is of the tracer's own process, from the start of the load until a tenth of a \
                    second after its end; the load begins once what lived has been listed, a second after the tracer was attached. What its programs \
                    take in the kernel is in the throughput. Memory is the peak of the resident set; \
                    BPF maps are the kernel's memory and come on top.\n\n"
        .to_owned();
    for load in results.loads.iter().filter(|load| load.name != "keepalive") {
        text += &format!("### {}\n\n{}\n", load.name, tables::costs(load));
    }
    text
}

fn programs(results: &Results) -> String {
    if results.programs.is_empty() {
        return String::new();
    }
    let mut text = "## Where the time goes\n\n\
        The kernel's own statistics (`BPF_ENABLE_STATS`, as kernel.bpf_stats_enabled) of a pass of their own, beside `twtrace events`. The \
        table of TIME_WAIT sockets is full and stays so: for each socket that is made another one ends, so the sum is what one socket costs \
        over its life, together with what its connection's other timers and state changes cost. The statistics take time themselves: a \
        program that only returns shows how much.\n\n"
        .to_owned();
    for load in &results.programs {
        text += &format!("### {}\n\n{}\n", load.load, tables::programs(load));
    }
    text
}

fn growth(results: &Results) -> String {
    let mut text = String::new();
    for growth in &results.growth {
        let (title, what) = match growth.name.as_str() {
            "rate" => (
                "More connections a second",
                "`server-first`, at a given rate. Where the rate was not reached, the table says what was.",
            ),
            "live-sockets" => (
                "More live sockets",
                "`server-first` at the same rate, through so many pairs of addresses and ports that as many sockets live all the time.",
            ),
            _ => (
                "More processes",
                "`client-first` at the same rate; as many client processes take turns, and each of them becomes an owner.",
            ),
        };
        let Growth { name, .. } = growth;
        text += &format!(
            "## {title}\n\n{what}\n\n![{title}](overhead/{name}.svg)\n\n{}\n",
            tables::grown(growth)
        );
    }
    text
}

fn idle(results: &Results) -> String {
    let mut text = String::new();
    if !results.idle.is_empty() {
        let row = |idle: &crate::model::Idle| {
            let (percent, wakeups) = (format!("{:.3}", idle.cpu_percent), format!("{:.1}", idle.wakeups));
            vec![idle.arm.name().to_owned(), percent, wakeups]
        };
        let rows: Vec<Vec<String>> = results.idle.iter().map(row).collect();
        text += &format!(
            "## An idle machine\n\nNothing is connected, nothing closes. Each program had run for {IDLE_AFTER_S} s before it was \
             watched for {IDLE_S} s. Wake-ups are those of all threads that stay.\n\n"
        );
        text += &table(&["tracer", "CPU, % of a core", "wake-ups a second"], 1, &rows);
        text += "\n";
    }
    text += &figures(
        "## The live view\n\nFrames of 100,000 live sockets and 5,000 processes.\n\n",
        &results.screen,
    );
    let report = "## Reports\n\nOf a scripted recording of a busy machine, 20,000 events a second.\n\n";
    text + &figures(report, &results.reports)
}

/// Figures under a heading, name by name; nothing where there are none.
fn figures(heading: &str, figures: &[(String, String, String)]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let row = |(name, value, unit): &(String, String, String)| vec![name.clone(), format!("{value} {unit}")];
    let rows: Vec<Vec<String>> = figures.iter().map(row).collect();
    format!("{heading}{}\n", table(&["what", ""], 1, &rows))
}

fn soak(results: &Results) -> String {
    let Some(soak) = &results.soak else { return String::new() };
    let mut rows = Vec::new();
    for mode in &soak.modes {
        let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
        let (first, last) = (mode.rss.first(), mode.rss.last());
        let peak = mode.rss.iter().map(|(_, kib)| *kib).max();
        let number =
            |number: Option<u64>| number.map_or(text::NONE.to_owned(), |number| grouped(number as f64));
        rows.push(vec![
            mode.arm.name().to_owned(),
            first.map_or_else(String::new, |(_, kib)| mib(*kib)),
            last.map_or_else(String::new, |(_, kib)| mib(*kib)),
            peak.map_or_else(String::new, mib),
            goals::growth(mode).map_or(text::NONE.to_owned(), |growth| format!("{:+.1} %", growth * 100.0)),
            number(mode.created),
            number(mode.told.created),
            number(mode.told.lost),
        ]);
    }
    let names = [
        "mode",
        "first, MiB",
        "last, MiB",
        "peak, MiB",
        "growth once settled",
        "created",
        "seen",
        "lost by its own account",
    ];
    format!(
        "## Soak\n\n{:.0} s of `client-first` as fast as it goes, with all three modes at once: {} connections/s. `record` tells no sum of \
         births at its end; its files are rotated.\n\n![Memory](overhead/soak.svg)\n\n{}\n",
        soak.length_s,
        grouped(soak.speed),
        table(&names, 1, &rows)
    )
}

fn absent(results: &Results) -> String {
    if results.absent.is_empty() {
        return String::new();
    }
    let row = |absent: &crate::model::Absent| vec![absent.what.clone(), absent.reason.clone()];
    let rows: Vec<Vec<String>> = results.absent.iter().map(row).collect();
    format!("## What could not be measured here\n\n{}\n", table(&["what", "why"], 2, &rows))
}

fn commands(results: &Results) -> String {
    let mut text =
        format!("## Commands\n\nAll of it: `{}`. What that ran:\n\n```sh\n", results.settings.command);
    for (what, line) in &results.commands {
        text += &format!("# {what}\n{}\n", line.replace("```", "'''"));
    }
    text + "```\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Absent, Settings};
    use crate::stats::tests::sample;

    fn results(floor: f64) -> Results {
        let round = vec![sample(Arm::Untraced, 100.0), sample(Arm::Floor, floor), sample(Arm::Events, 86.0)];
        let load = Load { name: "nginx".to_owned(), unit: "requests/s".to_owned(), rounds: vec![round] };
        let settings = Settings {
            command: "cargo xtask bench".to_owned(),
            rounds: 7,
            run_ms: 800,
            ..Settings::default()
        };
        let absent = Absent { what: "bpftrace".to_owned(), reason: "no bpftrace here".to_owned() };
        let commands = vec![("ss".to_owned(), "ss -tan".to_owned())];
        Results { settings, loads: vec![load], absent: vec![absent], commands, ..Results::default() }
    }

    #[test]
    fn the_page_says_what_was_reached_and_what_was_not_measured() {
        let page = render(&results(95.0));
        for words in [
            "Written by `cargo xtask bench`",
            "There are 7 rounds",
            "| 0.860 at worst (twtrace events, nginx) | **missed** by 0.120 |",
            "leave 0.950 (0.950 to 0.950) of the untraced throughput with the load nginx",
            "no tracer that attaches there can reach 0.98",
            "| bpftrace | no bpftrace here |",
            "# ss\nss -tan\n",
            "| twtrace events | 86 | 0.860",
        ] {
            assert!(page.contains(words), "{words}\nis not in\n{page}");
        }
        assert!(!page.contains("mean nothing") && !page.contains("## Soak"), "{page}");
    }

    #[test]
    fn a_floor_that_is_fast_enough_excuses_nothing() {
        let page = render(&results(99.0));
        assert!(page.contains("leave 0.990") && !page.contains("no tracer that"), "{page}");
    }

    #[test]
    fn a_run_that_proves_nothing_says_so() {
        let mut results = results(95.0);
        results.settings.quick = true;
        results.settings.partial = true;
        let page = render(&results);
        assert!(page.contains("Its numbers mean nothing") && page.contains("Only some of the benchmarks"));
    }

    #[test]
    fn headlines_have_every_load_and_every_goal() {
        let lines = headlines(&results(95.0));
        assert_eq!(
            lines[0],
            "nginx: 100 requests/s untraced; ratio to that beside floor 0.950, twtrace events 0.860"
        );
        assert_eq!(lines.len(), 1 + goals::all(&Results::default()).len());
    }
}
