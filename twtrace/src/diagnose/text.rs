//! Owns: findings as text for people, 80 columns wide.
//! Must not know: where it goes.

use textwrap::{Options, WordSplitter, wrap};

use super::facts::{Facts, Share, Source};
use super::finding::{Evidence, Finding, NotHere, Remedy, Severity};
use super::words::{count, grouped, process, short_time};
use crate::model::escape::{self, fit, printable};
use crate::model::figures::lasted;
use crate::output::paint::{Meaning, Paint};

/// Columns of a line, at most, where nothing says how many there are.
const COLUMNS: usize = 80;
/// Columns of a value of evidence.
const VALUES: usize = 9;
/// What stands below such a value and its two blanks.
const EVIDENCE_INDENT: &str = "               ";
/// Processes that a finding names.
const SHARES: usize = 5;
/// Findings that are told in full; the others have one line.
const FULL: usize = 12;

/// Text that grows by lines of so many columns.
struct WrappedText {
    text: String,
    columns: usize,
    paint: Paint,
}

impl WrappedText {
    fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// What follows is about this.
    fn title(&mut self, title: &str) {
        self.paint.put(Meaning::Label, title, &mut self.text);
        self.text.push('\n');
    }
}

/// The whole diagnosis.
pub fn report(facts: &Facts, findings: &[Finding], paint: Paint) -> String {
    report_on(facts, findings, WrappedText { text: String::new(), columns: COLUMNS, paint })
}

/// As [`report`], in lines of `columns` columns, without colours; what is to be typed stays as it is.
pub fn report_in(facts: &Facts, findings: &[Finding], columns: usize) -> String {
    let page = WrappedText { text: String::new(), columns: columns.max(20), paint: Paint::NONE };
    report_on(facts, findings, page)
}

fn report_on(facts: &Facts, findings: &[Finding], mut out: WrappedText) -> String {
    put_head(facts, findings, &mut out);
    put_first(findings, &mut out);
    for finding in findings.iter().take(FULL) {
        out.push_str("\n");
        put_finding(facts, finding, &mut out);
    }
    if findings.len() > FULL {
        out.push_str("\nand in short:\n");
        for finding in &findings[FULL..] {
            put_led(finding.severity, &format!("{}: {}", finding.id, finding.what), &mut out);
        }
    }
    if !(facts.unknown.is_empty() && facts.limitations.is_empty()) {
        out.push_str("\n");
        out.title("not known");
        facts
            .limitations
            .iter()
            .for_each(|limitation| put(&limitation.to_string(), "  - ", "    ", &mut out));
        facts.unknown.iter().for_each(|what| put(what, "  - ", "    ", &mut out));
    }
    out.text
}

fn put_head(facts: &Facts, findings: &[Finding], out: &mut WrappedText) {
    let found = findings.iter().filter(|finding| finding.severity != Severity::Fine).count() as u64;
    let watched = lasted(facts.observed_ms as f64 / 1000.0);
    let failures = match facts.failures_ms {
        Some(ms) => format!(" (failures: in {})", lasted(ms as f64 / 1000.0)),
        None => String::new(),
    };
    let early = if facts.stopped_early { " (stopped: the case is clear; --duration looks on)" } else { "" };
    let namespaces = count(facts.namespaces.len() as u64, "network namespace");
    let source = match facts.source {
        Source::Live => format!("{} backend", facts.backend),
        Source::Recording => format!("a recording by the {} backend", facts.backend),
        Source::View => "a live view".to_owned(),
        Source::Replay => format!("a recording of {}", facts.replayed),
    };
    let others = match facts.of_others {
        0 => String::new(),
        others => format!(" ({} of others left out)", grouped(others)),
    };
    let head = format!(
        "twtrace doctor: {}{others} in {watched}{failures}{early}, {namespaces}, {source}, lost {}",
        count(found, "finding"),
        grouped(facts.lost)
    );
    put(&head, "", "  ", out);
}

/// The one remedy to try first, before all the rest.
fn put_first(findings: &[Finding], out: &mut WrappedText) {
    let Some((finding, remedy)) = super::first(findings) else { return };
    out.push_str("\n");
    out.paint.put(Meaning::Title, "DO THIS FIRST", &mut out.text);
    out.push_str(&format!("  for {}\n", finding.id));
    put(&format!("{} ({})", remedy.title, remedy.id), "  ", "  ", out);
    put_deed(remedy, "  ", out);
}

fn put_finding(facts: &Facts, finding: &Finding, out: &mut WrappedText) {
    let netns =
        finding.subject.netns.map_or_else(String::new, |netns| format!("  netns {}", named(facts, netns)));
    put_led(finding.severity, &format!("{}{netns}", finding.id), out);
    put(&finding.what, "  ", "  ", out);
    if !finding.evidence.is_empty() {
        out.title("  evidence");
        finding.evidence.iter().for_each(|evidence| put_evidence(evidence, out));
    }
    if !finding.who.is_empty() {
        out.title("  who");
        put_shares(&finding.who, out);
    }
    if !finding.remedies.is_empty() {
        out.title("  what helps here");
        finding.remedies.iter().for_each(|remedy| put_remedy(remedy, out));
    }
    if !finding.not_here.is_empty() {
        out.title("  what does not help here");
        finding.not_here.iter().for_each(|not_here| put_not_here(not_here, out));
    }
    put(&format!("more: twtrace doctor explain {}", finding.id), "  ", "  ", out);
}

/// What a network namespace is called, escaped; its inode where it has no name.
fn named(facts: &Facts, netns: u32) -> String {
    let known = facts.namespaces.iter().find(|known| known.netns == netns);
    escape::netns(known.and_then(|known| known.name.as_deref()), netns)
}

/// A paragraph behind how bad it is.
fn put_led(severity: Severity, text: &str, out: &mut WrappedText) {
    let (label, start) = (severity.word().to_uppercase(), out.text.len());
    put(&format!("{label}  {text}"), "", "  ", out);
    let rest = out.text.split_off(start);
    out.paint.put(severity.into(), &label, &mut out.text);
    out.push_str(rest.strip_prefix(&label).unwrap_or(&rest));
}

fn put_evidence(evidence: &Evidence, out: &mut WrappedText) {
    let value = evidence.value.to_string();
    let first = format!("    {value:>VALUES$}  ");
    put(&format!("{} ({})", evidence.what, evidence.source), &first, EVIDENCE_INDENT, out);
}

/// Who does it, and how many more there are.
fn put_shares(shares: &[Share], out: &mut WrappedText) {
    for share in shares.iter().take(SHARES) {
        put(&told(share), "    ", "      ", out);
    }
    let rest = shares.len().saturating_sub(SHARES) as u64;
    if rest != 0 {
        put(&format!("and {} more", grouped(rest)), "    ", "      ", out);
    }
}

fn told(share: &Share) -> String {
    let mut parts = Vec::new();
    for (number, one, what) in [
        (share.time_wait, "TIME_WAIT socket", ""),
        (share.open, "open socket", ""),
        (share.created, "connection", " that it closed first"),
        (share.failed, "failed call", ""),
        (share.lost, "socket", " refused or ended by an RST"),
    ] {
        if number != 0 {
            parts.push(format!("{}{what}", count(number, one)));
        }
    }
    if let Some(habits) = share.habits {
        if let Some(age_us) = habits.age_us {
            parts.push(format!("half of its connections lived at most {}", short_time(age_us)));
        }
        if let Some((sent, received)) = habits.sent.zip(habits.received) {
            parts.push(format!(
                "half sent at most {} and received {}",
                count(sent, "byte"),
                count(received, "byte")
            ));
        }
    }
    let container = share
        .process
        .container
        .as_deref()
        .map_or_else(String::new, |container| format!(" in {}", printable(container)));
    format!("{}{container}: {}", process(&share.process), parts.join(", "))
}

fn put_remedy(remedy: &Remedy, out: &mut WrappedText) {
    put(&format!("{} ({})", remedy.title, remedy.id), "    * ", "      ", out);
    let holds = match remedy.holds {
        super::finding::Holds::Unknown => "may help",
        _ => "because",
    };
    put(&format!("{holds}: {}", remedy.because), "      ", "        ", out);
    put_deed(remedy, "      ", out);
}

/// What to do, what it comes to and what it may break.
fn put_deed(remedy: &Remedy, indent: &str, out: &mut WrappedText) {
    let below = format!("{indent}  ");
    if let Some(command) = &remedy.command {
        out.push_str(&format!("{indent}run:\n"));
        put_command(command, &below, out);
    }
    if let Some(change) = &remedy.change {
        put(&format!("do: {change}"), indent, &below, out);
    }
    for effect in &remedy.effects {
        put(&format!("then: {effect}"), indent, &below, out);
    }
    put(&format!("risk: {}", remedy.risk), indent, &below, out);
}

/// On a line of its own, so that it can be copied.
fn put_command(command: &str, indent: &str, out: &mut WrappedText) {
    let room = out.columns - indent.len();
    let options = Options::new(room - 2).word_splitter(WordSplitter::NoHyphenation).break_words(false);
    let whole = command.len() <= room;
    let lines = if whole { vec![command.into()] } else { wrap(command, options) };
    let last = lines.len() - 1;
    for (at, line) in lines.iter().enumerate() {
        out.push_str(if at == 0 { indent } else { "  " });
        out.push_str(if at == 0 { "" } else { indent });
        out.paint.put(Meaning::Good, line, &mut out.text);
        out.push_str(if at == last { "\n" } else { " \\\n" });
    }
}

fn put_not_here(not_here: &NotHere, out: &mut WrappedText) {
    put(&format!("{}: {} ({})", not_here.title, not_here.why, not_here.id), "    - ", "      ", out);
}

/// A paragraph. A word that is wider than a line is cut: only names of strangers and commands can be.
fn put(text: &str, first: &str, others: &str, out: &mut WrappedText) {
    let options = Options::new(out.columns)
        .initial_indent(first)
        .subsequent_indent(others)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    for line in wrap(text, options) {
        out.push_str(fit(line.trim_end(), out.columns).as_ref());
        out.push_str("\n");
    }
}
