//! A network namespace of its own, and what makes connections there.
//!
//! Owns: the namespace, its ports, and what every kind of traffic has in common. Must not know: tracers.

use std::time::Duration;

use anyhow::Result;
use twtrace_kit::books;
use twtrace_kit::kernel;
use twtrace_kit::netns;
use twtrace_kit::wait::{PATIENCE, pass, until_true};

use crate::generator::{First, Generator, Order, PORT, Shape};
use crate::model::Connect;

/// Where traffic is, and which of its ends has the TIME_WAIT socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// Inode of the network namespace.
    pub(crate) netns: u32,
    /// The server's port.
    pub(crate) port: u16,
    /// Which end closes first.
    pub(crate) first: First,
}

/// One run of traffic.
pub(crate) struct Made {
    /// Connections, or requests.
    pub(crate) count: u64,
    pub(crate) elapsed_s: f64,
    pub(crate) connect: Option<Connect>,
    pub(crate) owners: Owners,
}

/// Who closed first.
pub(crate) enum Owners {
    /// These processes, so often each.
    Counted(Vec<(u32, u64)>),
    /// One of these each time.
    AnyOf(Vec<u32>),
}

impl Owners {
    /// Of so many TIME_WAIT sockets a process, as somebody told, how many can be right.
    pub(crate) fn right(&self, told: impl IntoIterator<Item = (u32, u64)>) -> u64 {
        let told = told.into_iter();
        match self {
            Self::Counted(counted) => {
                let made: std::collections::HashMap<u32, u64> = counted.iter().copied().collect();
                told.map(|(pid, count)| count.min(made.get(&pid).copied().unwrap_or(0))).sum()
            }
            Self::AnyOf(pids) => told.filter(|(pid, _)| pids.contains(pid)).map(|(_, count)| count).sum(),
        }
    }
}

/// Makes connections when told to.
pub(crate) trait Traffic {
    /// Where, and which way.
    fn site(&self) -> Site;
    /// What is counted by the second.
    fn unit(&self) -> &'static str;
    /// One run.
    ///
    /// # Errors
    /// Where any connection failed.
    fn run(&mut self) -> Result<Made>;
}

/// Moves this process into a new network namespace in which clients may use the ports from `low` to `high`. It has no name, so nothing
/// stays behind, however we end; children inherit it.
///
/// # Errors
/// Where it is refused: root is needed.
pub(crate) fn enter(low: u16, high: u16) -> Result<u32> {
    let inode = netns::enter_new()?;
    netns::set_ipv4("ip_local_port_range", &format!("{low} {high}"))?;
    // A connect() takes a port in TIME_WAIT after a second only, and looks for another one before. The faster a load runs, the longer it
    // would look: a tracer that slows it down would seem cheaper than it is. Where the kernel has no such setting, it is so.
    drop(netns::set_ipv4("tcp_tw_reuse_delay", "1"));
    Ok(inode)
}

/// All ports that a client may use.
pub(crate) const ALL_PORTS: (u16, u16) = (1024, 65_535);

/// Counters that did not change for so long stand still.
const STILL: Duration = Duration::from_millis(30);

/// The kernel's counters of the namespace that this process is in.
pub(crate) struct Counters {
    /// TIME_WAIT sockets created; `None` where the kernel does not count that.
    pub(crate) created: Option<u64>,
    /// Connections that got none.
    pub(crate) overflow: u64,
}

impl Counters {
    /// Reads them.
    pub(crate) fn read() -> Result<Self> {
        let books = books::read("self")?;
        let created = kernel::counts_creations()?.then_some(books.tw_counter + books.tw_killed);
        Ok(Self { created, overflow: books.overflow })
    }

    /// Reads them once they stand still: a server may close the last connections after its client has gone.
    pub(crate) fn settled() -> Result<Self> {
        let mut last = Self::read()?;
        until_true("no more TIME_WAIT sockets to be made", PATIENCE, || {
            pass(STILL);
            let now = Self::read()?;
            let is_still = (now.created, now.overflow) == (last.created, last.overflow);
            last = now;
            Ok(is_still)
        })?;
        Ok(last)
    }

    /// What came since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let created = self.created.zip(before.created).map(|(after, before)| after - before);
        Self { created, overflow: self.overflow - before.overflow }
    }
}

/// Our own generator, with one order that it carries out over and over.
pub(crate) struct Generated {
    site: Site,
    generator: Generator,
    /// May be changed between runs.
    pub(crate) order: Order,
}

impl Generated {
    /// Starts one in the namespace that this process is in.
    pub(crate) fn start(netns: u32, shape: &Shape, order: Order) -> Result<Self> {
        let site = Site { netns, port: PORT, first: shape.first };
        Ok(Self { site, generator: Generator::start(shape)?, order })
    }

    /// Makes connections until so many TIME_WAIT sockets live, or it has become plain that they will not.
    pub(crate) fn fill(&mut self, live: u64) -> Result<()> {
        let order = Order { rate: None, for_ms: 200 };
        for _ in 0..FILLING {
            if books::live("self")? >= live {
                break;
            }
            self.generator.run(order)?;
        }
        Ok(())
    }
}

/// Turns of a fifth of a second that filling may take.
const FILLING: u32 = 100;

impl Traffic for Generated {
    fn site(&self) -> Site {
        self.site
    }

    fn unit(&self) -> &'static str {
        "connections/s"
    }

    fn run(&mut self) -> Result<Made> {
        let done = self.generator.run(self.order)?;
        Ok(Made {
            count: done.made,
            elapsed_s: done.elapsed_s,
            connect: Some(Connect { p50_ns: done.p50_ns, p99_ns: done.p99_ns }),
            owners: Owners::Counted(done.owners),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_right_as_often_as_they_closed_and_no_oftener() {
        let counted = Owners::Counted(vec![(7, 11), (8, 13)]);
        assert_eq!(counted.right([(7, 11), (8, 13)]), 24);
        assert_eq!(counted.right([(7, 24)]), 11);
        assert_eq!(counted.right([(9, 24)]), 0);
        let any = Owners::AnyOf(vec![7, 8]);
        assert_eq!(any.right([(7, 24), (9, 3)]), 24);
    }

    #[test]
    fn counters_are_told_as_differences() {
        let before = Counters { created: Some(7), overflow: 2 };
        let news = Counters { created: Some(18), overflow: 5 }.since(&before);
        assert_eq!((news.created, news.overflow), (Some(11), 3));
        assert_eq!(Counters { created: None, overflow: 2 }.since(&before).created, None);
    }
}
