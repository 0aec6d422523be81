//! How much is measured: sizes, lengths and numbers of rounds.
//!
//! Owns: these numbers. Must not know: how anything is measured.

/// How long an idle machine is watched where all is measured, in seconds, and how long a program runs before that.
pub(crate) const IDLE_S: u64 = 20;
pub(crate) const IDLE_AFTER_S: u64 = 10;

/// See the head of the file.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Rounds of everything that is compared.
    pub(crate) rounds: usize,
    /// Length of a run of a load, in milliseconds.
    pub(crate) run_ms: u64,
    /// Length of a run of what grows, in milliseconds.
    pub(crate) growth_ms: u64,
    /// The same of the rate: what a trace takes of the processor is that of one that goes on, and not of its first second.
    pub(crate) rate_ms: u64,
    /// Requests of the first run of a web server; how many are made later follows from its speed.
    pub(crate) requests: u64,
    /// How long a tracer is left alone once it is attached, before a load begins, in milliseconds: then what lives has been listed.
    pub(crate) settle_ms: u64,
    /// TIME_WAIT sockets there are when a load begins.
    pub(crate) full: u64,
    /// Connections a second; `None`: as many as can be.
    pub(crate) rates: [Option<u32>; 5],
    /// TIME_WAIT sockets that live.
    pub(crate) live: [u64; 3],
    /// Client processes.
    pub(crate) processes: [u32; 3],
    /// Connections a second while live sockets or processes grow.
    pub(crate) steady: u32,
    /// Whether all modes of twtrace are run beside what grows.
    pub(crate) all_modes: bool,
    /// Events of the recording that is reported.
    pub(crate) report_events: u64,
    /// How long the idle machine is watched, in milliseconds, and how long a program runs before that: it looks at more in its first seconds.
    pub(crate) idle_ms: u64,
    pub(crate) idle_after_ms: u64,
}

impl Plan {
    /// All of it.
    pub(crate) fn whole(rounds: usize) -> Self {
        Self {
            rounds,
            run_ms: 800,
            growth_ms: 1500,
            rate_ms: 4000,
            settle_ms: 1000,
            requests: 60_000,
            full: 90_000,
            rates: [Some(1000), Some(5000), Some(10_000), Some(20_000), None],
            live: [1000, 10_000, 100_000],
            processes: [10, 1000, 10_000],
            steady: 10_000,
            all_modes: true,
            report_events: 10_000_000,
            idle_ms: IDLE_S * 1000,
            idle_after_ms: IDLE_AFTER_S * 1000,
        }
    }

    /// One short iteration of everything: enough to see that it works.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 1,
            run_ms: 50,
            growth_ms: 50,
            rate_ms: 50,
            settle_ms: 0,
            requests: 500,
            full: 500,
            rates: [Some(200), Some(500), Some(1000), Some(2000), None],
            live: [100, 300, 1000],
            processes: [3, 11, 101],
            steady: 1000,
            all_modes: false,
            report_events: 10_007,
            idle_ms: 100,
            idle_after_ms: 0,
        }
    }
}
