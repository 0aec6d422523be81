//! Owns: `twtrace drain`: waiting until the TIME_WAIT sockets of the last run are gone.
//! Must not know: when to look, what counts.

use std::time::{Duration, Instant};

use super::Outcome;
use super::filters::{FilterArgs, hide};
use super::list::{refuse_what_no_listing_knows, refuse_what_no_socket_has};
use super::values::{duration, interval, number};
use crate::host::net::netns::Meant;
use crate::host::net::sockdiag::States;
use crate::present::drain::{self, Goal, Left, PoolFilter};
use crate::present::list::{self, Choice, Owners};

/// `twtrace drain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Looks at this network namespace, or at those of --netns. Needs no BPF and no trace. Progress goes to stderr.

Exit status: 0 when at most N sockets are left, 1 when --timeout is over (stderr says how many are left, and for how long), or when a network \
namespace of --netns is gone and another one has its inode.")]
#[command(mut_args(hide(&["reason", "failures", "pid", "comm", "uid", "cgroup", "not_pid", "not_comm", "not_cgroup"])))]
pub(super) struct Args {
    /// Stop waiting when at most N TIME_WAIT sockets are left
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<usize>)]
    below: usize,
    /// Count only sockets of this tuple: SADDR,DADDR,DPORT, or DADDR,DPORT for any local address
    #[arg(long, value_name = "TUPLE")]
    tuple: Vec<PoolFilter>,
    /// Give up after this long
    #[arg(long, default_value = "90s", value_parser = duration)]
    timeout: Duration,
    /// Longest time between two checks
    #[arg(long, default_value = "2s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    filters: FilterArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let filter = args.filters.coming()?;
    refuse_what_no_socket_has(&args.filters, "drain")?;
    refuse_what_no_listing_knows(&filter, "drain")?;
    let choice = if filter.netns.is_empty() { Choice::Own } else { Choice::These(filter.netns.clone()) };
    let goal =
        Goal { below: args.below, pools: args.tuple.clone(), timeout: args.timeout, interval: args.interval };
    let (mut said, nobody) = (Vec::new(), Owners::default());
    let meant = Meant::now(&filter.netns);
    let sample = || -> Result<Left, crate::host::net::Error> {
        meant.still()?;
        let (seen, notes) = list::sockets_in(&choice, States::TIME_WAIT_OR_FIN_WAIT2, &filter, &nobody)?;
        // The same each time: once is enough.
        for note in notes.into_iter().filter(|note| !said.contains(note)).collect::<Vec<_>>() {
            crate::note!("twtrace: {note}");
            said.push(note);
        }
        Ok(goal.left(&seen))
    };
    let began = Instant::now();
    // poll: the kernel tells nobody that a TIME_WAIT socket ended, unless it is traced.
    let outcome = goal.wait(sample, || began.elapsed(), std::thread::sleep, |left| say(left, goal.below))?;
    let waited = began.elapsed().as_secs_f64();
    Ok(match outcome {
        drain::Outcome::Reached(left) => {
            crate::note!("twtrace: drained in {waited:.1}s: {} left", counted(left.sockets));
            Outcome::Done
        }
        drain::Outcome::TimedOut(left) => {
            crate::note!(
                "twtrace: not drained in {waited:.1}s: {} left, at most {} wanted; the last one expires in {:.1}s",
                counted(left.sockets),
                goal.below,
                left.last_in.as_secs_f64()
            );
            Outcome::Failed
        }
    })
}

fn say(left: &Left, below: usize) {
    let enough_s = left.enough_in.unwrap_or_default().as_secs_f64();
    crate::note!(
        "twtrace: {} left, waiting for {below}: {enough_s:.1}s if no more are made",
        counted(left.sockets)
    );
}

fn counted(sockets: usize) -> String {
    if sockets == 1 { "1 TIME_WAIT socket".to_owned() } else { format!("{sockets} TIME_WAIT sockets") }
}
