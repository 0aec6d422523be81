//! Owns: what a container's runtime calls it: known, known in a moment, or never.
//! Must not know: how a runtime is asked.

use std::sync::{Arc, OnceLock};

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
