//! Owns: findings as text for people, 80 columns wide.
//! Must not know: where it goes.

use textwrap::{Options, WordSplitter, wrap};

use super::facts::{Facts, Share, Source};
use super::finding::{Evidence, Finding, NotHere, Remedy, Severity};
use super::words::{count, number, process, short_time};
use crate::model::escape::fit;

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
struct Page {
    text: String,
    columns: usize,
}

impl Page {
    fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// The whole diagnosis.
pub fn report(facts: &Facts, findings: &[Finding]) -> String {
    report_in(facts, findings, COLUMNS)
}

/// As [`report`], in lines of `columns` columns; what is to be typed stays as it is.
pub fn report_in(facts: &Facts, findings: &[Finding], columns: usize) -> String {
    let mut out = Page { text: String::new(), columns: columns.max(20) };
    put_head(facts, findings, &mut out);
    for finding in findings.iter().take(FULL) {
        out.push_str("\n");
        put_finding(finding, &mut out);
    }
    if findings.len() > FULL {
        out.push_str("\nand in short:\n");
        for finding in &findings[FULL..] {
            let line = format!("{}  {}: {}", label(finding.severity), finding.id, finding.what);
            put(&line, "", "  ", &mut out);
        }
    }
    if !(facts.unknown.is_empty() && facts.limitations.is_empty()) {
        out.push_str("\nnot known\n");
        facts
            .limitations
            .iter()
            .for_each(|limitation| put(&limitation.to_string(), "  - ", "    ", &mut out));
        facts.unknown.iter().for_each(|what| put(what, "  - ", "    ", &mut out));
    }
    out.text
}

fn put_head(facts: &Facts, findings: &[Finding], out: &mut Page) {
    let found = findings.iter().filter(|finding| finding.severity != Severity::Fine).count() as u64;
    let seconds = number((facts.observed_ms as f64 / 100.0).round() / 10.0);
    let namespaces = count(facts.namespaces.len() as u64, "network namespace");
    let source = match facts.source {
        Source::Live => format!("{} backend", facts.backend),
        Source::Recording => format!("a recording by the {} backend", facts.backend),
        Source::View => "a live view".to_owned(),
    };
    let head = format!(
        "twtrace doctor: {} in {seconds} s, {namespaces}, {source}, lost {}",
        count(found, "finding"),
        facts.lost
    );
    put(&head, "", "  ", out);
}

fn label(severity: Severity) -> String {
    severity.word().to_uppercase()
}

fn put_finding(finding: &Finding, out: &mut Page) {
    let netns = finding.subject.netns.map_or_else(String::new, |netns| format!("  netns {netns}"));
    put(&format!("{}  {}{netns}", label(finding.severity), finding.id), "", "", out);
    put(&finding.what, "  ", "  ", out);
    if !finding.evidence.is_empty() {
        out.push_str("  evidence\n");
        finding.evidence.iter().for_each(|evidence| put_evidence(evidence, out));
    }
    if !finding.who.is_empty() {
        out.push_str("  who\n");
        put_shares(&finding.who, out);
    }
    if !finding.remedies.is_empty() {
        out.push_str("  what helps here\n");
        finding.remedies.iter().for_each(|remedy| put_remedy(remedy, out));
    }
    if !finding.not_here.is_empty() {
        out.push_str("  what does not help here\n");
        finding.not_here.iter().for_each(|not_here| put_not_here(not_here, out));
    }
    put(&format!("more: twtrace doctor explain {}", finding.id), "  ", "  ", out);
}

fn put_evidence(evidence: &Evidence, out: &mut Page) {
    let value = evidence.value.to_string();
    let first = format!("    {value:>VALUES$}  ");
    put(&format!("{} ({})", evidence.what, evidence.source), &first, EVIDENCE_INDENT, out);
}

fn put_shares(shares: &[Share], out: &mut Page) {
    for share in shares.iter().take(SHARES) {
        put(&told(share), "    ", "      ", out);
    }
    if shares.len() > SHARES {
        put(&format!("and {} more", shares.len() - SHARES), "    ", "      ", out);
    }
}

fn told(share: &Share) -> String {
    let mut parts = Vec::new();
    for (number, one, what) in [
        (share.time_wait, "TIME_WAIT socket", ""),
        (share.open, "open socket", ""),
        (share.created, "connection", " that it closed first"),
        (share.failed, "failed call", ""),
        (share.lost, "TIME_WAIT socket", " refused or ended by an RST"),
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
    let container =
        share.process.container.as_deref().map_or_else(String::new, |container| {
            format!(" in {}", crate::model::escape::printable(container))
        });
    format!("{}{container}: {}", process(&share.process), parts.join(", "))
}

fn put_remedy(remedy: &Remedy, out: &mut Page) {
    put(&format!("{} ({})", remedy.title, remedy.id), "    * ", "      ", out);
    let holds = match remedy.holds {
        super::finding::Holds::Unknown => "may help",
        _ => "because",
    };
    put(&format!("{holds}: {}", remedy.because), "      ", "        ", out);
    if let Some(command) = &remedy.command {
        put_command(command, out);
    }
    if let Some(change) = &remedy.change {
        put(&format!("do: {change}"), "      ", "        ", out);
    }
    for effect in &remedy.effects {
        put(&format!("then: {effect}"), "      ", "        ", out);
    }
    put(&format!("risk: {}", remedy.risk), "      ", "        ", out);
}

/// On a line of its own, so that it can be copied.
fn put_command(command: &str, out: &mut Page) {
    if command.len() <= out.columns - 8 {
        out.push_str("      run:\n");
        put(command, "        ", "        ", out);
        return;
    }
    let options =
        Options::new(out.columns - 10).word_splitter(WordSplitter::NoHyphenation).break_words(false);
    let lines = wrap(command, options);
    out.push_str("      run:\n");
    out.push_str(&format!("        {}\n", lines.join(" \\\n          ")));
}

fn put_not_here(not_here: &NotHere, out: &mut Page) {
    put(&format!("{}: {} ({})", not_here.title, not_here.why, not_here.id), "    - ", "      ", out);
}

/// A paragraph. A word that is wider than a line is cut: only names of strangers and commands can be.
fn put(text: &str, first: &str, others: &str, out: &mut Page) {
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
