//! Owns: which machine this is: its name, its machine id, this run of its kernel.
//! Must not know: who is told.

use crate::model::clock;

/// Longest machine id that is taken, in bytes: it has 32 hexadecimal digits (machine-id(5)).
const LONGEST: usize = 64;

/// What can be said of it; empty where it is not known. Texts are the machine's own, and hostile until escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its name, `uname -n`.
    pub name: String,
    /// What stays when the name changes: /etc/machine-id.
    pub machine_id: String,
    /// This run of its kernel: /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// Release of its kernel, `uname -r`.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn read() -> Self {
        let name = nix::sys::utsname::uname().ok();
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Self {
            name: name.as_ref().map_or_else(String::new, |name| text(name.nodename())),
            machine_id: machine_id(&id),
            boot_id: clock::boot_id(),
            kernel: name.as_ref().map_or_else(String::new, |name| text(name.release())),
        }
    }
}

/// What the file says, where that is an id: an image that was not started yet has `uninitialized`.
fn machine_id(text: &str) -> String {
    let id = text.trim();
    let is_one = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one { id.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_a_kernel() {
        let machine = Machine::read();
        assert!(!machine.name.is_empty() && !machine.kernel.is_empty(), "{machine:?}");
        assert_eq!(machine.boot_id.len(), 36, "{machine:?}");
    }

    #[test]
    fn an_id_is_made_of_digits() {
        let id = "0123456789abcdef0123456789abcdef";
        for (text, want) in [
            (format!("{id}\n"), id),
            (String::new(), ""),
            ("uninitialized\n".to_owned(), ""),
            ("\u{1b}[31m".to_owned(), ""),
            (id.repeat(3), ""),
        ] {
            assert_eq!(machine_id(&text), want, "{text:?}");
        }
    }
}
