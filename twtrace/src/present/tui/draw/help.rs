//! Owns: what each key does, for people.
//! Must not know: anything else.

use crate::present::tui::palette::LABEL;
use ratatui::text::{Line as Text, Span};
use textwrap::wrap;

const KEYS: [(&str, &str); 25] = [
    ("1 to 8, Tab, Shift-Tab", "another view"),
    ("Up Down, k j", "select a row; above the first one, the verdict"),
    ("PgUp PgDn Home End, g G", "scroll"),
    ("Enter", "details of what is selected"),
    ("Enter on ×N", "what it stands for; events pause until it is closed"),
    ("F", "follow the selected row wherever the order puts it"),
    ("f, F5", "fold: gone, programs, units, containers, pods, netns"),
    ("y", "copy the selected row to the clipboard (OSC 52)"),
    ("d", "the doctor's page: evidence, what helps, what does not"),
    ("Left Right, < >", "sort by another column"),
    ("s, F6", "choose the column to sort by"),
    ("r", "reverse sort"),
    ("/, F3, F4", "show only rows that name this text; Esc clears it"),
    ("Ctrl-U", "while a filter is typed: begin anew"),
    ("space", "pause: display frozen, tracing continues"),
    ("t", "another colour theme: dark, light, safe, mono"),
    ("Ctrl-L", "redraw"),
    ("+ -", "longer, shorter interval between updates"),
    ("?, F1", "this help"),
    ("Esc", "back; closes ×N and ends its pause; clears a filter"),
    ("q, F10, Ctrl-C", "quit"),
    ("mouse click", "select a row, a view, a finding, a column to sort by"),
    ("mouse wheel", "scroll"),
    ("order", "what presses comes first, until you sort by a column"),
    ("signs", "> selected; F followed; ! failed, 90%; * 70%; x gone"),
];

const COLUMNS: [(&str, &str); 15] = [
    ("LIVE, PEAK", "TIME_WAIT sockets now; the most at one time"),
    ("NEW 10s, END 10s", "created, ended a second: over the last 10 seconds"),
    ("TOTAL", "created since tracing began"),
    ("FAILED", "overflows, and failures of connect() and bind()"),
    ("USED", "ephemeral ports in use, towards the fullest end"),
    ("LEFT", "ephemeral ports that are free there"),
    ("LASTS", "time until none is left; - not filling, ? unknown"),
    ("AGE p50, p99", "age of connections: half, 99% were shorter"),
    ("SENT, RECEIVED", "bytes a connection, half had less"),
    ("PID, PROCESS", "who closed its end first; the one with most sockets"),
    ("name?", "inferred for older sockets: only user, or listener"),
    ("DESTINATION", "its main remote end or served port, + others"),
    ("FULL, BUCKETS", "LIVE of tcp_max_tw_buckets, the namespace's limit"),
    ("PORTS", "ephemeral ports that the namespace allows"),
    ("NETNS", "network namespace, by its inode (lsns -t net)"),
];

/// Keys that only a replay has.
const REPLAY: [(&str, &str); 6] = [
    ("space", "pause, go on"),
    (".", "the next event, and pause"),
    ("] [", "10 seconds on or back, paused or not"),
    ("} {", "a minute on or back"),
    ("0", "to the beginning"),
    ("+ -", "faster, slower"),
];

/// Columns of a key, with the blanks around it.
const LABELS: usize = 26;
/// Columns that what a key does has beside it, at least; with less it stands below.
const BESIDE: usize = 40;
/// In front of what stands below.
const BELOW: &str = "   ";

/// The help in so many columns, its title first. A replay has more keys.
pub(super) fn lines(is_replay: bool, width: usize) -> Vec<Text<'static>> {
    let mut lines = Vec::new();
    let keys = KEYS.iter().filter(|(key, _)| !(is_replay && *key == "space"));
    if is_replay {
        put("Keys of a replay", REPLAY.iter(), width, &mut lines);
    }
    put("Keys", keys, width, &mut lines);
    put("Columns", COLUMNS.iter(), width, &mut lines);
    lines
}

fn put<'a>(
    title: &str,
    entries: impl Iterator<Item = &'a (&'static str, &'static str)>,
    width: usize,
    lines: &mut Vec<Text<'static>>,
) {
    lines.push(Text::raw(format!(" {title}")));
    for (key, text) in entries {
        if width >= LABELS + BESIDE {
            let mut label = *key;
            for part in wrap(text, width - LABELS) {
                let label = Span::styled(format!(" {:24} ", std::mem::take(&mut label)), LABEL);
                lines.push(Text::from(vec![label, Span::raw(part.into_owned())]));
            }
        } else {
            let key = wrap(key, width.saturating_sub(1)).into_iter();
            lines.extend(key.map(|part| Text::styled(format!(" {part}"), LABEL)));
            let text = wrap(text, width.saturating_sub(BELOW.len())).into_iter();
            lines.extend(text.map(|part| Text::raw(format!("{BELOW}{part}"))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off_however_narrow_the_screen_is() {
        for width in [18, 25, 40, 60, 79, 80, 120] {
            let lines: Vec<String> = lines(true, width).iter().map(ToString::to_string).collect();
            for line in &lines {
                assert!(Text::raw(line.as_str()).width() <= width, "{width}: {line}");
            }
            // Words that are wider than the screen are broken, and none is lost.
            let all: String =
                lines.iter().flat_map(|line| line.chars()).filter(|c| !c.is_whitespace()).collect();
            for (key, text) in REPLAY.iter().chain(&KEYS[..12]).chain(&COLUMNS) {
                let words = |text: &str| text.split_whitespace().collect::<String>();
                let is_there = all.contains(&(words(key) + &words(text)));
                assert!(is_there || *key == "space", "{width}: {key}: {text}\n{lines:#?}");
            }
        }
    }
}
