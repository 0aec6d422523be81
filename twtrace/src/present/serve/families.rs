//! Owns: which metrics there are, what they are called, and what they mean in words.
//! Must not know: in which format they go out.

use super::busiest;
use super::metrics::Family;
use super::picture::Picture;
use super::tally::Tallied;
use crate::engine::Counts;
use crate::host::usage::Usage;
use crate::model::event::{Loss, Reason};

/// What the one who answers counts of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    /// Connections that were refused for want of room.
    pub(super) refused: u64,
    /// Connections that were to be by TLS and came to nothing.
    pub(super) failed_handshakes: u64,
    /// Answers by their status.
    pub(super) answers: Vec<(u16, u64)>,
    /// What was exported, where something is.
    pub(super) exported: Option<Exported>,
}

/// What became of what was to be exported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exported {
    /// The last attempt succeeded.
    pub(super) is_up: bool,
    /// Attempts that did not.
    pub(super) failures: u64,
    /// Data points that were taken, and lost.
    pub(super) points: (u64, u64),
    /// Findings that were taken, and lost.
    pub(super) findings: (u64, u64),
}

/// Everything that is told of a picture, the `top` busiest told apart.
pub(super) fn families(picture: &Picture, usage: &Usage, served: &Served, top: usize) -> Vec<Family> {
    let mut all = totals(picture);
    let Tallied { owners, dealings, containers, .. } = &picture.tallied;
    all.extend(busiest::owners(owners, containers));
    all.extend(busiest::dealings(dealings, containers));
    all.push(busiest::containers(owners, containers));
    all.extend(busiest::pools(&picture.snapshot, top));
    all.extend(busiest::namespaces(&picture.snapshot, top));
    all.push(findings(picture));
    all.extend(lost(picture));
    all.extend(recording(picture));
    all.extend(served.exported.iter().flat_map(exported));
    all.extend(agent(picture, usage, served));
    all
}

fn totals(picture: &Picture) -> Vec<Family> {
    let tallied = &picture.tallied;
    let Counts { created, listed, overflow, aborted, syn_refused, .. } = tallied.total;
    let mut ended = Family::counter(
        "twtrace_sockets_ended",
        "TIME_WAIT sockets that went away, by reason: expired is the usual one, all others are early.",
    );
    for reason in Reason::ALL {
        ended.put(&[("reason", reason.word())], tallied.total.ended_for(*reason));
    }
    let mut connect = Family::counter(
        "twtrace_connect_failures",
        "Calls of connect() that failed, by errno; EADDRNOTAVAIL: no port was left. Others than those of ports with --failures all only.",
    );
    let mut bind = Family::counter(
        "twtrace_bind_failures",
        "Calls of bind() and listen() that failed, by errno; EADDRINUSE: somebody has the port.",
    );
    for (family, failed) in [(&mut connect, &tallied.connect_failed), (&mut bind, &tallied.bind_failed)] {
        for (errno, count) in failed {
            family.put(&[("errno", errno.word())], *count);
        }
    }
    let memory = Family::gauge(
        "twtrace_sockets_memory_bytes",
        "Kernel memory of all TIME_WAIT sockets of the machine; not there where it may not be read.",
    );
    vec![
        Family::gauge("twtrace_sockets_live", "TIME_WAIT sockets that exist now.").of(tallied.live),
        Family::counter("twtrace_sockets_created", "TIME_WAIT sockets that the kernel made.").of(created),
        Family::counter(
            "twtrace_sockets_listed",
            "TIME_WAIT sockets that were there when they were first looked for: created + listed - ended is what is live.",
        )
        .of(listed),
        ended,
        Family::counter(
            "twtrace_overflows",
            "Connections that ended without a TIME_WAIT socket because tcp_max_tw_buckets were there.",
        )
        .of(overflow),
        Family::counter(
            "twtrace_connections_aborted",
            "Connections that this host ended with a reset: no TIME_WAIT socket follows.",
        )
        .of(aborted),
        Family::counter(
            "twtrace_syns_refused",
            "SYNs that met a TIME_WAIT socket and were turned away; with the fentry backend only.",
        )
        .of(syn_refused),
        connect,
        bind,
        picture.slab_bytes.into_iter().fold(memory, Family::of),
    ]
}

fn findings(picture: &Picture) -> Family {
    let mut family = Family::gauge(
        "twtrace_findings",
        "What the doctor finds of late, by finding and severity, which is fine where nothing is wrong: /findings has the words.",
    );
    let mut counts = std::collections::BTreeMap::new();
    for finding in &picture.diagnosis().1 {
        *counts.entry((finding.id, finding.severity.word())).or_insert(0_u64) += 1 + finding.alike;
    }
    for ((id, severity), count) in counts {
        family.put(&[("id", id), ("severity", severity)], count);
    }
    family
}

fn lost(picture: &Picture) -> Vec<Family> {
    let loss = &picture.tallied.total.loss;
    let Loss { created, ended, overflow, connect_failed, bind_failed, aborted, syn_refused, missed, .. } =
        *loss;
    let mut lost = Family::counter(
        "twtrace_events_lost",
        "Events that did not make it from the kernel, by kind; missed: births that the kernel counted and no hook saw.",
    );
    for (event, count) in [
        ("created", created),
        ("ended", ended),
        ("overflow", overflow),
        ("connect_failed", connect_failed),
        ("bind_failed", bind_failed),
        ("aborted", aborted),
        ("syn_refused", syn_refused),
        ("missed", missed),
    ] {
        lost.put(&[("event", event)], count);
    }
    let mut limited = Family::gauge(
        "twtrace_limitation",
        "1 for each thing that cannot be seen on this machine; the log and /findings say why, and what would help.",
    );
    let mut what: Vec<String> = picture.limitations.iter().map(|limitation| limitation.what.id()).collect();
    what.sort_unstable();
    what.dedup();
    what.iter().for_each(|what| limited.put(&[("what", what)], 1_u64));
    vec![
        lost,
        Family::counter("twtrace_owners_lost", "Events that came without their owner, for want of room.")
            .of(loss.owners),
        Family::counter(
            "twtrace_hook_runs_skipped",
            "Runs of hooks that the kernel skipped: each may have been an event.",
        )
        .of(loss.missed_runs),
        limited,
    ]
}

fn recording(picture: &Picture) -> Vec<Family> {
    let Some(state) = &picture.recording else { return Vec::new() };
    vec![
        Family::gauge(
            "twtrace_recording_up",
            "Whether events are being recorded: 0 while the disk does not take them.",
        )
        .of(u64::from(state.is_up)),
        Family::counter(
            "twtrace_recording_failures",
            "Times that recording stopped because a file could not be written.",
        )
        .of(state.failures),
        Family::counter("twtrace_recording_events", "Events that were recorded.").of(state.events),
        Family::counter(
            "twtrace_recording_missed_events",
            "Events that are in no recording: none could be written, or not as fast as they came.",
        )
        .of(state.missed),
        Family::counter("twtrace_recording_bytes", "Bytes that were written to recordings.").of(state.bytes),
    ]
}

fn exported(exported: &Exported) -> Vec<Family> {
    let ((points, points_lost), (findings, findings_lost)) = (exported.points, exported.findings);
    vec![
        Family::gauge("twtrace_otlp_up", "Whether the OTLP endpoint took what it was sent last.")
            .of(u64::from(exported.is_up)),
        Family::counter("twtrace_otlp_failures", "Attempts to export that failed; most are repeated.")
            .of(exported.failures),
        Family::counter("twtrace_otlp_points_sent", "Data points that the OTLP endpoint took.").of(points),
        Family::counter("twtrace_otlp_points_lost", "Data points that never came to the OTLP endpoint.")
            .of(points_lost),
        Family::counter("twtrace_otlp_findings_sent", "Findings that the OTLP endpoint took.").of(findings),
        Family::counter("twtrace_otlp_findings_lost", "Findings that never came to the OTLP endpoint.")
            .of(findings_lost),
    ]
}

fn agent(picture: &Picture, usage: &Usage, served: &Served) -> Vec<Family> {
    let mut build = Family::gauge("twtrace_build_info", "1, with the version of twtrace.");
    build.put(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64);
    let mut backend = Family::gauge("twtrace_backend_info", "1, with the backend that tells the events.");
    backend.put(&[("backend", picture.backend)], 1_u64);
    let mut answers = Family::counter("twtrace_http_answers", "Answers to HTTP requests, by status.");
    for (status, count) in &served.answers {
        answers.put(&[("code", &status.to_string())], *count);
    }
    let measured =
        |name, help, value: Option<f64>| value.into_iter().fold(Family::gauge(name, help), Family::of);
    vec![
        build,
        backend,
        Family::gauge("twtrace_ring_size_bytes", "Memory between the kernel and twtrace.")
            .of(picture.health.ring_bytes),
        Family::gauge("twtrace_ring_used_bytes", "The most of it that was in use within the last second.")
            .of(picture.health.ring_used_bytes),
        Family::counter(
            "twtrace_http_connections_refused",
            "Connections that were closed unheard because too many were open.",
        )
        .of(served.refused),
        Family::counter(
            "twtrace_tls_handshakes_failed",
            "Connections that ended before TLS was agreed upon: no TLS, a certificate that does not hold, a client that went away.",
        )
        .of(served.failed_handshakes),
        answers,
        Family::counter(
            "process_cpu_seconds",
            "CPU time that twtrace took, in user space and for its calls.",
        )
        .of(usage.cpu_s),
        measured(
            "process_resident_memory_bytes",
            "Memory of twtrace.",
            usage.resident_bytes.map(|bytes| bytes as f64),
        ),
        measured(
            "process_open_fds",
            "File descriptors of twtrace.",
            usage.open_fds.map(|count| count as f64),
        ),
        measured("process_max_fds", "The most that it may have.", usage.max_fds.map(|count| count as f64)),
        Family::gauge("process_start_time_seconds", "When twtrace started, in seconds since 1970.")
            .of(usage.started_s),
    ]
}
