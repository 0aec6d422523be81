//! Reading what `twtrace-scenarios run` prints.
//!
//! Owns: the format of its lines and what makes a run a failure. Must not know: where it ran.
//!
//! One line a scenario, `test [LABEL::]BACKEND::NAME ... ok|FAILED|skipped: reason`, indented lines that say why one
//! failed, before it `again [LABEL::]BACKEND::NAME ... reason` where it was played a second time, and at the end
//! `N passed, N failed, N skipped`.

use std::fmt;
use std::ops::AddAssign;

use twtrace_kit::Cannot;

/// What a machine may lack for a scenario to be skipped, as twtrace-scenarios' `limits` has it: what stands before a reason.
const LACKS: [&str; 4] = ["speed", "kernel", "terminal", "program"];

/// Lines of a refusal that are repeated, at most.
const REASON_LINES: usize = 6;

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Tally {
    /// Reads `N passed, N failed, N skipped`, as `Display` writes it.
    pub(crate) fn parse(line: &str) -> Option<Tally> {
        let mut parts = line.trim().split(", ");
        let mut count = |word: &str| parts.next()?.strip_suffix(word)?.strip_suffix(' ')?.parse().ok();
        let tally = Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
        parts.next().is_none().then_some(tally)
    }
}

/// How one scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With the lines that say why.
    Failed(Vec<String>),
    Skipped(String),
}

/// One scenario with one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) backend: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

impl Case {
    /// Reads one line, if it is a scenario's.
    pub(crate) fn parse(line: &str) -> Option<Case> {
        let (id, outcome) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
        let (cell, name) = id.rsplit_once("::")?;
        let backend = cell.rsplit_once("::").map_or(cell, |(_, backend)| backend);
        let outcome = match outcome.split_once(':').map_or((outcome, ""), |(word, rest)| (word, rest.trim()))
        {
            ("ok", _) => Outcome::Passed,
            ("skipped", reason) => Outcome::Skipped(reason.to_owned()),
            (word, _) if word.starts_with("FAILED") => Outcome::Failed(Vec::new()),
            _ => return None,
        };
        Some(Case { backend: backend.to_owned(), name: name.to_owned(), outcome })
    }

    fn is_skipped_without_cause(&self) -> Option<String> {
        let Outcome::Skipped(reason) = &self.outcome else { return None };
        let (lack, rest) = reason.split_once(':').unwrap_or((reason, ""));
        let is_caused = LACKS.contains(&lack) && !rest.trim().is_empty();
        (!is_caused).then(|| format!("{} was skipped for no known kind of reason: {reason}", self.name))
    }
}

/// What a step that counts came to.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) tally: Tally,
    /// One line for each that failed.
    pub(crate) failures: Vec<String>,
}

/// What one run of the scenarios came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// They ran. `problems` are failures beyond those of single scenarios; `again` says which were played a second time, and why.
    Done { cases: Vec<Case>, problems: Vec<String>, again: Vec<String> },
    /// This machine cannot run them with this backend; the reason.
    Cannot(String),
}

impl Run {
    /// Judges the output and the exit status (`None`: it never ended) of a run.
    pub(crate) fn judge(text: &str, exit: Option<i32>) -> Run {
        let cases = cases(text);
        if exit == Some(Cannot::STATUS.into()) {
            return Run::Cannot(last_words(text));
        }
        let counted = tally(&cases);
        let mut problems = Vec::new();
        match exit {
            None => problems.push("did not end".to_owned()),
            Some(0) if counted.failed > 0 => problems.push("failed, yet exited with 0".to_owned()),
            Some(code) if code != 0 && counted.failed == 0 => {
                problems.push(format!("exited with {code}: {}", last_words(text)));
            }
            Some(_) => {}
        }
        match text.lines().rev().find_map(Tally::parse) {
            Some(closing) if closing == counted => {}
            Some(closing) => {
                problems.push(format!("its closing line says {closing}, its lines say {counted}"))
            }
            None => problems.push("has no closing line".to_owned()),
        }
        problems.extend(cases.iter().filter_map(Case::is_skipped_without_cause));
        if cases.is_empty() {
            problems.push("ran no scenario".to_owned());
        }
        let again =
            text.lines().filter_map(|line| line.trim().strip_prefix("again ")).map(str::to_owned).collect();
        Run::Done { cases, problems, again }
    }

    /// One line for each failure: the scenario with its reasons, then what is wrong with the run as a whole.
    pub(crate) fn failures(&self) -> Vec<String> {
        let Run::Done { cases, problems, .. } = self else { return Vec::new() };
        let of = |case: &Case| match &case.outcome {
            Outcome::Failed(reasons) => Some(format!("{}: {}", case.name, reasons.join("; "))),
            _ => None,
        };
        cases.iter().filter_map(of).chain(problems.iter().cloned()).collect()
    }

    /// What it counts for: each problem is a failure.
    pub(crate) fn tally(&self) -> Tally {
        match self {
            Run::Cannot(_) => Tally::default(),
            Run::Done { cases, problems, .. } => {
                let mut sum = tally(cases);
                sum.failed += problems.len() as u64;
                sum
            }
        }
    }
}

/// What a program said last, in one line: the reason of a refusal is followed by its remedy.
fn last_words(text: &str) -> String {
    let says = |line: &&str| !line.is_empty() && Tally::parse(line).is_none();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(says).collect();
    let after_cases = lines.iter().rposition(|line| Case::parse(line).is_some()).map_or(0, |last| last + 1);
    let start = after_cases.max(lines.len().saturating_sub(REASON_LINES));
    if start == lines.len() { "no reason given".to_owned() } else { lines[start..].join("; ") }
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(case) = Case::parse(line) {
            cases.push(case);
        } else if let Some(Case { outcome: Outcome::Failed(reasons), .. }) = cases.last_mut()
            && line.starts_with("    ")
        {
            reasons.push(line.trim().to_owned());
        }
    }
    cases
}

fn tally(cases: &[Case]) -> Tally {
    let mut sum = Tally::default();
    for case in cases {
        match case.outcome {
            Outcome::Passed => sum.passed += 1,
            Outcome::Failed(_) => sum.failed += 1,
            Outcome::Skipped(_) => sum.skipped += 1,
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "noise\nagain kprobe::close ... too late\ntest kprobe::close ... ok\r\ntest kprobe::killed ... skipped: kernel: 5.10 has no ss -K\n\
                        2 tests\n1 passed, 0 failed, 1 skipped\r\n";

    fn problems(run: Run) -> Vec<String> {
        match run {
            Run::Done { problems, .. } => problems,
            Run::Cannot(reason) => panic!("cannot: {reason}"),
        }
    }

    #[test]
    fn lines_are_read_and_add_up() {
        let run = Run::judge(GOOD, Some(0));
        assert_eq!(run.tally(), Tally { passed: 1, failed: 0, skipped: 1 });
        let Run::Done { cases, problems, again } = run else { panic!() };
        assert_eq!(again, ["kprobe::close ... too late"]);
        assert_eq!(cases[1].outcome, Outcome::Skipped("kernel: 5.10 has no ss -K".to_owned()));
        assert_eq!((cases[0].backend.as_str(), cases[0].name.as_str()), ("kprobe", "close"));
        assert!(problems.is_empty());
    }

    #[test]
    fn a_label_is_not_the_backend_and_reasons_belong_to_the_failure_above() {
        let text = "test 5.10::kprobe::reset ... FAILED\n    ended: 1 instead of 2\n    late\n\
                    test 5.10::kprobe::close ... ok\n    not a reason\n1 passed, 1 failed, 0 skipped\n";
        let Run::Done { cases, problems, .. } = Run::judge(text, Some(1)) else { panic!() };
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((cases[0].backend.as_str(), cases[0].name.as_str()), ("kprobe", "reset"));
        let reasons = ["ended: 1 instead of 2", "late"].map(str::to_owned);
        assert_eq!(cases[0].outcome, Outcome::Failed(reasons.to_vec()));
        assert_eq!(cases[1].outcome, Outcome::Passed);
    }

    #[test]
    fn a_run_that_is_cut_off_or_lies_is_a_failure() {
        assert_eq!(problems(Run::judge(GOOD, None)), ["did not end"]);
        assert_eq!(problems(Run::judge(GOOD, Some(1))), ["exited with 1: 2 tests"]);
        let died = "test a::b ... skipped: speed: slow\nno nginx\n";
        assert_eq!(problems(Run::judge(died, Some(1)))[0], "exited with 1: no nginx");
        assert_eq!(problems(Run::judge("test a::b ... ok\n", Some(0))), ["has no closing line"]);
        let failed = "test a::b ... FAILED\n0 passed, 1 failed, 0 skipped\n";
        assert!(problems(Run::judge(failed, Some(1))).is_empty());
        assert_eq!(problems(Run::judge(failed, Some(0))), ["failed, yet exited with 0"]);
        let wrong = "test a::b ... ok\n2 passed, 0 failed, 0 skipped\n";
        assert_eq!(problems(Run::judge(wrong, Some(0))).len(), 1);
        assert_eq!(problems(Run::judge("0 passed, 0 failed, 0 skipped\n", Some(0))), ["ran no scenario"]);
        for reason in ["", " no idea", " kernel:"] {
            let text = format!("test a::b ... skipped:{reason}\n0 passed, 0 failed, 1 skipped\n");
            assert_eq!(problems(Run::judge(&text, Some(0))).len(), 1, "{text}");
        }
    }

    #[test]
    fn exit_77_gives_what_was_said_last_as_the_reason() {
        let text = "test kprobe::a ... skipped: no ss -K\nno kprobes here\nremedy: none\n\n";
        assert_eq!(Run::judge(text, Some(77)), Run::Cannot("no kprobes here; remedy: none".to_owned()));
        assert_eq!(Run::judge("\n", Some(77)), Run::Cannot("no reason given".to_owned()));
    }

    #[test]
    fn what_only_looks_like_a_line_is_none() {
        assert_eq!(Case::parse("test result: ok. 3 passed; 0 failed"), None);
        assert_eq!(Case::parse("test tests::unit ... bench"), None);
        assert_eq!(Tally::parse("1 passed, 2 failed"), None);
        assert_eq!(Tally::parse("1 passed, 2 failed, 3 skipped, 4 more"), None);
    }
}
