//! Owns: the configuration of the kernel side, as it follows from the running kernel, a backend and what is wanted.
//! Must not know: programs, maps.

use twtrace_common::config::{Config, Symbols};

use super::backend::{Lacking, VERDICT_ANEW};
use super::running::Kernel;
use super::{Backend, Options};

/// Which of the kernel's helpers are used. Found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Helpers {
    /// The cookie of a socket (5.12) and the typed current task (5.11) as well.
    All,
    /// Those of 5.8.
    Old,
}

impl Kernel {
    /// The configuration for one attempt.
    pub(super) fn config(
        &self,
        backend: Backend,
        options: &Options,
        helpers: Helpers,
        lacking: &Lacking,
    ) -> Config {
        let blank = [0u8; size_of::<Config>()];
        let mut config: Config = twtrace_common::from_bytes(&blank).expect("the array has that size");
        self.types.resolved.fill(&mut config);
        config.symbols = *self.symbols.as_ref().unwrap_or(&Symbols::default());
        config.filter = options.filter.wire;
        self.numbers(options).fill(&mut config);
        config.track_live = options.filter.track_live.into();
        config.seed = seed();
        // An eighth of the ring, 512 KiB at most: late enough to be rare, early enough to leave the reader time. Up to five million bytes a
        // second the reader comes before that by its own clock.
        config.wakeup_bytes = u64::from(options.ring_bytes / 8).min(512 << 10).next_power_of_two();
        config.hz = self.hz;
        config.backend = backend.number();
        config.socket_cookie = (helpers == Helpers::All).into();
        config.task_btf = (helpers == Helpers::All).into();
        config.by_state = lacking.by_state;
        let has = |program| !lacking.programs.contains(&program);
        let sees = self.verdict_program().is_some_and(|verdict| has(verdict) && has(VERDICT_ANEW));
        config.sees_verdicts = (backend == Backend::Fentry && sees).into();
        config.debug_log = options.debug_log.into();
        config.times_connect = options.times_connect.into();
        config
    }
}

/// Random enough that nobody outside can choose connections whose keys collide.
fn seed() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
