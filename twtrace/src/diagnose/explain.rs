//! Owns: the long story of each finding and remedy: files beside this one, embedded.
//! Must not know: what was found.
//!
//! A line `@include NAME` in a page stands for that page without its title: what several stories have in common is told once.

/// A story: its name, and its page.
type StoryPage = (&'static str, &'static str);

/// Stories by their names: one file each.
macro_rules! pages {
    ($($id:literal),+ $(,)?) => {
        &[$(($id, include_str!(concat!("explain/", $id, ".md")))),+]
    };
}

/// What goes wrong.
const FINDINGS: &[StoryPage] = pages![
    "bound_source",
    "close_unacknowledged",
    "close_wait_pileup",
    "closes_aborted",
    "conntrack_near_full",
    "counters_moved",
    "ephemeral_port_taken",
    "fin_wait2_held",
    "fin_wait2_pileup",
    "folklore_fin_timeout",
    "folklore_max_tw_buckets",
    "folklore_tw_recycle",
    "loopback_backend",
    "nat_ports_short",
    "no_local_address",
    "not_explained",
    "not_seen",
    "nothing_wrong",
    "orphans_near_limit",
    "own_ports_taken",
    "port_in_use",
    "ports_bound",
    "ports_exhausted",
    "ports_held_open",
    "ports_running_out",
    "range_half_full",
    "refused_not_for_ports",
    "reuse_cannot_work",
    "rst_kills",
    "server_cannot_bind",
    "server_side_harmless",
    "socket_range",
    "syn_refused",
    "syn_unanswered",
    "table_overflow",
    "tuple_taken",
];

/// What helps.
const REMEDIES: &[StoryPage] = pages![
    "bind_no_port",
    "check_path",
    "close_sockets",
    "connect_timeout",
    "conntrack_room",
    "drop_tw_recycle",
    "fewer_connections",
    "fin_timeout",
    "graceful_close",
    "keep_alive",
    "keep_nat_ports",
    "local_address",
    "longer_connections",
    "loopback_address",
    "max_tw_buckets",
    "more_addresses",
    "other_port",
    "peer_closes_first",
    "peer_must_close",
    "port_range",
    "release_ports",
    "reserve_ports",
    "restore_fin_timeout",
    "restore_max_tw_buckets",
    "reuse_delay",
    "reuseaddr",
    "rfc1337",
    "rfc1337_off",
    "timestamps",
    "tw_reuse",
    "unbound_port",
    "unix_socket",
    "wider_socket_range",
];

/// What does not help, beside remedies whose condition does not hold.
const FOLKLORE: &[StoryPage] = pages![
    "client_reuseaddr",
    "half_closed_tw_reuse",
    "linger_zero",
    "lower_fin_timeout",
    "lower_max_tw_buckets",
    "open_tw_reuse",
    "rfc1337_on",
    "server_port_range",
    "server_reuseaddr",
    "server_tw_reuse",
    "socket_port_range",
    "tw_recycle",
];

/// Told by several stories, not found or offered.
const BACKGROUND: &[StoryPage] = pages!["four_way_close", "why_time_wait"];

/// Every page, with what those of its kind are and what a line says of each.
const KINDS: [(&str, &str, &[StoryPage]); 4] = [
    ("FINDING", "WHAT GOES WRONG", FINDINGS),
    ("REMEDY", "WHAT HELPS", REMEDIES),
    ("FOLKLORE", "WHAT IS OFTEN TRIED, AND DOES NOT HELP", FOLKLORE),
    ("BACKGROUND", "HOW IT WORKS", BACKGROUND),
];

/// Stories of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they are, in one word.
    pub title: &'static str,
    /// What a line says of each.
    pub about: &'static str,
    /// The name of each and its line, by name.
    pub stories: Vec<(&'static str, &'static str)>,
}

/// All stories: findings, remedies, folklore, and what several of them stand on.
pub fn index() -> [Group; 4] {
    KINDS.map(|(title, about, pages)| {
        let stories = pages.iter().map(|(name, page)| (*name, line(page))).collect();
        Group { title, about, stories }
    })
}

/// What a story is about: its title without its name.
fn line(page: &'static str) -> &'static str {
    let title = page.lines().next().unwrap_or_default();
    title.rsplit_once(": ").map_or_else(|| title.trim_start_matches("# "), |(_, line)| line)
}

fn page(name: &str) -> Option<&'static str> {
    let mut all = KINDS.iter().flat_map(|(.., pages)| *pages);
    all.find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Whether it is one of such a title.
#[cfg(test)]
pub(super) fn is(title: &str, name: &str) -> bool {
    KINDS.iter().any(|(kind, _, pages)| *kind == title && pages.iter().any(|(known, _)| *known == name))
}

/// A page, whole; `-` in its name does for `_`.
pub fn explain(name: &str) -> Option<String> {
    let mut out = String::new();
    for line in page(&name.replace('-', "_"))?.lines() {
        match line.strip_prefix("@include ") {
            Some(other) => {
                // The blank line below a title is there already.
                let is_head = |line: &&str| line.is_empty() || line.starts_with("# ");
                let body = page(other.trim()).unwrap_or_default().lines().skip_while(is_head);
                body.for_each(|line| push(line, &mut out));
            }
            None => push(line, &mut out),
        }
    }
    Some(out)
}

fn push(line: &str, out: &mut String) {
    out.push_str(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().flat_map(|(.., pages)| *pages).map(|(name, _)| *name)
    }

    #[test]
    fn every_story_has_a_name_of_its_own_in_order_and_a_line_and_every_file_is_one() {
        let known: BTreeSet<String> = names().map(|name| format!("{name}.md")).collect();
        let stories: Vec<_> = index().into_iter().flat_map(|group| group.stories).collect();
        assert_eq!(known.len(), stories.len());
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/diagnose/explain")).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(known, files);
        assert!(KINDS.iter().all(|(.., pages)| pages.is_sorted()));
        for (name, line) in stories {
            let is_short = !line.is_empty() && name.len().max(21) + 2 + line.len() <= 80;
            assert!(is_short && !line.starts_with('#') && line != name, "{name}: {line:?}");
        }
    }

    #[test]
    fn pages_fit_80_columns_and_include_what_there_is() {
        for name in names() {
            let text = explain(name).unwrap();
            assert!(text.starts_with("# "), "{name}");
            assert!(text.lines().count() >= 8, "{name} is no story");
            for line in text.lines() {
                assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{name}: {line}");
                assert!(!line.starts_with('@'), "{name}: {line}");
            }
            assert!(!text.contains("\n\n\n"), "{name} has blank lines without need");
            let included = page(name).unwrap().lines().filter_map(|line| line.strip_prefix("@include "));
            included.for_each(|other| assert!(page(other).is_some(), "{name} includes {other}"));
        }
    }

    /// Whether a line ends before its words do: the first word of the next one has room on it, and more.
    fn breaks_early(line: &str, next: &str) -> bool {
        let is_prose = |line: &str| line.starts_with(|c: char| c.is_alphabetic() || c == '(' || c == '`');
        let word = next.split(' ').next().unwrap_or_default();
        is_prose(line) && is_prose(next) && line.len() + 1 + word.len() < 60
    }

    #[test]
    fn paragraphs_are_filled() {
        for name in names() {
            let page = page(name).unwrap();
            let early = page.lines().zip(page.lines().skip(1)).find(|(line, next)| breaks_early(line, next));
            assert_eq!(early, None, "{name}");
        }
    }

    #[test]
    fn dashes_do_for_underscores_and_nothing_for_nothing() {
        assert_eq!(explain("tw-reuse"), explain("tw_reuse"));
        assert!(explain("tw_reuse").is_some_and(|text| text.contains("TIME_WAIT")));
        assert_eq!(explain("../../etc/passwd"), None);
    }
}
