//! Owns: `twtrace list`: the TIME_WAIT sockets that exist now.
//! Must not know: how they are listed.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::Outcome;
use super::filters::{FilterArgs, hide, say_what_matches_nothing};
use super::values::{Usage, first_given};
use crate::host::caps::Caps;
use crate::host::net::slabinfo;
use crate::host::net::sockdiag::States;
use crate::model::escape::{self, printable};
use crate::model::figures::grouped;
use crate::model::filter::Filter;
use crate::model::limitation::Limitation;
use crate::output::paint::Paint;
use crate::present::list::{self, Choice, Elsewhere, Listed, NetnsSockets, Note, Owners, Socket, Summary};
use crate::recording::Recording;
use crate::source::inquiry;

/// `twtrace list`
#[derive(Debug, clap::Args)]
#[command(mut_args(hide(&["reason", "failures"])))]
pub(super) struct Args {
    /// Print one JSON object per socket and line
    #[arg(long)]
    json: bool,
    /// Show counts instead: sockets per TCP state, memory of TIME_WAIT sockets, free ports per tuple
    #[arg(long)]
    summary: bool,
    /// List all network namespaces that can be reached, not only this one
    #[arg(long, conflicts_with = "netns")]
    all_netns: bool,
    /// Take owners from this recording too, which may still be growing; root gets those of running traces without it
    #[arg(long, value_name = "FILE", conflicts_with = "summary")]
    recording: Option<PathBuf>,
    #[command(flatten)]
    filters: FilterArgs,
}

impl Args {
    /// Names that only the recording knows are those that it knows; the rest is this machine's.
    fn filter(&self) -> anyhow::Result<Filter> {
        match (self.filters.coming(), &self.recording) {
            (Ok(filter), _) => Ok(filter),
            (Err(_), Some(path)) => {
                let recording = Recording::open(path)?;
                let mut filter = self.filters.recorded(path, recording.head())?;
                for cgroup in filter.cgroups.iter_mut().chain(&mut filter.not.cgroups) {
                    cgroup.leaf_id = crate::host::identity::leaf_cgroup_id(cgroup.path.text());
                }
                Ok(filter)
            }
            (Err(usage), None) => Err(usage.into()),
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let filter = args.filter()?;
    refuse_what_no_socket_has(&args.filters, "list")?;
    if args.summary {
        refuse_what_no_listing_knows(&filter, "list --summary")?;
    }
    let choice = match (&filter.netns[..], args.all_netns) {
        ([], false) => Choice::Own,
        ([], true) => Choice::All,
        (these, _) => Choice::These(these.to_vec()),
    };
    let states = if args.summary { States::ALL } else { States::TIME_WAIT_OR_FIN_WAIT2 };
    // First what there is, then whose it is: that need be known of nothing else.
    let listed = list::listed(&choice, states)?;
    let owners = if args.summary { Owners::default() } else { owners(args, &listed)? };
    if owners.is_empty() && !args.summary {
        refuse_what_no_listing_knows(&filter, "list")?;
    }
    let (there, known) = (listed.time_waits(), owners.len());
    let (seen, limitations) = listed.seen(&choice, states, &filter, &owners)?;
    limitations.iter().for_each(|limitation| crate::note!("twtrace: {limitation}"));
    // Of one who is gone there may be sockets; where there are none, it is worth a word that he is.
    if seen.iter().all(|seen| seen.sockets.is_empty()) {
        let own = seen.iter().map(|seen| seen.netns).take(usize::from(choice == Choice::Own));
        say_what_matches_nothing(&Filter {
            netns: own.chain(filter.netns.iter().copied()).collect(),
            ..filter.clone()
        });
    }
    let mut out = match (args.summary, args.json) {
        (true, true) => summary_json(&seen, &limitations),
        (true, false) => summary(&seen).into_bytes(),
        (false, true) => sockets_json(&seen),
        (false, false) => sockets(&seen, choice != Choice::Own).into_bytes(),
    };
    // A summary has them among its keys, and a terminal has seen them.
    if args.json && !args.summary {
        limitations.iter().for_each(|limitation| list::limitation_line(limitation, &mut out));
    } else if !args.json && !std::io::stdout().is_terminal() {
        limitations.iter().for_each(|limitation| out.extend(format!("# {limitation}\n").bytes()));
    }
    if !args.json {
        let left_out = if args.summary { None } else { none_shown(&seen, there, known, &filter) };
        let elsewhere = if choice == Choice::Own { Elsewhere::count().line() } else { None };
        for line in left_out.into_iter().chain(elsewhere) {
            // A program that reads the table passes over what is no row.
            let mark = if std::io::stdout().is_terminal() { "\n" } else { "# " };
            out.extend(format!("{mark}{line}\n").bytes());
        }
    }
    crate::output::print(&out)?;
    Ok(if seen.is_empty() { Outcome::Failed } else { Outcome::Done })
}

fn say(notes: &[Note]) {
    for note in notes {
        crate::note!("twtrace: {note}");
    }
}

/// What the given recording and the running traces know.
fn owners(args: &Args, listed: &Listed) -> anyhow::Result<Owners> {
    let (mut owners, wanted) = (Owners::default(), listed.conns());
    if let Some(path) = &args.recording {
        let recording = Recording::open(path)?;
        say(owners.learn(&escape::path(path), recording, &wanted).as_slice());
    }
    let answers = inquiry::ask(Path::new(inquiry::DIR));
    say(&answers.notes);
    for recording in answers.recordings {
        say(owners.learn("the answer of a running trace", recording, &wanted).as_slice());
    }
    Ok(owners)
}

/// What is asked about ends and failures alone.
pub(super) fn refuse_what_no_socket_has(filters: &FilterArgs, command: &str) -> Result<(), Usage> {
    let Some(flag) = filters.of_events() else { return Ok(()) };
    let why = match flag {
        "--reason" => "why a socket will end nobody knows before",
        _ => "a call that failed left no socket",
    };
    Err(Usage(format!("{flag} does not apply to {command}: {why}; use `twtrace events {flag} …`")))
}

/// Who made a socket is in no listing.
pub(super) fn refuse_what_no_listing_knows(filter: &Filter, command: &str) -> Result<(), Usage> {
    let given = first_given(&[
        (!filter.not.pids.is_empty(), "--not-pid"),
        (!filter.not.comms.is_empty(), "--not-comm"),
        (!filter.not.cgroups.is_empty(), "--not-cgroup"),
        (!filter.pids.is_empty(), "--pid"),
        (!filter.comms.is_empty(), "--comm"),
        (!filter.uids.is_empty(), "--uid"),
        (!filter.cgroups.is_empty(), "--cgroup"),
    ]);
    let Some(flag) = given else { return Ok(()) };
    let remedy = match command {
        "list" => owners_remedy(),
        _ => format!("use `twtrace events {flag} …`"),
    };
    Err(Usage(format!(
        "{flag} does not apply to {command}: the kernel does not keep who made a TIME_WAIT socket; {remedy}"
    )))
}

fn sockets(seen: &[NetnsSockets], with_netns: bool) -> String {
    let sockets: Vec<Socket> = seen.iter().flat_map(NetnsSockets::time_wait).collect();
    let names = seen.iter().filter(|_| with_netns).map(|seen| (seen.netns, seen.called())).collect();
    let mut out = String::new();
    list::table(&sockets, &names, Paint::stdout(), &mut out);
    out
}

/// Why a table is empty; `there` is how many sockets there are without the filter, `known` of how many of them the owner is.
fn none_shown(seen: &[NetnsSockets], there: usize, known: usize, filter: &Filter) -> Option<String> {
    if seen.iter().any(|seen| !seen.sockets.is_empty()) {
        return None;
    }
    let passing = printable(&filter.words().join(" ")).into_owned();
    let unknown = match there.saturating_sub(known) {
        _ if !filter.asks_for_owner() => String::new(),
        0 => String::new(),
        1 if there == 1 => format!("; its owner is not known: {}", owners_remedy()),
        unknown if unknown == there => format!("; of none of them the owner is known: {}", owners_remedy()),
        unknown => format!("; of {} of them the owner is not known", grouped(unknown as u64)),
    };
    Some(match there {
        0 => "no TIME_WAIT socket here".to_owned(),
        1 => format!("the one TIME_WAIT socket here does not pass {passing}{unknown}"),
        there => {
            format!("none of the {} TIME_WAIT sockets here passes {passing}{unknown}", grouped(there as u64))
        }
    })
}

/// What makes owners known.
fn owners_remedy() -> String {
    let root = if Caps::own().uid() == 0 { "" } else { "with sudo " };
    format!("run it {root}while a trace runs, such as `twtrace record`, or give a --recording")
}

fn sockets_json(seen: &[NetnsSockets]) -> Vec<u8> {
    let mut out = Vec::new();
    let sockets = seen.iter().flat_map(NetnsSockets::time_wait);
    sockets.for_each(|socket| list::socket_line(&socket, &mut out));
    out
}

/// Only root may read how much memory it is: without it, the rest is still worth having.
fn counted(seen: &[NetnsSockets]) -> Summary {
    Summary::of(seen, slabinfo::time_wait().ok().flatten())
}

fn summary(seen: &[NetnsSockets]) -> String {
    let mut out = String::new();
    list::summary_text(&counted(seen), Paint::stdout(), &mut out);
    out
}

fn summary_json(seen: &[NetnsSockets], limitations: &[Limitation]) -> Vec<u8> {
    let mut out = Vec::new();
    list::summary_line(&counted(seen), limitations, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_shown_nothing_is_told_why() {
        let of = |comms: &[&str], there, known| {
            let comms = comms.iter().map(|comm| (*comm).into()).collect();
            none_shown(&[], there, known, &Filter { comms, dports: vec![80], ..Filter::default() }).unwrap()
        };
        assert_eq!(of(&["web"], 0, 0), "no TIME_WAIT socket here");
        assert_eq!(of(&[], 1010, 0), "none of the 1,010 TIME_WAIT sockets here passes --dport 80");
        let passes = "none of the 10 TIME_WAIT sockets here passes --comm web --dport 80";
        assert_eq!(of(&["web"], 10, 10), passes);
        assert_eq!(of(&["web"], 10, 3), format!("{passes}; of 7 of them the owner is not known"));
        let none = of(&["web"], 10, 0);
        assert!(none.starts_with(&format!("{passes}; of none of them the owner is known: ")), "{none}");
        assert!(none.contains("while a trace runs") && none.contains("--recording"), "{none}");
    }
}
