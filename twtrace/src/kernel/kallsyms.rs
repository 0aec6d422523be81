//! Owns: where functions lie in kernel memory: asked of the kernel, and else from `/proc/kallsyms`.
//! Must not know: what a stack trace is compared with them for.

mod program;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use twtrace_common::config::{Symbols, Text};

const PATH: &str = "/proc/kallsyms";
/// Holds some thousand lines.
const BUFFER_LEN: usize = 64 * 1024;
/// Text symbols of a kernel with its modules, with room to spare: one allocation.
const USUAL_SYMBOLS: usize = 1 << 17;
/// Endings that compilers give to a function whose body is whole but changed: parameters removed, called with
/// constants, or promoted from static by LTO. `.part` and `.cold` are pieces, not the function.
const WHOLE_BODY_SUFFIXES: [&[u8]; 3] = [b"isra", b"constprop", b"llvm"];

/// Why the functions' addresses are not known.
#[derive(Debug, thiserror::Error)]
pub enum KallsymsError {
    /// The file is not there or not readable.
    #[error("cannot read {PATH}: {0}; the kernel must be built with CONFIG_KALLSYMS=y and /proc be mounted")]
    Read(#[from] io::Error),
    /// The kernel shows 0 in place of every address.
    #[error(
        "{PATH} shows no addresses (all are 0): run with CAP_SYSLOG (root has it) and with sysctl kernel.kptr_restrict at 0 or 1"
    )]
    Hidden,
    /// Nothing in it.
    #[error("{PATH} lists no function; the kernel must be built with CONFIG_KALLSYMS=y")]
    Empty,
    /// A line that is not `address type name`.
    #[error("line {line} of {PATH} is not \"address type name\": {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line's beginning.
        text: String,
    },
    /// Several functions share a name and nothing tells which is meant.
    #[error(
        "the kernel has several functions {name}, at {first:#x} and at {second:#x}; which is meant cannot be told"
    )]
    Ambiguous {
        /// The name.
        name: &'static str,
        /// One address.
        first: u64,
        /// The other address.
        second: u64,
    },
}

/// How the functions were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Asked of the kernel by a BPF program.
    Asked,
    /// In `/proc/kallsyms`.
    Listed,
}

impl Way {
    /// Its name for good.
    pub fn id(self) -> &'static str {
        match self {
            Self::Asked => "bpf",
            Self::Listed => "kallsyms",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Asked => "found by a BPF program that asks the kernel",
            Self::Listed => "found in /proc/kallsyms",
        }
    }
}

struct Wanted {
    name: &'static str,
    slot: fn(&mut Symbols) -> &mut Text,
}

macro_rules! wanted {
    ($($slot:ident: $name:expr),+ $(,)?) => {
        [$(Wanted { name: $name, slot: |symbols| &mut symbols.$slot }),+]
    };
}

const WANTED: [Wanted; 7] = wanted! {
    tw_timer_handler: "tw_timer_handler",
    inet_twsk_deschedule_put: "inet_twsk_deschedule_put",
    inet_twsk_purge: "inet_twsk_purge",
    tcp_timewait_state_process: "tcp_timewait_state_process",
    tcp_abort: "tcp_abort",
    tcp_v4_rcv: "tcp_v4_rcv",
    tcp_v6_rcv: "tcp_v6_rcv",
};

/// How well a symbol answers to a name; smaller is better. A function in the kernel's core beats a namesake in a module,
/// a global one (all wanted functions but two are) beats a static one, the name itself beats one with a suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    suffixed: bool,
    in_module: bool,
    is_static: bool,
}

/// One line's worth.
struct Symbol<'a> {
    address: u64,
    class: u8,
    name: &'a [u8],
    in_module: bool,
}

/// The best symbol so far for one name, and another one as good at a different address.
#[derive(Clone, Copy, Default)]
struct Candidate {
    best: Option<(Rank, u64)>,
    rival: Option<u64>,
}

impl Candidate {
    fn offer(&mut self, rank: Rank, address: u64) {
        match self.best {
            Some((best, _)) if best < rank => {}
            Some((best, first)) if best == rank => {
                if first != address {
                    self.rival = Some(address);
                }
            }
            _ => *self = Candidate { best: Some((rank, address)), rival: None },
        }
    }
}

/// The running kernel's functions, and how they were found. Of functions of one name in the kernel's core, which no kernel has of those that are
/// wanted here (5.10 to 7.3), only the list tells that there are several: a kernel that is asked answers with one.
///
/// # Errors
/// See [`KallsymsError`].
pub fn load() -> Result<(Symbols, Way), KallsymsError> {
    match asked() {
        Some(symbols) => Ok((symbols, Way::Asked)),
        None => Ok((listed()?, Way::Listed)),
    }
}

/// `None` where the kernel cannot be asked, or has not all of them by just these names: the list knows of suffixes, and why addresses are
/// hidden.
fn asked() -> Option<Symbols> {
    let found = program::find(WANTED.each_ref().map(|wanted| wanted.name))?;
    let mut symbols = Symbols::default();
    for (wanted, text) in WANTED.iter().zip(found) {
        *(wanted.slot)(&mut symbols) = text;
    }
    Some(symbols)
}

fn listed() -> Result<Symbols, KallsymsError> {
    symbols(BufReader::with_capacity(BUFFER_LEN, File::open(PATH)?))
}

/// Finds the functions of [`Symbols`] in the text of `/proc/kallsyms`. One that the kernel does not list stays all zero;
/// a range ends where the next function begins, in whatever order the lines come.
///
/// # Errors
/// See [`KallsymsError`]; any text may be given.
pub fn symbols(mut reader: impl BufRead) -> Result<Symbols, KallsymsError> {
    let mut addresses: Vec<u64> = Vec::with_capacity(USUAL_SYMBOLS);
    let mut candidates = [Candidate::default(); WANTED.len()];
    let mut line = Vec::with_capacity(256);
    let mut number = 0;
    while next_line(&mut reader, &mut line)? {
        number += 1;
        let symbol = parse(&line).ok_or_else(|| KallsymsError::Line {
            line: number,
            text: String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned(),
        })?;
        // `T` and `t` are text, `W` and `w` weak (nm(1)).
        if !matches!(symbol.class, b'T' | b't' | b'W' | b'w') {
            continue;
        }
        addresses.push(symbol.address);
        for (wanted, candidate) in WANTED.iter().zip(&mut candidates) {
            if let Some(rank) = rank(&symbol, wanted.name.as_bytes()) {
                candidate.offer(rank, symbol.address);
            }
        }
    }
    pick(&addresses, &candidates)
}

fn pick(addresses: &[u64], candidates: &[Candidate]) -> Result<Symbols, KallsymsError> {
    if addresses.is_empty() {
        return Err(KallsymsError::Empty);
    }
    if addresses.iter().all(|&address| address == 0) {
        return Err(KallsymsError::Hidden);
    }
    let mut symbols = Symbols::default();
    for (wanted, candidate) in WANTED.iter().zip(candidates) {
        let Some((_, start)) = candidate.best else { continue };
        if let Some(second) = candidate.rival {
            return Err(KallsymsError::Ambiguous { name: wanted.name, first: start, second });
        }
        let end = addresses.iter().copied().filter(|&address| address > start).min().unwrap_or(u64::MAX);
        *(wanted.slot)(&mut symbols) = Text { start, end };
    }
    Ok(symbols)
}

/// Reads a line without its line feed into a buffer that is used again and again; false at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = reader.read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

/// `ffffffff81000000 T name` or, in a module, `ffffffffc0000000 t name\t[module]`.
fn parse(line: &[u8]) -> Option<Symbol<'_>> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let [class, b' ', name @ ..] = &line[space + 1..] else { return None };
    let tab = name.iter().position(|&byte| byte == b'\t');
    Some(Symbol {
        address: hex(&line[..space])?,
        class: *class,
        name: &name[..tab.unwrap_or(name.len())],
        in_module: tab.is_some(),
    })
}

fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | u64::from((digit as char).to_digit(16)?)))
}

fn rank(symbol: &Symbol<'_>, wanted: &[u8]) -> Option<Rank> {
    let suffix = symbol.name.strip_prefix(wanted)?;
    if !is_whole_body(suffix) {
        return None;
    }
    Some(Rank { suffixed: !suffix.is_empty(), in_module: symbol.in_module, is_static: symbol.class == b't' })
}

/// Nothing, or a chain such as `.isra.0.constprop.1`.
fn is_whole_body(suffix: &[u8]) -> bool {
    let Some(chain) = suffix.strip_prefix(b".") else { return suffix.is_empty() };
    let mut parts = chain.split(|&byte| byte == b'.');
    while let Some(word) = parts.next() {
        let number = parts.next().unwrap_or_default();
        if !WHOLE_BODY_SUFFIXES.contains(&word) || number.is_empty() || !number.iter().all(u8::is_ascii_digit)
        {
            return false;
        }
    }
    true
}
