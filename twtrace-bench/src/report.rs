//! What is said while measuring: progress on stderr, and, of a quick run, each benchmark as a test case on stdout.
//!
//! Owns: the form of test cases, which `cargo xtask test` reads. Must not know: what is measured.

use anyhow::Result;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Report {
    quick: bool,
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Report {
    /// Of a quick run failures are results, of any other they end it.
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, ..Self::default() }
    }

    /// Whether failures are results.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// Something came out so. `None` where it failed and that is a result.
    ///
    /// # Errors
    /// The failure, where it is none.
    pub(crate) fn case<T>(&mut self, name: &str, outcome: Result<T>) -> Result<Option<T>> {
        if !self.quick {
            return outcome.map(Some);
        }
        match outcome {
            Ok(value) => {
                println!("test bench::{name} ... ok");
                self.passed += 1;
                Ok(Some(value))
            }
            Err(error) => {
                println!("test bench::{name} ... FAILED");
                format!("{error:#}").lines().for_each(|line| println!("    {line}"));
                self.failed += 1;
                Ok(None)
            }
        }
    }

    /// Something cannot be measured here.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        let reason = reason.lines().collect::<Vec<_>>().join("; ");
        if self.quick {
            // The first word is the kind of reason, as the scenarios have it: the other program is not there, or does not run here.
            println!("test bench::{name} ... skipped: program: {reason}");
        } else {
            eprintln!("bench: without {name}: {reason}");
        }
        self.skipped += 1;
    }

    /// For whoever watches.
    pub(crate) fn progress(&self, line: &str) {
        if !self.quick {
            eprintln!("bench: {line}");
        }
    }

    /// The last line of a quick run. Whether nothing failed.
    pub(crate) fn close(&self) -> bool {
        if self.quick {
            println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        }
        self.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_failure_is_a_result_of_a_quick_run_and_the_end_of_any_other() {
        let mut quick = Report::new(true);
        assert_eq!(quick.case("a", Ok(7)).unwrap(), Some(7));
        assert_eq!(quick.case::<u8>("b", Err(anyhow!("broken"))).unwrap(), None);
        assert!(!quick.close());
        assert!(Report::new(false).case::<u8>("b", Err(anyhow!("broken"))).is_err());
        assert!(Report::new(false).close());
    }
}
