//! Owns: reading a typed reason out of what the kernel, or the loader, said.
//! Must not know: what was tried, and what comes next.

use aya::programs::ProgramError;

use super::Why;
use super::environment::{self, Denial};
use crate::host::caps::{Cap, Caps};

/// Reads a reason out of what the kernel said.
pub(super) fn why(error: &ProgramError) -> Why {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        // Whether there is a descriptor to be had is found out after the program was checked.
        let is_full = matches!(io_error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        let log = verifier_log.to_string();
        // A refusal of the verifier comes with its log; EPERM without one is a refusal of the program as such.
        let said = last_lines(&log);
        if !said.is_empty() && !is_full {
            // Lockdown makes helpers unknown (LOCKDOWN_BPF_READ_KERNEL, kernel/trace/bpf_trace.c, 6.1 to 7.3): `unknown
            // func bpf_probe_read_kernel#113`, in newer words "cannot use helper"; the loader, which then takes the
            // kernel for an old one, may have put `bpf_probe_read#4` in its place.
            let level = log.contains("bpf_probe_read").then(environment::lockdown).flatten();
            return level.map_or(Why::Verifier(said), Why::Lockdown);
        }
        return why_of_errno(io_error);
    }
    by_errno(errno(error), chain(error))
}

/// Of what the kernel said without a log of the verifier's.
pub(super) fn why_of_errno(error: &std::io::Error) -> Why {
    by_errno(error.raw_os_error(), error.to_string())
}

fn by_errno(errno: Option<i32>, mut text: String) -> Why {
    if let Some(number) = errno {
        // Rust's "(os error 1)" says nothing that the name does not.
        text = text.replace(&format!(" (os error {number})"), "");
    }
    let is_of_tracefs = text.contains("/tracing/") || text.contains("tracefs not found");
    match errno {
        _ if is_of_tracefs && !Caps::own().has(Cap::DacReadSearch) => {
            Why::NotPermitted(text, Denial::find(&[Cap::DacReadSearch]))
        }
        Some(libc::EPERM | libc::EACCES) => Why::NotPermitted(text, Denial::find(&environment::TO_TRACE)),
        Some(libc::EMFILE | libc::ENFILE) => Why::Files(crate::host::descriptors::limit()),
        Some(libc::ENOENT | libc::ESRCH) => Why::NoTarget,
        Some(libc::EINVAL | libc::EOPNOTSUPP) => Why::NotBuiltIn(text),
        // ENOTSUPP (include/linux/errno.h, 6.12), which user space has no name for.
        Some(524) => Why::NotSupported,
        _ if text.contains("BTF") || text.contains("No such file") => Why::NoTarget,
        _ => Why::Other(text),
    }
}

/// The last lines of a verifier log that say something, its statistics left out.
fn last_lines(log: &str) -> String {
    // The last of these since 7.x, a line for each function.
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "subprog "];
    let useful = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !STATISTICS.iter().any(|word| line.starts_with(word))
    };
    let lines: Vec<&str> = log.lines().filter(useful).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

/// The errno somewhere in an error's chain.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What an error says, and what those that caused it say beside that.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_architecture_lacks_is_told_as_that() {
        let why = by_errno(Some(524), "Unknown error 524 (os error 524)".to_owned());
        assert_eq!(why, Why::NotSupported);
        assert!(why.remedy().contains("6.4"), "{}", why.remedy());
    }

    #[test]
    fn statistics_are_no_refusal() {
        let log = "\nsubprog 0 (fe_kill) main insns_self 220187 insns_total 220187 stack 184\nstack depth 184\n\
                   processed 220187 insns (limit 1000000) max_states_per_insn 7\n";
        assert_eq!(last_lines(log), "");
        assert_eq!(last_lines(&format!("invalid access{log}")), "invalid access");
    }
}
