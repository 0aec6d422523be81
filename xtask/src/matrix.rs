//! The table of kernels and backends.
//!
//! Owns: how results of many runs are added up and shown. Must not know: where they come from.

use crate::scenarios::{Outcome, Run, Tally};
use std::collections::BTreeMap;

/// Characters of a line in the lists.
const LINE: usize = 600;

/// How one backend did on one kernel.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// The scenarios ran.
    Ran(Run),
    /// The backend does not work there, as is known; the reason.
    Cannot(String),
    /// The run itself failed; why.
    Broken(String),
}

impl Cell {
    fn tally(&self) -> Tally {
        match self {
            Cell::Ran(run) => run.tally(),
            Cell::Cannot(_) => Tally { skipped: 1, ..Tally::default() },
            Cell::Broken(_) => Tally { failed: 1, ..Tally::default() },
        }
    }
}

/// A kernel in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    kernel: String,
    /// What was done to the machine; empty where nothing was.
    state: String,
    /// Whether tracefs was mounted.
    tracefs: bool,
}

impl Machine {
    pub(crate) fn new(kernel: &str, state: &str, tracefs: bool) -> Machine {
        Machine { kernel: kernel.to_owned(), state: state.to_owned(), tracefs }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.state.as_str() {
            "" | "plain" => f.write_str(&self.kernel),
            state => write!(f, "{} {state}", self.kernel),
        }
    }
}

/// All results, in the order in which they were added.
#[derive(Default)]
pub(crate) struct Matrix {
    rows: Vec<(Machine, String, Cell)>,
    problems: Vec<(Machine, String)>,
}

impl Matrix {
    /// Adds a result.
    pub(crate) fn add(&mut self, machine: &Machine, backend: &str, cell: Cell) {
        self.rows.push((machine.clone(), backend.to_owned(), cell));
    }

    /// Adds failures of a kernel that are no backend's.
    pub(crate) fn problems(&mut self, machine: &Machine, problems: &[String]) {
        self.problems.extend(problems.iter().map(|problem| (machine.clone(), problem.clone())));
    }

    /// Takes over another matrix's results.
    pub(crate) fn append(&mut self, other: Matrix) {
        self.rows.extend(other.rows);
        self.problems.extend(other.problems);
    }

    /// The sum; a problem and a broken run count as one failure each.
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = Tally { failed: self.problems.len() as u64, ..Tally::default() };
        for (_, _, cell) in &self.rows {
            sum += cell.tally();
        }
        sum
    }

    /// Markdown: the table, then what was skipped and why, what was played a second time and why, and what failed.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| kernel | state | tracefs | backend | passed | failed | skipped |\n|---|---|---|---|---:|---:|---:|\n",
        );
        for (machine, backend, cell) in &self.rows {
            let sum = cell.tally();
            let row = format!(
                "| {} | {} | {} | {backend} | {} | {} | {} |\n",
                plain(&machine.kernel),
                plain(&machine.state),
                if machine.tracefs { "mounted" } else { "no" },
                sum.passed,
                sum.failed,
                sum.skipped
            );
            text.push_str(&row);
        }
        text + &list("Skipped", &self.skips())
            + &list("Played again, by itself, as it had failed", &self.again())
            + &list("Failed", &self.failures())
    }

    /// One line for each scenario that was played a second time.
    fn again(&self) -> Vec<String> {
        let of = |(machine, _, cell): &(Machine, String, Cell)| match cell {
            Cell::Ran(Run::Done { again, .. }) => {
                again.iter().map(|why| format!("{machine}: {why}")).collect()
            }
            _ => Vec::new(),
        };
        self.rows.iter().flat_map(of).collect()
    }

    /// One line for each scenario and reason, naming where it was skipped.
    fn skips(&self) -> Vec<String> {
        let mut skips: BTreeMap<(&str, &str), Vec<(&Machine, &str)>> = BTreeMap::new();
        for (kernel, backend, cell) in &self.rows {
            match cell {
                Cell::Broken(_) | Cell::Ran(Run::Cannot(_)) => {}
                Cell::Cannot(reason) => skips.entry(("all", reason)).or_default().push((kernel, backend)),
                Cell::Ran(Run::Done { cases, .. }) => {
                    for case in cases {
                        if let Outcome::Skipped(reason) = &case.outcome {
                            skips.entry((&case.name, reason)).or_default().push((kernel, backend));
                        }
                    }
                }
            }
        }
        skips.iter().map(|((name, why), at)| format!("{name}: {why} ({})", self.shortened(at))).collect()
    }

    /// One line for each failure.
    fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (kernel, backend, cell) in &self.rows {
            match cell {
                Cell::Cannot(_) => {}
                Cell::Broken(why) | Cell::Ran(Run::Cannot(why)) => {
                    failures.push(format!("{kernel} {backend}: {why}"))
                }
                Cell::Ran(run) => {
                    failures.extend(run.failures().iter().map(|why| format!("{kernel} {backend}: {why}")));
                }
            }
        }
        failures.extend(self.problems.iter().map(|(machine, problem)| format!("{machine}: {problem}")));
        failures
    }

    /// Machines as people would say them: one alone where all its backends are meant.
    fn shortened(&self, machines: &[(&Machine, &str)]) -> String {
        let all = |machine: &Machine| self.rows.iter().filter(|(other, ..)| other == machine).count();
        let mut words: Vec<String> = Vec::new();
        for (machine, _) in machines {
            let backends: Vec<&str> =
                machines.iter().filter(|(other, _)| other == machine).map(|(_, b)| *b).collect();
            let word = match backends.len() {
                n if n == all(machine) => machine.to_string(),
                _ => format!("{machine} {}", backends.join(" ")),
            };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(", ")
    }
}

fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("- {}\n", plain(line))).collect();
    format!("\n{title}:\n\n{items}")
}

/// Text from a guest's console, without what would act on a terminal or break a table, and no longer than a reader of the list bears:
/// the scenario's own lines in the log have all of it.
fn plain(text: &str) -> String {
    let shown = text.chars().take(LINE).map(|c| if c.is_control() || c == '|' { '?' } else { c });
    shown.chain(text.chars().nth(LINE).map(|_| '…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::Case;

    fn case(name: &str, outcome: Outcome) -> Case {
        Case { backend: "kprobe".to_owned(), name: name.to_owned(), outcome }
    }

    fn machine() -> Machine {
        Machine::new("5.10", "no-tracefs", false)
    }

    fn matrix() -> Matrix {
        let cases = vec![
            case("close", Outcome::Passed),
            case("killed", Outcome::Skipped("no ss -K".to_owned())),
            case("reset", Outcome::Failed(vec!["1 instead of 2".to_owned()])),
        ];
        let mut matrix = Matrix::default();
        let machine = machine();
        matrix.add(
            &machine,
            "kprobe",
            Cell::Ran(Run::Done {
                cases,
                problems: vec!["exited with 9".to_owned()],
                again: vec!["kprobe::close ... late".to_owned()],
            }),
        );
        matrix.add(&machine, "fentry", Cell::Broken("was not run".to_owned()));
        matrix.problems(&machine, &["Kernel panic\x1b[2J".to_owned()]);
        matrix
    }

    #[test]
    fn everything_counts_once() {
        assert_eq!(matrix().tally(), Tally { passed: 1, failed: 4, skipped: 1 });
    }

    #[test]
    fn a_kernel_stands_for_all_its_backends() {
        let matrix = matrix();
        let machine = machine();
        assert_eq!(matrix.shortened(&[(&machine, "kprobe"), (&machine, "fentry")]), "5.10 no-tracefs");
        assert_eq!(matrix.shortened(&[(&machine, "kprobe")]), "5.10 no-tracefs kprobe");
    }

    #[test]
    fn the_table_names_each_skip_and_each_failure() {
        let text = matrix().table();
        assert!(text.contains("| 5.10 | no-tracefs | no | kprobe | 1 | 2 | 1 |\n"), "{text}");
        assert!(text.contains("- killed: no ss -K (5.10 no-tracefs kprobe)\n"), "{text}");
        assert!(text.contains("- 5.10 no-tracefs: kprobe::close ... late\n"), "{text}");
        for failure in [
            "5.10 no-tracefs kprobe: reset: 1 instead of 2",
            "5.10 no-tracefs kprobe: exited with 9",
            "fentry: was not run",
            "Kernel panic?[2J",
        ] {
            assert!(text.contains(failure), "{failure} in {text}");
        }
    }
}
