//! Owns: what each key does, for people.
//! Must not know: anything else.

use ratatui::text::{Line as Text, Span};

use super::palette::LABEL;

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

/// The help, its title first. A replay has more keys.
pub(super) fn lines(is_replay: bool) -> Vec<Text<'static>> {
    let line = |(key, text): &(&'static str, &'static str)| {
        Text::from(vec![Span::styled(format!(" {key:24} "), LABEL), Span::raw(*text)])
    };
    let mut lines = Vec::new();
    if is_replay {
        lines.push(Text::raw(" Keys of a replay"));
        lines.extend(REPLAY.iter().map(line));
    }
    lines.push(Text::raw(" Keys"));
    lines.extend(KEYS.iter().filter(|(key, _)| !(is_replay && *key == "space")).map(line));
    lines.push(Text::raw(" Columns"));
    lines.extend(COLUMNS.iter().map(line));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_off_on_a_narrow_screen() {
        for line in lines(true) {
            assert!(line.width() <= 80, "{line}");
        }
    }
}
