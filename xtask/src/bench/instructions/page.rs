//! Tables of what was counted, and their section of docs/overhead.md.
//!
//! Owns: what it looks like and where it stands. Must not know: how it was counted.

use super::counts::{Counts, Kernel};
use super::{LOADS, MODES};
use crate::project;
use anyhow::{Context, Result};

/// The section's heading, and that of the one it stands before.
const HEADING: &str = "## Instructions\n";
const NEXT: &str = "## Throughput and connect()\n";

/// What no table says: why the goals of a held agent on 6.12 (fentry 2,000 and 3,500, tracepoints 5,000 and 7,000, half of the first
/// version's kprobes, 500 where nothing becomes TIME_WAIT) are where they are. Written by hand, after profiles of an emulated guest.
const LEFT: &str = "\
### What is left, and what was tried

The goals for 6.12, held, are 2,000 (`client`) and 3,500 (`server`) with fentry, 5,000 and 7,000 with tracepoints, half of 13,800 and 21,870 with \
kprobes, 500 for `passive` and for a request. Met: kprobe, and `keep-alive` with fentry and kprobe. Missed: fentry by 550 to 950 and 100 \
to 300 (rounds of 307 and of 409 connections), tracepoint by some 1,650 and 500, `passive`, and `keep-alive` with tracepoints by 130.

With fentry, `client`: 1,100 are six programs that only return (a trampoline, rcu and migration, 185 each). Of the rest a birth takes 690 (identity, \
owner, payload, the clock, a record of 200 bytes reserved and sent), the first FIN 600, connect() 330 (cookie, process, clock, a place in the table), \
accept() 230 of those that are remembered, what looks for an overflow 15. `server` has an end of 470 besides. Loads through pointers with types cost \
seven instructions each (the kernel checks the address), a constant from the configuration two, the clock 70.

With tracepoints: 158 for each system call of each process as long as one is hooked (all of `keep-alive`, 1,200 of `client`; `--no-syscalls` does without), \
67 for each timer and 50 for each transition that is none of ours, an end 1,300 (the words of the stack and the socket are copied by a helper), a birth 1,300.

Kept: records copied word by word instead of by memmove and memset, which go byte by byte (700 a birth, on every backend); the uid read from the task instead of \
by the helper, which translates it (97 a call, three calls); the ring not asked how much waits (40 a record); two branches instead of four comparisons for a place \
in a set (35 each); of connections to this machine the first 1,024 a second and CPU remembered with opener and age, and one in 16 of the others (400 each). These loads come \
at 11,000 connections a second, so the median round remembers a third of them; at up to 1,000 a second a connection costs some 150 to 400 more than the tables say.

Tried or reckoned, and left: a birth told at the exit of inet_twsk_alloc() would save a hook (185), but does not know for how long the timer is armed; processes named once and \
referred to by a number would save 64 bytes a record and some 100 instructions, but a number outlives every table that is bounded; coarse clocks (70 a reading) would make \
ages of milliseconds wrong by a tick; configuration as constants in the code, patched by the loader (some 120). Nothing but a system call's exit tells who accepts and which bind() failed where neither \
fentry nor kprobes are permitted: accept() has no tracepoint of its own, cgroup hooks see bind() before it fails.

New events where they do not happen: `aborted` has programs of its own, which run when an RST is sent and in none of these loads; `connect_failed` and `bind_failed` are told where \
openers are, or by programs that run when bind() and listen() do; `syn_refused` by the program that learns the reason of an end (`fe_state_proces`, which only `server` has); `port_via`, which each \
birth and each RST of our own carries, is some 230 (`client`) to 470 (`server`), found by counting with an object that leaves it out, of which that it is another object is a part.

The agent, for an event of `record`, `events --json` and `live` (what those rows have more than `held`): the goals are 1,500, 2,500 and 1,200. With fentry on 6.12 a birth takes some 2,900, 3,350 and \
2,800 in the median round of 2,003 connections, a birth and its end together (`server`) 6,850, 5,500 and 3,500; rounds in which a recording is compressed, or the kernel's sockets are listed for it, have two to ten times \
that. All are missed, by a tenth to more than twice (a birth was 7,650, 12,900 and 5,550 at first, and 2,300, 3,150 and 2,050 in between: sockets are fetched beforehand since then, which costs instructions and saves time; what the rest of the difference is was not looked for). The tables below are of older code and shorter rounds. Counted with callgrind on the agent itself, at 5,000 births a second on a real machine, \
`live` is 2,540 a birth in all threads (2,990 before an event was read with less): decoding 310, fetching a socket that comes soon 130 (180 of an event, above 8,192 live sockets), the drain 190, pictures 180, the rest the engine, spread over \
some thirty functions of which the largest has an eighth; in the guest the kernel adds memory that is touched for the first time (an emulated page is cleared by 4,096 instructions). `record` counts by network namespace \
alone, which saves some 650 of them, and fills columns instead, 700; their compression, once in 750 ms, is another 2,200 a row, half of it for the two columns of times and the cookie. A line of JSON \
is some 1,700, its text of processes copied from an earlier one. \
Tried and left: link-time optimisation (2 to 6 %, for three times the time to build), levels of zstd from -5 to 5 (at best a third of \
the compression, for half as much again on disk); LZ4 (a third of zstd's time a row, for twice the bytes). On a \
real machine a quarter to a third of what the agent took, in every mode, was time in which it waited for memory, as each event is about another of some 100,000 sockets, whose table took 25 MB. Kept for \
that: a socket of IPv4 in one line of the caches (64 bytes, not 96), large tables in huge pages where the kernel gives some, and above 8,192 of them sockets of the next six records fetched beforehand; `cargo xtask bench --only rate` prints what a mode takes with all of them. A table \
that lies in the order of births saved nothing.

On a real machine (6.18, tracepoints) p99 of connect() at 20,000 connections a second is to stay within 10 % of untraced. Seven interleaved rounds in a quiet hour gave 1.08 beside `events --json`, 1.08 beside \
`record` and 1.06 beside `live`, untraced a second time 0.93 (0.85 to 1.00); the table below is of a noisier hour. An agent that is held still gave 1.07: what is left is the programs (p50 is 10 to 15 % higher in \
all of them), and not the wake-ups. `cargo xtask bench --only rate` measures the same beside agents that work; none that is held.

Where an agent runs, rounds are of 613 connections, longer than the drain's pause, and the mean counts (the tables below are of 409: the pause was 25 ms, and is 50 where many come). A longer round has another \
share of connections that are remembered: on 5.10 `held` counts 2,871 and 3,337 in rounds of 307, 3,554 and 4,825 in rounds of 409. The compression of recordings is seldom in such rounds: in rounds of 1,307 `record` takes 5,190 of a birth and \
8,490 of a birth and an end (commit 4719957).

";

/// All tables, in Markdown.
pub(super) fn tables(counts: &Counts) -> String {
    let mut text = String::new();
    for kernel in &counts.kernels {
        text += &format!("### Linux {}\n\n{}\n", kernel.release, added(kernel));
        if let Some(programs) = programs(kernel) {
            text += &format!("Programs, by the kernel's statistics:\n\n{programs}\n");
        }
    }
    text
}

/// Writes the section into docs/overhead.md.
pub(super) fn write(counts: &Counts) -> Result<()> {
    let path = project::root().join("docs/overhead.md");
    let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    std::fs::write(&path, spliced(&page, &section(counts))).with_context(|| path.display().to_string())
}

/// A page that was made anew, with the section that the old one has: it was counted by a run of its own.
pub(in super::super) fn carry_over(old: &str, new: &str) -> String {
    match cut(old) {
        Some((_, section, _)) => spliced(new, section),
        None => new.to_owned(),
    }
}

fn spliced(page: &str, section: &str) -> String {
    let (before, after) = match cut(page) {
        Some((before, _, after)) => (before, after),
        None => page.split_at(page.find(NEXT).unwrap_or(page.len())),
    };
    format!("{before}{section}{after}")
}

/// What is before the section, the section, and what is after it.
fn cut(page: &str) -> Option<(&str, &str, &str)> {
    let start = page.find(HEADING)?;
    let length = page[start + HEADING.len()..].find("\n## ").map(|at| at + HEADING.len() + 1);
    let end = length.map_or(page.len(), |length| start + length);
    Some((&page[..start], &page[start..end], &page[end..]))
}

fn section(counts: &Counts) -> String {
    let mut commits: Vec<String> =
        counts.kernels.iter().map(|kernel| format!("{} of commit {}", kernel.label, kernel.commit)).collect();
    commits.sort();
    format!(
        "{HEADING}\nWritten by `cargo xtask bench --instructions --write-docs` ({}). In an emulated guest in which each instruction takes \
         one nanosecond of the guest's time (`qemu -icount`) a clock counts instructions, so that the numbers depend neither on the \
         machine nor on what else it does: two runs of one build are equal to the instruction; another build lies elsewhere in memory, and moves what is added by \
         up to some 550 a connection, at one of 6.12 by 870. No caches are modelled. What is told is what tracing adds to a \
         connection, **both ends together**; the ratio is that of the untraced load's instructions to the traced one's.\n\n\
         - `client`: the client closes first: a birth. `server`: the server closes first, and each connection takes over an older \
         TIME_WAIT socket: a birth and an early end.\n\
         - `passive`: the peer is no socket of this machine and closes first; every second connection is made from here, the others to \
         here. Nothing becomes TIME_WAIT. `keep-alive`: a request of 100 bytes and its answer over a connection that stays.\n\
         - `held`: the agent is held still (SIGSTOP): the kernel side alone. `record`, `events --json`, `live`: the agent shares the only \
         CPU, so what is more than `held` is what it takes for its events. `floor`: programs of two instructions, which return, wherever \
         twtrace attaches its own by a tracepoint with types or at a function's entry or exit; there are none for kprobes and for system \
         calls' tracepoints.\n\n\
         The budgets in `xtask/budgets.toml` hold these numbers; the tests fail above them.\n\n{LEFT}{}",
        commits.join(", "),
        tables(counts)
    )
}

fn added(kernel: &Kernel) -> String {
    let mut rows = Vec::new();
    let mut untraced = vec!["untraced, in all".to_owned(), String::new()];
    for load in LOADS {
        untraced.extend([number(kernel.untraced(load)), String::new()]);
    }
    rows.push(untraced);
    let mut arms = kernel.arms();
    arms.retain(|(_, mode)| *mode != "programs");
    arms.sort_by_key(|(backend, mode)| (backend.to_owned(), MODES.iter().position(|known| known == mode)));
    for (backend, mode) in arms {
        let mut row = vec![backend.to_owned(), mode.to_owned()];
        for load in LOADS {
            let added = kernel.added(load, backend, mode);
            let ratio =
                added.and_then(|added| Some(kernel.untraced(load)? / (kernel.untraced(load)? + added)));
            row.extend([signed(added), ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"))]);
        }
        rows.push(row);
    }
    let heads = LOADS.iter().flat_map(|load| [*load, "ratio"]);
    table(&["backend", "mode"].into_iter().chain(heads).collect::<Vec<_>>(), 2, &rows)
}

/// Where instructions go, program by program; `None` where that was not counted.
fn programs(kernel: &Kernel) -> Option<String> {
    let mut rows = Vec::new();
    for (backend, _) in kernel.arms().into_iter().filter(|(_, mode)| *mode == "programs") {
        for load in LOADS {
            let Some(line) = kernel.line(load, Some((backend, "programs"))) else { continue };
            let connections = line.total();
            for program in line.programs.iter().filter(|program| program.runs as f64 >= 0.01 * connections) {
                let each = program.instructions as f64;
                rows.push(vec![
                    backend.to_owned(),
                    load.to_owned(),
                    program.name.clone(),
                    format!("{:.2}", program.runs as f64 / connections),
                    number(Some(each / program.runs as f64)),
                    number(Some(each / connections)),
                ]);
            }
        }
    }
    let heads = [
        "backend",
        "load",
        "program",
        "runs a connection",
        "instructions a run",
        "instructions a connection",
    ];
    (!rows.is_empty()).then(|| table(&heads, 3, &rows))
}

fn signed(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 0.5 => format!("+{}", number(Some(value))),
        value => number(value),
    }
}

/// Rounded, with commas between thousands.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// The first `words` columns are words, the others numbers.
fn table(heads: &[&str], words: usize, rows: &[Vec<String>]) -> String {
    let rule = heads.iter().enumerate().map(|(at, _)| if at < words { "---|" } else { "---:|" });
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), rule.collect::<String>());
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::counts::tests::counts;
    use super::*;

    #[test]
    fn numbers_are_rounded_and_grouped() {
        let shown = [Some(1_234_567.6), Some(999.4), Some(-1234.0), Some(-0.2), None].map(number);
        assert_eq!(shown, ["1,234,568", "999", "-1,234", "0", "–"]);
        assert_eq!([Some(12.0), Some(0.1), Some(-7.0)].map(signed), ["+12", "0", "-7"]);
    }

    #[test]
    fn the_tables_say_what_is_added_and_where_it_goes() {
        let text = tables(&counts());
        assert!(text.contains("| fentry | held | +23 | 0.813 | – |"), "{text}");
        assert!(text.contains("| fentry | client | state | 3.50 | 4 | 14 |"), "{text}");
    }

    #[test]
    fn the_section_takes_the_place_of_the_old_one_and_outlives_a_new_page() {
        let page = "# A\n\n## Machine\n\nx\n\n## Throughput and connect()\n\ny\n";
        let once = spliced(page, "## Instructions\n\nold\n\n");
        assert_eq!(once, page.replace("## Thr", "## Instructions\n\nold\n\n## Thr"));
        let twice = spliced(&once, "## Instructions\n\nnew\n\n");
        assert_eq!(twice, once.replace("old", "new"));
        assert_eq!(carry_over(&twice, page), twice);
        assert_eq!(carry_over(page, page), page);
    }
}
