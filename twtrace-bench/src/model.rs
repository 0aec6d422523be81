//! What was measured, as it is kept in `results.json` and as the page is made of it.
//!
//! Owns: the form of results. Must not know: how they came about, how they are shown.

use serde::{Deserialize, Serialize};

/// What runs beside the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arm {
    /// Nothing: what all ratios are to.
    Untraced,
    /// Nothing once more: how far two runs of the same thing are apart.
    Again,
    /// BPF programs that only return, where twtrace has its own: what the kernel itself takes for calling any.
    Floor,
    /// `twtrace events`.
    Events,
    /// `twtrace` without a terminal.
    Live,
    /// `twtrace record`.
    Record,
    /// `tcpstates` of libbpf-tools.
    Tcpstates,
    /// `tcplife` of libbpf-tools.
    Tcplife,
    /// A one-liner that counts.
    Bpftrace,
    /// `ss` every second.
    Ss,
}

impl Arm {
    /// All of them, in the order of tables.
    pub(crate) const ALL: [Self; 10] = [
        Self::Untraced,
        Self::Again,
        Self::Floor,
        Self::Events,
        Self::Live,
        Self::Record,
        Self::Tcpstates,
        Self::Tcplife,
        Self::Bpftrace,
        Self::Ss,
    ];
    /// The modes of twtrace.
    pub(crate) const TWTRACE: [Self; 3] = [Self::Events, Self::Live, Self::Record];

    /// Its name in tables and in the names of test cases.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Untraced => "untraced",
            Self::Again => "untraced again",
            Self::Floor => "floor",
            Self::Events => "twtrace events",
            Self::Live => "twtrace (live)",
            Self::Record => "twtrace record",
            Self::Tcpstates => "tcpstates",
            Self::Tcplife => "tcplife",
            Self::Bpftrace => "bpftrace",
            Self::Ss => "ss",
        }
    }

    /// Whether it is a mode of twtrace.
    pub(crate) fn is_twtrace(self) -> bool {
        Self::TWTRACE.contains(&self)
    }
}

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    /// What could not be measured.
    pub(crate) absent: Vec<Absent>,
    /// What was run, by what it is.
    pub(crate) commands: Vec<(String, String)>,
    pub(crate) loads: Vec<Load>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) programs: Vec<ProgramLoad>,
    pub(crate) idle: Vec<Idle>,
    /// What the live view costs: name, value, unit.
    pub(crate) screen: Vec<(String, String, String)>,
    /// What a report of a large recording costs, likewise.
    #[serde(default)]
    pub(crate) reports: Vec<(String, String, String)>,
    pub(crate) soak: Option<Soak>,
}

impl Results {
    /// Takes over what was not measured here.
    pub(crate) fn complete(&mut self, other: Self) {
        if self.screen.is_empty() {
            self.screen = other.screen;
        }
        if self.reports.is_empty() {
            self.reports = other.reports;
        }
        self.soak = self.soak.take().or(other.soak);
        self.settings.also.push(other.settings.command);
    }
}

/// How it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// As typed.
    pub(crate) command: String,
    /// Rounds of each load.
    pub(crate) rounds: usize,
    /// Length of a run of our own generator, in milliseconds.
    pub(crate) run_ms: u64,
    /// One short iteration: nothing to draw conclusions from.
    pub(crate) quick: bool,
    /// Only some of the measurements.
    pub(crate) partial: bool,
    /// How long it all took, in seconds.
    pub(crate) took_s: f64,
    /// Runs of their own, as typed, that measured what this one had not.
    #[serde(default)]
    pub(crate) also: Vec<String>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Name and value, in the order of the table.
    pub(crate) facts: Vec<(String, String)>,
    /// How twtrace attached.
    pub(crate) backend: String,
    /// CPUs that may be used.
    pub(crate) cpus: usize,
}

/// Something that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// One load with every arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Its name on the command line.
    pub(crate) name: String,
    /// What is counted by the second.
    pub(crate) unit: String,
    pub(crate) rounds: Vec<Round>,
}

/// The runs of one round, one for each arm in whatever order.
pub(crate) type Round = Vec<Sample>;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) arm: Arm,
    /// Connections or requests a second.
    pub(crate) speed: f64,
    /// How long the load took, in seconds.
    pub(crate) load_s: f64,
    /// Of the load's connect() calls; `None` where the load does not measure them.
    pub(crate) connect: Option<Connect>,
    /// TIME_WAIT sockets created by the kernel's counters; `None` before Linux 6.1, which counts something else.
    pub(crate) created: Option<u64>,
    /// Connections that got none because the table was full.
    pub(crate) overflow: u64,
    /// What the tracer took; `None` where there is none.
    pub(crate) bill: Option<Bill>,
}

/// Times of connect(), in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connect {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

/// What a tracer took, and what it told for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bill {
    /// From its start until its hooks were attached, in milliseconds; `None` where it has none.
    pub(crate) attach_ms: Option<f64>,
    /// CPU time from the start of the load until shortly after its end, in seconds.
    pub(crate) cpu_s: Option<f64>,
    /// Peak of its resident memory.
    pub(crate) rss_kib: Option<u64>,
    /// Memory of its BPF maps.
    pub(crate) maps_kib: Option<u64>,
    pub(crate) told: Told,
}

/// What a tracer told. `None` where it cannot know or does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// TIME_WAIT sockets that it saw being made.
    pub(crate) created: Option<u64>,
    /// Those of them whose owner it named rightly.
    pub(crate) right: Option<u64>,
    /// Events that it says it lost.
    pub(crate) lost: Option<u64>,
    /// Owners that it says it lost.
    pub(crate) owners_lost: u64,
    /// Runs of its hooks that it says the kernel skipped, each of which may have been an event or a part of one.
    pub(crate) missed_runs: u64,
    /// Lines or rows that it wrote.
    pub(crate) lines: Option<u64>,
    /// Bytes that it wrote.
    pub(crate) bytes: Option<u64>,
}

/// The same load at several sizes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// Its name on the command line, and of its plot.
    pub(crate) name: String,
    /// What grows.
    pub(crate) axis: String,
    pub(crate) points: Vec<Point>,
}

/// One size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    /// The size as asked for, in words.
    pub(crate) label: String,
    /// The size as reached: a median over all untraced runs.
    pub(crate) size: f64,
    pub(crate) rounds: Vec<Round>,
}

/// What each program took under one load, by the kernel's own statistics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProgramLoad {
    /// The load's name.
    pub(crate) load: String,
    /// Connections made.
    pub(crate) connections: u64,
    /// twtrace's programs.
    pub(crate) programs: Vec<Program>,
    /// Programs that only return, at the same places.
    pub(crate) floor: Vec<Program>,
}

/// One program under one load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// Where it is attached.
    pub(crate) target: String,
    pub(crate) runs: u64,
    pub(crate) run_ns: u64,
    /// Instructions that the verifier walked through; `None` before Linux 5.16.
    pub(crate) verified: Option<u64>,
    /// Its machine code.
    pub(crate) bytes: u64,
}

/// An arm on a machine on which nothing happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) arm: Arm,
    /// CPU time, in percent of one core.
    pub(crate) cpu_percent: f64,
    /// How often it slept and was woken, a second.
    pub(crate) wakeups: f64,
}

/// Memory over a long time at full rate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Soak {
    pub(crate) length_s: f64,
    /// Connections a second.
    pub(crate) speed: f64,
    pub(crate) modes: Vec<SoakMode>,
}

/// One mode of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SoakMode {
    pub(crate) arm: Arm,
    /// Seconds from the start, and resident memory in KiB.
    pub(crate) rss: Vec<(f64, u64)>,
    pub(crate) told: Told,
    /// TIME_WAIT sockets created by the kernel's counters.
    pub(crate) created: Option<u64>,
}
