//! Owns: what network namespaces hold that are not listed.
//! Must not know: what is in a list.

use crate::host::net::books::time_waits;
use crate::host::net::netns::{host_inode, own_inode, survey};
use crate::model::escape::printable;
use crate::model::figures::grouped;

/// Namespaces that are named.
const NAMED: usize = 3;

/// What other namespaces than the caller's own hold, as far as it can be seen: what each is called, escaped, and its TIME_WAIT sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere(Vec<(String, u64)>);

impl Elsewhere {
    /// Asks the kernel how many sockets there are, which takes no list of them.
    pub fn count() -> Self {
        let Ok(own) = own_inode() else { return Self::default() };
        let (mut others, host) = (survey().namespaces, host_inode());
        others.retain(|netns| netns.inode != own);
        // What cannot be seen is not spoken of: `--all-netns` says why.
        let counts = time_waits(&others).unwrap_or_default();
        let held = others.iter().zip(counts).filter_map(|(netns, (_, count))| {
            let name = netns.called(host).unwrap_or_else(|| netns.inode.to_string());
            Some((printable(&name).into_owned(), count.ok().filter(|count| *count != 0)?))
        });
        Self::of(held.collect())
    }

    fn of(mut held: Vec<(String, u64)>) -> Self {
        held.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Self(held)
    }

    /// In one line; nothing where they hold nothing.
    pub fn line(&self) -> Option<String> {
        let (all, sockets) = (self.0.len(), self.0.iter().map(|(_, count)| count).sum());
        if all == 0 {
            return None;
        }
        let named = self.0.iter().take(NAMED).map(|(name, count)| format!("{name} {}", grouped(*count)));
        let more = if all > NAMED { ", …" } else { "" };
        let named = named.collect::<Vec<_>>().join(", ");
        let (verb, plural) = (if all == 1 { "holds" } else { "hold" }, if sockets == 1 { "" } else { "s" });
        Some(format!(
            "other namespaces: {} {verb} {} TIME_WAIT socket{plural} ({named}{more}); --all-netns lists them",
            grouped(all as u64),
            grouped(sockets)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(held: &[(&str, u64)]) -> Option<String> {
        Elsewhere::of(held.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()).line()
    }

    #[test]
    fn those_that_hold_most_are_named() {
        assert_eq!(line(&[]), None);
        let one = "other namespaces: 1 holds 1 TIME_WAIT socket (he1 1); --all-netns lists them";
        assert_eq!(line(&[("he1", 1)]).as_deref(), Some(one));
        let four = "other namespaces: 4 hold 1,215 TIME_WAIT sockets (he1 1,103, 4026532177 97, a 13, …); --all-netns lists them";
        let held = [("b", 2), ("a", 13), ("he1", 1103), ("4026532177", 97)];
        assert_eq!(line(&held).as_deref(), Some(four));
    }
}
