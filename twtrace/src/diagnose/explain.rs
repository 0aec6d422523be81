//! Owns: the long story of each finding and remedy: files beside this one, embedded.
//! Must not know: what was found.
//!
//! A line `@include NAME` in a page stands for that page without its title: what several stories have in common is told once.

/// Declares the pages: one file each.
macro_rules! pages {
    ($($id:literal),+ $(,)?) => {
        /// Every page: its name and its text.
        const PAGES: &[(&str, &str)] = &[$(($id, include_str!(concat!("explain/", $id, ".md")))),+];
    };
}

pages!(
    "bind_no_port",
    "bound_source",
    "check_path",
    "client_reuseaddr",
    "close_sockets",
    "close_unacknowledged",
    "close_wait_pileup",
    "closes_aborted",
    "connect_timeout",
    "conntrack_near_full",
    "conntrack_room",
    "counters_moved",
    "drop_tw_recycle",
    "ephemeral_port_taken",
    "fewer_connections",
    "fin_timeout",
    "fin_wait2_held",
    "fin_wait2_pileup",
    "folklore_fin_timeout",
    "folklore_max_tw_buckets",
    "folklore_tw_recycle",
    "four_way_close",
    "graceful_close",
    "half_closed_tw_reuse",
    "keep_alive",
    "keep_nat_ports",
    "linger_zero",
    "local_address",
    "longer_connections",
    "loopback_address",
    "loopback_backend",
    "lower_fin_timeout",
    "lower_max_tw_buckets",
    "max_tw_buckets",
    "more_addresses",
    "nat_ports_short",
    "no_local_address",
    "not_explained",
    "not_seen",
    "nothing_wrong",
    "open_tw_reuse",
    "orphans_near_limit",
    "other_port",
    "own_ports_taken",
    "peer_closes_first",
    "peer_must_close",
    "port_in_use",
    "port_range",
    "ports_bound",
    "ports_exhausted",
    "ports_held_open",
    "ports_running_out",
    "range_half_full",
    "refused_not_for_ports",
    "release_ports",
    "reserve_ports",
    "restore_fin_timeout",
    "restore_max_tw_buckets",
    "reuse_cannot_work",
    "reuse_delay",
    "reuseaddr",
    "rfc1337",
    "rfc1337_off",
    "rfc1337_on",
    "rst_kills",
    "server_cannot_bind",
    "server_port_range",
    "server_reuseaddr",
    "server_side_harmless",
    "server_tw_reuse",
    "socket_port_range",
    "socket_range",
    "syn_refused",
    "syn_unanswered",
    "table_overflow",
    "timestamps",
    "tuple_taken",
    "tw_recycle",
    "tw_reuse",
    "unbound_port",
    "unix_socket",
    "why_time_wait",
    "wider_socket_range",
);

/// Told by several stories, not found or offered.
const BACKGROUND: &[&str] = &["four_way_close", "why_time_wait"];

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
    [
        ("FINDING", "WHAT GOES WRONG", super::rules::IDS),
        ("REMEDY", "WHAT HELPS", super::remedies::IDS),
        ("FOLKLORE", "WHAT IS OFTEN TRIED, AND DOES NOT HELP", super::folklore::IDS),
        ("BACKGROUND", "HOW IT WORKS", BACKGROUND),
    ]
    .map(|(title, about, names)| {
        let mut stories: Vec<_> = names.iter().map(|name| (*name, line(name))).collect();
        stories.sort_unstable();
        Group { title, about, stories }
    })
}

/// What a story is about: its title without its name.
fn line(name: &str) -> &'static str {
    let title = page(name).and_then(|text| text.lines().next()).unwrap_or_default();
    title.rsplit_once(": ").map_or_else(|| title.trim_start_matches("# "), |(_, line)| line)
}

fn page(name: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A page, whole; `-` in its name does for `_`.
pub fn explain(name: &str) -> Option<String> {
    let mut out = String::new();
    for line in page(&name.replace('-', "_"))?.lines() {
        match line.strip_prefix("@include ") {
            Some(other) => {
                let body =
                    page(other.trim()).unwrap_or_default().lines().skip_while(|line| line.starts_with("# "));
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
        PAGES.iter().map(|(name, _)| *name)
    }

    #[test]
    fn every_name_has_a_page_and_every_page_a_name_and_a_line() {
        let pages: BTreeSet<&str> = names().collect();
        let stories: Vec<_> = index().into_iter().flat_map(|group| group.stories).collect();
        let known: BTreeSet<&str> = stories.iter().map(|(name, _)| *name).collect();
        assert_eq!((&pages, pages.len()), (&known, stories.len()));
        assert!(names().is_sorted());
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
            let included = page(name).unwrap().lines().filter_map(|line| line.strip_prefix("@include "));
            included.for_each(|other| assert!(page(other).is_some(), "{name} includes {other}"));
        }
    }

    #[test]
    fn dashes_do_for_underscores_and_nothing_for_nothing() {
        assert_eq!(explain("tw-reuse"), explain("tw_reuse"));
        assert!(explain("tw_reuse").is_some_and(|text| text.contains("TIME_WAIT")));
        assert_eq!(explain("../../etc/passwd"), None);
    }
}
