//! Owns: the filter flags, the same on every command that reads events; what their values stand for, on this machine or in a
//! recording.
//! Must not know: how a filter is applied.

mod doubts;

use std::cell::OnceCell;
use std::path::Path;

use ipnet::IpNet;

use super::values::{STREAM, Usage, cidr, one_of, pid, port, uid};
use crate::model::escape::printable;
use crate::model::event::{Reason, Role};
use crate::model::filter::{CgroupFilter, Failures, Filter, Glob, Unwanted};
use crate::recording::{Head, Namespace, Recording};

/// Which events to show. Several values of one flag: one of them must match. Several flags: all of them must match.
/// NAME and PATH may hold `*` (any text) and `?` (one character); quote them for the shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Filters (lists are separated by commas)")]
pub(super) struct FilterArgs {
    /// Owner's process id (of failures: the caller's)
    #[arg(long, value_name = "PID", value_parser = pid, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Owner's process name, such as nginx or 'php-fpm*'; the kernel keeps 15 bytes of it
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name())]
    comm: Vec<String>,
    /// Owner's user id
    #[arg(long, value_name = "UID", value_parser = uid, value_delimiter = ',')]
    uid: Vec<u32>,
    /// Owner's cgroup (v2) or one above it, such as /system.slice/nginx.service or 'system.slice/*'
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_parser = name())]
    cgroup: Vec<String>,
    /// Network namespace: self, an inode, a name of `ip netns` such as 'web*', or a path; a trace takes those of such a name
    /// that there are when it begins
    #[arg(long, value_name = "self|INODE|NAME|PATH", value_delimiter = ',', value_parser = name())]
    netns: Vec<String>,
    /// Local port
    #[arg(long, value_name = "PORT", value_parser = port, value_delimiter = ',')]
    sport: Vec<u16>,
    /// Remote port
    #[arg(long, value_name = "PORT", value_parser = port, value_delimiter = ',')]
    dport: Vec<u16>,
    /// Local or remote port
    #[arg(long, value_name = "PORT", value_parser = port, value_delimiter = ',')]
    port: Vec<u16>,
    /// Remote address or network, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR", value_parser = cidr, value_delimiter = ',')]
    peer: Vec<IpNet>,
    /// IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
    /// This end of the connection
    #[arg(long, value_name = "ROLE", value_delimiter = ',', value_parser = one_of(Role::ALL, Role::word))]
    role: Vec<Role>,
    /// Why it ended; shows only `ended` events
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = one_of(Reason::ALL, Reason::word))]
    reason: Vec<Reason>,
    /// Failed calls of connect() and bind(): ports for those that failed for a port or an address (EADDRNOTAVAIL, EADDRINUSE), all for
    /// any error [default: ports; of a recording, all that it has]
    #[arg(long, value_name = "WHICH", value_parser = one_of(Failures::ALL, Failures::word))]
    failures: Option<Failures>,
    /// Leave out owners with this process id; as with all --not flags for owners, unknown owners are left out too
    #[arg(long, value_name = "PID", value_parser = pid, value_delimiter = ',')]
    not_pid: Vec<u32>,
    /// Leave out owners with this process name
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name())]
    not_comm: Vec<String>,
    /// Leave out owners in this cgroup or below it
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_parser = name())]
    not_cgroup: Vec<String>,
    /// Leave out this port, local or remote
    #[arg(long, value_name = "PORT", value_parser = port, value_delimiter = ',')]
    not_port: Vec<u16>,
    /// Leave out this remote address or network
    #[arg(long, value_name = "CIDR", value_parser = cidr, value_delimiter = ',')]
    not_peer: Vec<IpNet>,
    /// What can never match was said: it is the same for each of many recordings.
    #[arg(skip)]
    is_doubted: OnceCell<()>,
}

/// Of a name nothing is no name.
fn name() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}

/// Leaves out of the help what says nothing to a command; whoever gives it nevertheless is told so.
pub(super) fn hide(flags: &'static [&'static str]) -> impl Fn(clap::Arg) -> clap::Arg {
    move |arg| if flags.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg }
}

/// What a reason picks where it is not events that are shown, but what lives: for that births are needed, whatever their ends will be.
pub(super) fn of_view(reason: clap::Arg) -> clap::Arg {
    reason.help(
        "Why it ended: counts only these ends, and shows only rows that have one; what lives, is created and fails is counted as ever",
    )
}

impl FilterArgs {
    /// For a trace: [`Self::filter`], and what matches nothing on this machine now is said on stderr.
    pub(super) fn live(&self) -> Result<Filter, Usage> {
        self.filter().inspect(|filter| {
            doubts::say_now(filter);
            self.say_patterns();
        })
    }

    /// For what is only about to begin: what can never match is said on stderr.
    pub(super) fn coming(&self) -> Result<Filter, Usage> {
        self.filter().inspect(doubts::say_never)
    }

    /// Says on stderr what patterns of names of namespaces come to: what is made later is left out.
    pub(super) fn say_patterns(&self) {
        for spec in self.netns.iter().filter(|spec| Glob::from(spec.as_str()).is_pattern() && is_name(spec)) {
            let now = crate::host::net::netns::resolve_all(spec).map_or(0, |all| all.len());
            let spec = printable(spec);
            crate::note!(
                "twtrace: --netns {spec} means the network namespaces of such a name that there are now: {now}"
            );
        }
    }

    /// The first flag that picks single events, whatever its value.
    pub(super) fn of_events(&self) -> Option<&'static str> {
        let failures = self.failures.map(|_| "--failures");
        if self.reason.is_empty() { failures } else { Some("--reason") }
    }

    /// Looks up what the values stand for on this machine.
    pub(super) fn filter(&self) -> Result<Filter, Usage> {
        let mut netns = Vec::new();
        for spec in &self.netns {
            netns.extend(
                crate::host::net::netns::resolve_all(spec).map_err(|error| Usage(error.to_string()))?,
            );
        }
        let filter = self.with_netns(netns, crate::host::identity::leaf_cgroup_id);
        Ok(Filter { failures: self.failures.filter(|which| *which == Failures::All), ..filter })
    }

    /// As [`Self::filter`], for a recording, which may have been made elsewhere and long ago: names of namespaces are those that it
    /// knows, cgroups go by their paths, and nothing is looked up on this machine but what only means something there.
    pub(super) fn recorded(&self, path: &Path, head: &Head) -> anyhow::Result<Filter> {
        let later = self.came_later(path)?;
        let known = || head.namespaces.iter().chain(&later);
        let mut inodes = Vec::new();
        for spec in &self.netns {
            let mut found = named(known(), spec);
            if found.is_empty() {
                found.push(elsewhere(spec, head, known())?);
            }
            inodes.extend(found);
        }
        inodes.sort_unstable();
        inodes.dedup();
        let filter = self.with_netns(inodes, |_| None);
        let failures = self.failures.filter(|which| *which == Failures::Ports);
        let filter = Filter { failures, ..filter };
        self.is_doubted.get_or_init(|| doubts::say_never(&filter));
        Ok(filter)
    }

    /// The namespaces that came, or were given their names, while a recording was made, where a name may mean one of them: however many are known
    /// from its start, others may be called so later.
    fn came_later(&self, path: &Path) -> anyhow::Result<Vec<Namespace>> {
        let Some(spec) = self.netns.iter().find(|spec| is_name(spec)) else { return Ok(Vec::new()) };
        // A pipe can be read once only.
        if path.as_os_str() == STREAM || !path.is_file() {
            crate::note!(
                "twtrace: --netns {}: of what cannot be read twice, such as a pipe, those network namespaces are meant that it knows from its start",
                printable(spec)
            );
            return Ok(Vec::new());
        }
        Ok(Recording::namespaces(path)?)
    }

    /// `leaf_id`: the id of a cgroup, where it is a leaf that exists now.
    fn with_netns(&self, netns: Vec<u32>, leaf_id: fn(&str) -> Option<u64>) -> Filter {
        let cgroups = |paths: &[String]| paths.iter().map(|path| cgroup(path, leaf_id)).collect();
        let globs = |names: &[String]| names.iter().map(|name| Glob::from(name.as_str())).collect();
        Filter {
            pids: self.pid.clone(),
            comms: globs(&self.comm),
            uids: self.uid.clone(),
            cgroups: cgroups(&self.cgroup),
            netns,
            sports: self.sport.clone(),
            dports: self.dport.clone(),
            ports: self.port.clone(),
            peers: self.peer.clone(),
            family: if self.ipv4 { Some(4) } else { self.ipv6.then_some(6) },
            roles: self.role.clone(),
            reasons: self.reason.clone(),
            failures: self.failures,
            not: Unwanted {
                pids: self.not_pid.clone(),
                comms: globs(&self.not_comm),
                cgroups: cgroups(&self.not_cgroup),
                ports: self.not_port.clone(),
                peers: self.not_peer.clone(),
                netns: Vec::new(),
            },
        }
    }
}

/// Says on stderr which values match nothing on this machine as it is now: for whoever was shown nothing.
pub(super) fn say_what_matches_nothing(filter: &Filter) {
    doubts::say_here(filter);
}

/// Whether a value of `--netns` can be a name.
fn is_name(spec: &str) -> bool {
    spec != "self" && !spec.contains('/') && !spec.bytes().all(|byte| byte.is_ascii_digit())
}

/// The namespaces of a name, which may have wildcards; one may have been made anew under the same.
fn named<'a>(known: impl Iterator<Item = &'a Namespace>, spec: &str) -> Vec<u32> {
    let spec = Glob::from(spec);
    let named = known.filter(|it| it.name.as_deref().is_some_and(|name| spec.matches(name)));
    named.map(|namespace| namespace.netns).collect()
}

/// What a value means that is no name in a recording: an inode; and on the machine of the recording, as long as that has not been
/// booted since, the caller's own namespace or a path.
fn elsewhere<'a>(spec: &str, head: &Head, known: impl Iterator<Item = &'a Namespace>) -> Result<u32, Usage> {
    if let Ok(inode) = spec.parse() {
        return Ok(inode);
    }
    let shown = printable(spec);
    if is_name(spec) {
        let mut names: Vec<_> = known.filter_map(|namespace| namespace.name.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        let names = match &names[..] {
            [] => "it knows none by name".to_owned(),
            some => format!("it knows {}", printable(&some.join(", "))),
        };
        return Err(Usage(format!(
            "--netns {shown}: the recording has no network namespace of that name; {names}, and inodes will do as well \
             (`twtrace report --by netns`)"
        )));
    }
    let booted = crate::model::clock::boot_id();
    if head.boot_id.is_empty() || head.boot_id != booted {
        return Err(Usage(format!(
            "--netns {shown}: the recording is of another machine, or of another boot of this one: give a name that it knows, or an \
             inode (`twtrace report --by netns`)"
        )));
    }
    crate::host::net::netns::resolve_spec(spec).map_err(|error| Usage(error.to_string()))
}

/// What to say of a filter that nothing in a recording passed.
pub(super) fn said_of_nothing(filter: &Filter, passed: u64) -> Option<String> {
    let words = filter.words().join(" ");
    (passed == 0 && !filter.is_empty())
        .then(|| format!("no event of the recording passes {}", printable(&words)))
}

/// A path below the mount of cgroups; systemd's names are often written without the first slash.
fn cgroup(path: &str, leaf_id: fn(&str) -> Option<u64>) -> CgroupFilter {
    let path = format!("/{}", path.trim_matches('/'));
    let leaf_id = leaf_id(&path);
    CgroupFilter { path: path.into(), leaf_id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Namespace;

    fn namespace(netns: u32, name: &str) -> Namespace {
        Namespace { netns, name: Some(name.to_owned()), ..Namespace::default() }
    }

    fn of_netns(specs: &[&str]) -> FilterArgs {
        FilterArgs { netns: specs.iter().map(|spec| (*spec).to_owned()).collect(), ..FilterArgs::default() }
    }

    /// A recording on disk: a namespace that is known from the start, one that was met, one that was named at the end.
    fn recorded(boot_id: &str) -> (tempfile::TempDir, std::path::PathBuf, Head) {
        let head =
            Head { boot_id: boot_id.to_owned(), namespaces: vec![namespace(17, "blue")], ..Head::default() };
        let mut encoder = crate::recording::Encoder::new(&head).unwrap();
        encoder.met(&[namespace(19, "met"), namespace(23, "met"), namespace(31, "blue")]).unwrap();
        let tail = crate::recording::Tail { namespaces: vec![namespace(29, "late")], ..Default::default() };
        encoder.finish(&tail).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.twt");
        std::fs::write(&path, encoder.bytes()).unwrap();
        (dir, path, head)
    }

    #[test]
    fn a_recording_is_filtered_by_what_things_were_called_there() {
        let (_dir, path, head) = recorded("another boot");
        let mut args = of_netns(&["blue", "met", "late", "4711"]);
        args.cgroup = vec!["/".to_owned()];
        let filter = args.recorded(&path, &head).unwrap();
        assert_eq!((filter.netns, filter.cgroups[0].leaf_id), (vec![17, 19, 23, 29, 31, 4711], None));
    }

    /// One of a name that is known from the start may be deleted, and made anew while the recording goes on.
    #[test]
    fn those_of_a_name_that_came_later_count_as_well() {
        let (_dir, path, head) = recorded("another boot");
        let netns = |spec: &str| of_netns(&[spec]).recorded(&path, &head).unwrap().netns;
        assert_eq!(netns("blue"), [17, 31]);
        assert_eq!(netns("*e"), [17, 29, 31]);
        assert_eq!(netns("*"), [17, 19, 23, 29, 31]);
        assert_eq!(netns("17"), [17]);
    }

    #[test]
    fn what_a_recording_does_not_know_is_not_looked_up_here() {
        let (_dir, path, head) = recorded("another boot");
        for (spec, why) in [
            (
                "no-such",
                "no-such: the recording has no network namespace of that name; it knows blue, late, met, met",
            ),
            ("self", "another boot"),
            ("/proc/self/ns/net", "another boot"),
        ] {
            let error = of_netns(&[spec]).recorded(&path, &head).unwrap_err().to_string();
            assert!(error.contains(&why.replace("met, met", "met")), "{error}");
        }
        // On the machine that it was made on, the caller's own namespace means something.
        let (_dir, path, head) = recorded(&crate::model::clock::boot_id());
        let own = crate::host::net::netns::own_inode().unwrap();
        assert_eq!(of_netns(&["self"]).recorded(&path, &head).unwrap().netns, [own]);
    }

    /// A picture of what lives needs births, whatever ends are asked about.
    #[test]
    fn help_says_what_a_reason_picks_in_events_and_in_a_view() {
        let command = super::super::command();
        let help = |command: &clap::Command| {
            let flag = command.get_arguments().find(|arg| arg.get_id() == "reason");
            flag.and_then(clap::Arg::get_help).map(ToString::to_string).unwrap_or_default()
        };
        let of = |name: &str| help(command.find_subcommand(name).unwrap());
        for name in ["events", "record", "report", "diff", "export"] {
            assert_eq!(of(name), "Why it ended; shows only `ended` events", "{name}");
        }
        for view in [of("replay"), help(&command)] {
            assert!(view.contains("counts only these ends") && view.contains("counted as ever"), "{view}");
        }
    }

    #[test]
    fn a_filter_that_nothing_passes_is_said() {
        let filter = Filter { comms: vec!["no\x1bsuch".into()], ..Filter::default() };
        assert_eq!(
            said_of_nothing(&filter, 0).unwrap(),
            r"no event of the recording passes --comm no\x1bsuch"
        );
        assert_eq!((said_of_nothing(&filter, 1), said_of_nothing(&Filter::default(), 0)), (None, None));
    }
}
