//! Waiting for a condition, by asking again until a deadline.
//!
//! Owns: how often is asked, and for how long. Must not know: what is waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take that others do on their own account, the kernel or another process. Generous: emulated guests are slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two questions.
const STEP: Duration = Duration::from_millis(5);

/// Asks `probe` until it answers `Some`, for at most `patience`.
///
/// # Errors
/// Where no answer comes in time; `what` says what was waited for. An error of the probe ends the wait at once.
pub fn until<T>(what: &str, patience: Duration, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(STEP, what, patience, probe)
}

/// As [`until`], with `step` between two questions.
///
/// # Errors
/// As [`until`].
pub fn until_every<T>(
    step: Duration,
    what: &str,
    patience: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", patience.as_secs_f64());
        }
        // poll: files and other processes' states have no event that all kernels offer.
        std::thread::sleep(step);
    }
}

/// As [`until`], for a plain yes or no.
///
/// # Errors
/// As [`until`].
pub fn until_true(what: &str, patience: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, patience, || Ok(probe()?.then_some(())))
}

/// Lets time pass.
pub fn pass(time: Duration) {
    // poll: nothing is waited for; the time itself is what is wanted, as the length of a measurement.
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_in_vain_is_named() {
        let error =
            until_true("pigs to fly", Duration::from_millis(7), || Ok(false)).unwrap_err().to_string();
        assert_eq!(error, "waited 0.007 s in vain for pigs to fly");
    }

    #[test]
    fn an_answer_or_an_error_ends_the_wait() {
        let mut left = 3;
        let counted = until_every(Duration::ZERO, "nothing to be left", PATIENCE, || {
            left -= 1;
            Ok((left == 0).then_some("done"))
        });
        assert_eq!(counted.unwrap(), "done");
        let broken = until_true("what never comes", PATIENCE, || bail!("broken"));
        assert_eq!(broken.unwrap_err().to_string(), "broken");
    }
}
