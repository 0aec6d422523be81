//! Owns: what the runtime of each container that is met in a recording calls it.
//! Must not know: columns, how a report looks.
//!
//! Names come a moment later than the container they are of, or never: what was said last holds for all of a recording. There are no more
//! of them than containers are told apart.

use std::collections::HashMap;

use crate::engine::Engine;
use crate::engine::intern::{Hasher, NONE, OTHERS};
use crate::model::identity::Names;

/// A container's name, its image, its pod and the namespace of that, as the interner's numbers.
pub(super) type Called = [u32; 4];

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Namings {
    /// By the number of the container's display name.
    known: HashMap<u32, Called, Hasher>,
    /// What was said last: mostly it is said again.
    last: (u32, Called),
}

impl Namings {
    /// Takes in what an event says of its owner's container.
    #[inline]
    pub(super) fn say(&mut self, container: u32, called: Called) {
        let is_said = !matches!(container, NONE | OTHERS) && called != [NONE; 4];
        if is_said && self.last != (container, called) {
            self.known.insert(container, called);
            self.last = (container, called);
        }
    }

    /// What a container is called; `None` where nobody said.
    pub(super) fn of(&self, container: u32, engine: &Engine) -> Option<Names> {
        let [name, image, pod, pod_namespace] =
            self.known.get(&container)?.map(|number| engine.text(number).map(str::to_owned));
        Some(Names { name, image, pod, pod_namespace })
    }
}
