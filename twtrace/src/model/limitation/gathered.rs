//! Owns: what cannot be seen of many network namespaces for the same reason, told once for all of them.
//! Must not know: who finds it out.

use std::fmt::Display;

use super::{Limitation, What};

/// What is found out while many namespaces are looked at, in the order in which it was.
#[derive(Debug, Default)]
pub struct Gathered(Vec<Group>);

#[derive(Debug)]
struct Group {
    /// Of the first namespace; of none where it is about something else.
    netns: Option<u32>,
    /// Other namespaces of which the same is true.
    others: u64,
    what: What,
    why: String,
    remedy: String,
}

impl Gathered {
    /// Adds one that is of no single namespace.
    pub fn add(&mut self, limitation: Limitation) {
        let Limitation { what, why, remedy } = limitation;
        self.0.push(Group { netns: None, others: 0, what, why, remedy });
    }

    /// Adds one of a namespace. What is the same of another one, and has the same remedy, is counted there.
    pub fn add_of(&mut self, netns: u32, what: What, why: impl Display, remedy: &str) {
        let is_same =
            |group: &&mut Group| group.netns.is_some() && group.what == what && group.remedy == remedy;
        match self.0.iter_mut().find(is_same) {
            Some(group) => group.others += u64::from(group.netns != Some(netns)),
            None => self.0.push(Group {
                netns: Some(netns),
                others: 0,
                what,
                why: why.to_string(),
                remedy: remedy.to_owned(),
            }),
        }
    }

    /// One line for each thing.
    pub fn told(self) -> Vec<Limitation> {
        let told = |group: Group| {
            let why = match (group.netns, group.others) {
                (None, _) => group.why,
                (Some(netns), 0) => format!("netns {netns}: {}", group.why),
                (Some(netns), others) => format!("netns {netns}, and {others} more: {}", group.why),
            };
            Limitation::new(group.what, why, group.remedy)
        };
        self.0.into_iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_namespaces_that_cannot_be_entered_are_one_line() {
        let mut all = Gathered::default();
        all.add(Limitation::new(What::Counters, "no counters", "a newer kernel"));
        for netns in 0..1009 {
            all.add_of(netns, What::Namespaces, format_args!("/proc/{netns}: permission denied"), "sudo");
        }
        all.add_of(7, What::Sockets, "sockets changed too fast", "list again");
        let told: Vec<String> = all.told().into_iter().map(|one| one.why).collect();
        assert_eq!(
            told,
            [
                "no counters",
                "netns 0, and 1008 more: /proc/0: permission denied",
                "netns 7: sockets changed too fast"
            ]
        );
    }
}
