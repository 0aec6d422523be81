//! A run of a load beside an arm, and rounds of them.
//!
//! Owns: what is read when, and the order of runs. Must not know: particular loads or tracers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use twtrace_kit::wait::pass;

use crate::arms::{Heard, Running, Tools};
use crate::model::{Arm, Bill, Round, Sample};
use crate::process;
use crate::report::Report;
use crate::site::{Counters, Made, Site, Traffic};

/// What was under way at the end of the load is still the tracer's work, and is billed; its farewell is not.
const AFTER: Duration = Duration::from_millis(100);

/// One run. All that the tracer told is read once the run is over.
///
/// # Errors
/// Where the load or the tracer failed.
pub(crate) fn run(arm: Arm, tools: &Tools, traffic: &mut dyn Traffic) -> Result<Sample> {
    let running = Running::start(arm, tools)?;
    if running.pid().is_some() {
        pass(tools.settle);
    }
    let before = Counters::read()?;
    let cpu_before_s = running.pid().map(process::cpu_s).transpose()?;
    let made = traffic.run()?;
    let counted = Counters::settled()?.since(&before);
    let site = traffic.site();
    let speed = made.count as f64 / made.elapsed_s;
    let bill = match arm {
        Arm::Untraced | Arm::Again => None,
        _ => Some(bill(running, cpu_before_s, site, &made, counted.created)?),
    };
    let Made { elapsed_s: load_s, connect, .. } = made;
    Ok(Sample { arm, speed, load_s, connect, created: counted.created, overflow: counted.overflow, bill })
}

fn bill(
    running: Running,
    cpu_before_s: Option<f64>,
    site: Site,
    made: &Made,
    created: Option<u64>,
) -> Result<Bill> {
    pass(AFTER);
    let pid = running.pid();
    let cpu_s = match (pid, cpu_before_s) {
        (Some(pid), Some(before)) => Some(process::cpu_s(pid)? - before),
        _ => None,
    };
    let rss_kib = pid.map(process::peak_rss_kib).transpose()?;
    let maps_kib = pid.map(process::maps_kib).transpose()?;
    let attach_ms = running.attach_ms();
    let (told, late_cpu_s) = running.stop(&Heard { site, made, created })?;
    Ok(Bill { attach_ms, cpu_s: cpu_s.or(late_cpu_s), rss_kib, maps_kib, told })
}

/// Rounds of runs. Arms take turns within a round, and the one that begins does too.
///
/// # Errors
/// Where a run failed, unless the report takes failures for its results.
pub(crate) fn rounds(
    name: &str,
    count: usize,
    arms: &[Arm],
    tools: &Tools,
    traffic: &mut dyn Traffic,
    report: &mut Report,
) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for round in 0..count {
        let mut samples = Round::new();
        for arm in turn(arms, round) {
            let case = format!("{name}::{}", arm.name().replace(' ', "-"));
            let sample = run(arm, tools, traffic).with_context(|| format!("{name} beside {}", arm.name()));
            // A whole run says on its page what did not hold.
            let judged = match report.is_quick() {
                true => sample.and_then(|sample| judge(&sample).map(|()| sample)),
                false => sample,
            };
            if let Some(sample) = report.case(&case, judged)? {
                report.progress(&format!(
                    "{name}: round {} of {count}: {}: {:.0} {}",
                    round + 1,
                    arm.name(),
                    sample.speed,
                    traffic.unit()
                ));
                samples.push(sample);
            }
        }
        rounds.push(samples);
    }
    Ok(rounds)
}

fn turn(arms: &[Arm], round: usize) -> impl Iterator<Item = Arm> {
    let start = round % arms.len().max(1);
    arms.iter().cycle().skip(start).take(arms.len()).copied()
}

/// What must hold of any run, however slow the machine is: twtrace tells what happened, or that it lost it, and blames nobody wrongly.
///
/// # Errors
/// What does not hold.
fn judge(sample: &Sample) -> Result<()> {
    let Some(told) = sample.bill.as_ref().map(|bill| &bill.told).filter(|_| sample.arm.is_twtrace()) else {
        return Ok(());
    };
    let (seen, lost) = (told.created.unwrap_or(0), told.lost.unwrap_or(0) + told.missed_runs);
    if let Some(created) = sample.created {
        anyhow::ensure!(
            seen <= created && created - seen <= lost,
            "the kernel created {created} TIME_WAIT sockets, {} told {seen} and admitted to {lost} lost",
            sample.arm.name()
        );
    }
    if let Some(right) = told.right {
        let wrong = seen - right.min(seen);
        anyhow::ensure!(
            wrong <= told.owners_lost + told.missed_runs,
            "{} named a wrong owner for {wrong} of {seen}",
            sample.arm.name()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Told;
    use crate::stats::tests::sample;

    #[test]
    fn everyone_has_a_turn_and_is_first_once() {
        let arms = [Arm::Untraced, Arm::Events, Arm::Ss];
        let order = |round| turn(&arms, round).collect::<Vec<_>>();
        assert_eq!(order(0), arms);
        assert_eq!(order(1), [Arm::Events, Arm::Ss, Arm::Untraced]);
        assert_eq!(order(5)[0], Arm::Ss);
    }

    fn told(created: u64, right: u64, lost: u64) -> Sample {
        let told = Told { created: Some(created), right: Some(right), lost: Some(lost), ..Told::default() };
        Sample {
            created: Some(101),
            bill: Some(Bill { told, ..Bill::default() }),
            ..sample(Arm::Events, 1.0)
        }
    }

    #[test]
    fn silence_and_wrong_blame_are_failures_and_honest_loss_is_not() {
        assert!(judge(&told(101, 101, 0)).is_ok());
        assert!(judge(&told(90, 90, 11)).is_ok());
        assert!(judge(&told(90, 90, 10)).is_err());
        assert!(judge(&told(102, 101, 0)).is_err());
        assert!(judge(&told(101, 100, 0)).is_err());
        let other = Sample { arm: Arm::Tcpstates, ..told(7, 0, 0) };
        assert!(judge(&other).is_ok(), "what others do is told and not judged");
    }
}
