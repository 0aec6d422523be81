//! Owns: who a process is: its program, command line, cgroup and container.
//! Must not know: how that is found out.

mod container;
mod names;

use std::sync::{Arc, OnceLock};

pub use container::{Container, Runtime, container_of};
pub use names::{Names, Naming};

/// What can be said of a process beyond what the kernel side carries. What is not known for certain is `None`. All
/// texts are the process's own and hostile until escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Path of its program as the process itself would name it (a container's path inside the container), less the
    /// kernel's ` (deleted)`: a program that was replaced by an upgrade is still the same program.
    pub exe: Option<String>,
    /// Its arguments, joined by spaces as `ps` does, cut at 4 KiB. May hold secrets. Read a moment later than the rest, or never.
    pub cmdline: Cmdline,
    /// Path of its cgroup: in the v2 hierarchy, or in a v1 hierarchy where it is in the root of v2.
    pub cgroup: Option<String>,
    /// The container that its cgroup belongs to.
    pub container: Option<Container>,
    /// What that container is called. Known a moment later than the rest, or never.
    pub names: Naming,
}

/// The systemd unit that a cgroup is of: the last part of its path that is one (systemd.unit(5)). Empty where none is.
pub fn unit_of(cgroup: &str) -> &str {
    let is_unit = |part: &&str| [".service", ".scope", ".slice"].iter().any(|kind| part.ends_with(kind));
    cgroup.rsplit('/').find(is_unit).unwrap_or_default()
}

/// The same, where it is a service, which people know by its name.
pub fn service_of(cgroup: &str) -> Option<String> {
    Some(unit_of(cgroup)).filter(|unit| unit.ends_with(".service")).map(str::to_owned)
}

/// A command line that is known, will be in a moment, or never. Copies are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Cmdline(Arc<OnceLock<String>>);

impl Cmdline {
    /// What is known of it by now.
    pub fn get(&self) -> Option<&String> {
        self.0.get()
    }

    /// Makes it known, once.
    pub(crate) fn set(&self, text: String) {
        // Nobody else writes there.
        let _ = self.0.set(text);
    }
}

impl From<String> for Cmdline {
    fn from(text: String) -> Self {
        Self(Arc::new(OnceLock::from(text)))
    }
}

impl PartialEq for Cmdline {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Cmdline {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_by_the_cgroup() {
        assert_eq!(unit_of("/system.slice/php8.2-fpm.service"), "php8.2-fpm.service");
        assert_eq!(
            unit_of("/system.slice/system-getty.slice/getty@tty1.service/worker"),
            "getty@tty1.service"
        );
        assert_eq!(unit_of("/user.slice/user-0.slice/session-1.scope"), "session-1.scope");
        assert_eq!(unit_of("/"), "");
    }
}
