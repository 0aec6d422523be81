//! Owns: who a process is: its program, command line, cgroup and container, and what the container's runtime calls that: known, known in a
//! moment, or never.
//! Must not know: how that is found out.

mod container;

use std::sync::{Arc, OnceLock};

pub use container::{Container, Runtime, container_of};

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

/// Longest name that is kept, in characters.
const LONGEST: usize = 256;

/// What people call a container. What is not known is `None`. All texts are strangers' and hostile until escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Names {
    /// Its own name.
    pub name: Option<String>,
    /// Its image, as whoever started it named it.
    pub image: Option<String>,
    /// Its Kubernetes pod.
    pub pod: Option<String>,
    /// The Kubernetes namespace of that.
    pub pod_namespace: Option<String>,
}

impl Names {
    /// `namespace/pod`, or what is known of it.
    pub fn full_pod(&self) -> Option<String> {
        let pod = self.pod.as_ref()?;
        let namespace = self.pod_namespace.as_ref().map(|namespace| format!("{namespace}/"));
        Some(namespace.unwrap_or_default() + pod)
    }

    /// Cuts what is too long, and leaves out what is empty.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text: Option<String>| {
            text.filter(|text| !text.is_empty()).map(|text| text.chars().take(LONGEST).collect())
        };
        let Self { name, image, pod, pod_namespace } = self;
        Self { name: cut(name), image: cut(image), pod: cut(pod), pod_namespace: cut(pod_namespace) }
    }
}

/// Names that are known, will be in a moment, or never. Copies are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Naming(Arc<OnceLock<Names>>);

impl Naming {
    /// What is known of them by now.
    pub fn get(&self) -> Option<&Names> {
        self.0.get()
    }

    /// Makes them known, once.
    pub(crate) fn set(&self, names: Names) {
        // Nobody else writes there.
        let _ = self.0.set(names.bounded());
    }
}

impl From<Names> for Naming {
    fn from(names: Names) -> Self {
        Self(Arc::new(OnceLock::from(names)))
    }
}

impl PartialEq for Naming {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Naming {}

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

    #[test]
    fn names_are_bounded_and_never_empty() {
        let names = Names { name: Some("x".repeat(1000)), image: Some(String::new()), ..Names::default() };
        let naming = Naming::default();
        assert_eq!(naming.get(), None);
        let copy = naming.clone();
        naming.set(names);
        let want = Names { name: Some("x".repeat(LONGEST)), ..Names::default() };
        assert_eq!(copy.get(), Some(&want));
    }
}
