//! Owns: which one remedy is to be tried first.
//! Must not know: how remedies come about, how they are shown.

use super::finding::{Finding, Holds, Remedy, Severity};

/// The remedy that helps most with the worst that was found: one that can be typed comes before one that changes a program, what lifts the
/// limit further before the others, and of equals the one that is offered first. `None` where nothing presses, or nothing is known to help.
pub fn first(findings: &[Finding]) -> Option<(&Finding, &Remedy)> {
    let pressing = findings.iter().filter(|finding| finding.severity <= Severity::Warning);
    pressing.filter_map(|finding| Some((finding, best(&finding.remedies)?))).next()
}

fn best(remedies: &[Remedy]) -> Option<&Remedy> {
    let certain = || remedies.iter().filter(|remedy| remedy.holds == Holds::Yes);
    let typed = || certain().filter(|remedy| is_typed(remedy));
    let of = |all: &mut dyn Iterator<Item = &'_ Remedy>| -> Option<usize> {
        // Of equals `max_by` takes the last.
        let all: Vec<&Remedy> = all.collect();
        let most = all.iter().rev().max_by(|a, b| lift(a).total_cmp(&lift(b)))?;
        remedies.iter().position(|remedy| remedy.id == most.id)
    };
    let at = of(&mut typed()).or_else(|| of(&mut certain()))?;
    remedies.get(at)
}

/// A setting: its command stands by itself, or in words where it acts on another machine.
fn is_typed(remedy: &Remedy) -> bool {
    let names_one = |change: &String| change.contains("sysctl -w ");
    remedy.command.is_some() || remedy.change.as_ref().is_some_and(names_one)
}

/// How many times the limit that it lifts is higher with it; 1 where it lifts none.
fn lift(remedy: &Remedy) -> f64 {
    let limit = remedy.effects.iter().find(|effect| effect.what == "limit" && effect.before > 0.0);
    limit.map_or(1.0, |limit| limit.after / limit.before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::diagnose;
    use crate::diagnose::facts::{Facts, Ports, Source};
    use crate::diagnose::rules::tests::{full, with_tuple};

    fn exhausted() -> Facts {
        with_tuple(full(Ports { time_wait: 1000, ..Ports::default() }, 13))
    }

    #[test]
    fn what_can_be_typed_and_lifts_the_limit_most_comes_first() {
        let mut findings = diagnose(&exhausted());
        let lifted = |id: &str| findings[0].remedies.iter().find(|remedy| remedy.id == id).map(lift).unwrap();
        assert!(lifted("keep_alive") < lifted("tw_reuse") && lifted("tw_reuse") < lifted("port_range"));
        assert_eq!(first(&findings).map(|(finding, _)| finding.id), Some("ports_exhausted"));
        assert_eq!(first(&findings).unwrap().1.id, "port_range");
        // What nobody knows to help is not what to begin with.
        for remedy in findings[0].remedies.iter_mut().filter(|remedy| remedy.id == "port_range") {
            remedy.holds = Holds::Unknown;
        }
        assert_eq!(first(&findings).unwrap().1.id, "tw_reuse");
        findings[0].remedies.retain(|remedy| remedy.command.is_none());
        assert_eq!(first(&findings).unwrap().1.id, "keep_alive");
        findings[0].severity = Severity::Notice;
        assert_eq!(first(&findings), None);
    }

    #[test]
    fn of_a_recording_it_is_the_same() {
        let told = Facts { source: Source::Recording, ..exhausted() };
        let findings = diagnose(&told);
        let (_, remedy) = first(&findings).unwrap();
        assert_eq!((remedy.id, &remedy.command), ("port_range", &None));
    }
}
