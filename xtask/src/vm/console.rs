//! Reading a guest's serial console.
//!
//! Owns: the marker lines that guest-init prints, and which lines of a kernel mean trouble.
//! Must not know: how the guest was started.

use crate::scenarios::Run;
use std::collections::BTreeMap;

/// What a guest starts a marker line with.
const MARKER: &str = "@@guest ";

/// Lines after which a kernel is not to be trusted.
const TROUBLE: [&str; 9] = [
    "Kernel panic",
    "BUG:",
    "Oops:",
    "soft lockup",
    "hard LOCKUP",
    "rcu: INFO:",
    "INFO: rcu",
    "blocked for more than",
    "Unable to handle kernel",
];

/// Lines worth telling, though the kernel goes on.
const WARNING: &str = "WARNING:";

/// What a guest's console said.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// Release of the kernel that ran.
    pub(super) release: Option<String>,
    /// One run of the scenarios a backend, in order.
    pub(super) runs: Vec<(String, Run)>,
    /// What makes this guest a failure, whatever its scenarios said.
    pub(super) problems: Vec<String>,
    /// Files that scenarios hand out, by name: `file NAME DIGITS`, as many lines as it takes.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Warnings of its kernel, and notes of its init.
    pub(super) notes: Vec<String>,
}

impl Console {
    /// Reads a whole console's text.
    pub(super) fn read(text: &str) -> Console {
        let mut console = Console::default();
        let mut open: Option<(String, String)> = None;
        let mut done = false;
        for line in text.lines().map(str::trim_end) {
            let Some(marker) = line.find(MARKER).map(|at| &line[at + MARKER.len()..]) else {
                console.judge(line);
                if let Some((_, output)) = &mut open {
                    output.push_str(line);
                    output.push('\n');
                }
                continue;
            };
            let (word, rest) = marker.split_once(' ').unwrap_or((marker, ""));
            match word {
                "kernel" => console.release = Some(rest.to_owned()),
                "begin" => open = Some((rest.to_owned(), String::new())),
                "end" => console.close(open.take(), rest),
                "log" => console.judge(rest),
                "note" => console.note(rest),
                "file" => console.file(rest),
                "error" => console.problems.push(rest.to_owned()),
                "done" => done = true,
                _ => console.problems.push(format!("said `{line}`, which nobody understands")),
            }
        }
        if let Some((backend, output)) = open {
            console.runs.push((backend, Run::judge(&output, None)));
        }
        if !done {
            console.problems.push("did not reach its end".to_owned());
        }
        console
    }

    fn close(&mut self, open: Option<(String, String)>, rest: &str) {
        let (named, code) = rest.split_once(' ').unwrap_or((rest, ""));
        match (open, code.parse()) {
            (Some((backend, output)), Ok(code)) if backend == named => {
                self.runs.push((backend, Run::judge(&output, Some(code))));
            }
            _ => self.problems.push(format!("ended `{rest}`, which it had not begun")),
        }
    }

    /// Takes in a piece of a file, two hexadecimal digits a byte.
    fn file(&mut self, rest: &str) {
        let (name, digits) = rest.split_once(' ').unwrap_or((rest, ""));
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let piece: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        match piece.filter(|_| !name.contains('/') && !name.starts_with('.')) {
            Some(piece) => self.files.entry(name.to_owned()).or_default().extend(piece),
            None => self.problems.push(format!("handed out `{name}`, which cannot be read")),
        }
    }

    fn judge(&mut self, line: &str) {
        if TROUBLE.iter().any(|sign| line.contains(sign)) {
            // The console and the log repeat the same line: with and without the time in front.
            let text = line.trim_start_matches(|c: char| "[]. 0123456789".contains(c)).to_owned();
            if !self.problems.contains(&text) {
                self.problems.push(text);
            }
        } else if line.contains(WARNING) {
            self.note(line);
        }
    }

    fn note(&mut self, text: &str) {
        if self.notes.iter().all(|known| known != text) {
            self.notes.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "SeaBIOS\r\n\r\n@@guest kernel 5.10.0-46\r\n\r\n@@guest begin kprobe\r\n\
        test kprobe::close ... ok\r\n1 passed, 0 failed, 0 skipped\r\n\r\n@@guest end kprobe 0\r\n\
        @@guest begin fentry\r\nno fentry\r\n\r\n@@guest end fentry 77\r\n@@guest done\r\n";

    #[test]
    fn each_backend_is_judged_by_its_own_lines() {
        let console = Console::read(GOOD);
        assert_eq!(console.release.as_deref(), Some("5.10.0-46"));
        assert!(console.problems.is_empty(), "{:?}", console.problems);
        let [(first, Run::Done { cases, problems, .. }), (second, Run::Cannot(reason))] = &console.runs[..]
        else {
            panic!("{:?}", console.runs);
        };
        assert_eq!((first.as_str(), cases.len(), problems.len()), ("kprobe", 1, 0));
        assert_eq!((second.as_str(), reason.as_str()), ("fentry", "no fentry"));
    }

    #[test]
    fn a_guest_that_stops_short_is_a_problem() {
        let cut = &GOOD[..GOOD.find("1 passed").unwrap()];
        let console = Console::read(cut);
        assert_eq!(console.problems, ["did not reach its end"]);
        let (_, Run::Done { problems, .. }) = &console.runs[0] else { panic!() };
        assert!(problems.contains(&"did not end".to_owned()));
        assert_eq!(Console::read("").problems, ["did not reach its end"]);
    }

    #[test]
    fn trouble_in_the_kernel_is_seen_once_and_warnings_are_noted() {
        let text = "[    9.1] BUG: kernel NULL pointer dereference, address: 0\n\
                    @@guest log BUG: kernel NULL pointer dereference, address: 0\n\
                    @@guest log WARNING: CPU: 0 PID: 1 at net/ipv4/tcp.c:1\n\
                    @@guest log rcu: INFO: rcu_sched self-detected stall on CPU\n@@guest done\n";
        let console = Console::read(text);
        assert_eq!(console.problems.len(), 2, "{:?}", console.problems);
        assert_eq!(console.notes, ["WARNING: CPU: 0 PID: 1 at net/ipv4/tcp.c:1"]);
    }

    #[test]
    fn files_come_in_pieces() {
        let text = "@@guest file a.twt 00ff\n@@guest file b 17\nnoise\n@@guest file a.twt 0a\n@@guest done\n";
        let console = Console::read(text);
        assert!(console.problems.is_empty(), "{:?}", console.problems);
        assert_eq!(console.files["a.twt"], [0, 255, 10]);
        assert_eq!(console.files["b"], [0x17]);
        for wrong in ["a 0", "a 0g", "../a 00", ".a 00", "é é"] {
            let console = Console::read(&format!("@@guest file {wrong}\n@@guest done\n"));
            assert_eq!((console.problems.len(), console.files.len()), (1, 0), "{wrong}");
        }
    }

    #[test]
    fn errors_of_init_and_stray_ends_are_problems() {
        let console =
            Console::read("@@guest error cannot mount bpf on /sys/fs/bpf\n@@guest end x 0\n@@guest done\n");
        assert_eq!(console.problems.len(), 2, "{:?}", console.problems);
    }
}
