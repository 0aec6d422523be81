//! Owns: waiting for a condition, by asking again until a deadline.
//! Must not know: what is waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything that the kernel does on its own account may take. Generous: emulated guests are slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two questions.
const STEP: Duration = Duration::from_millis(5);

/// Asks `probe` until it answers `Some`, for at most `patience`; an error of the probe ends the wait at once.
pub fn until<T>(what: &str, patience: Duration, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(STEP, what, patience, probe)
}

/// As [`until`], with `step` between two questions.
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
            bail!("waited {} s in vain for {what}", patience.as_secs());
        }
        std::thread::sleep(step);
    }
}

/// As [`until`], for a plain yes or no.
pub fn until_true(what: &str, patience: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, patience, || Ok(probe()?.then_some(())))
}
