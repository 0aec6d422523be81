//! Owns: ports of a pool by what holds them.
//! Must not know: how that was found out.

use serde::{Deserialize, Serialize};

/// Ports of a pool by what holds them. Each port counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ports {
    /// TIME_WAIT sockets in true TIME_WAIT.
    pub time_wait: u32,
    /// TIME_WAIT sockets in FIN_WAIT2: orphans, which `tcp_fin_timeout` ends.
    pub fin_wait2: u32,
    /// ESTABLISHED sockets.
    pub established: u32,
    /// SYN_SENT: nobody has answered yet.
    pub syn_sent: u32,
    /// CLOSE_WAIT: the peer has closed, the program here has not.
    pub close_wait: u32,
    /// Full sockets in FIN_WAIT2 that a descriptor holds: no time limit ends them.
    pub fin_wait2_held: u32,
    /// LAST_ACK, FIN_WAIT1, CLOSING: closed here, and the peer does not acknowledge it.
    pub unacknowledged: u32,
    /// Sockets in any other state.
    pub others: u32,
}

impl Ports {
    /// All of them.
    pub fn all(&self) -> u32 {
        self.time_wait + self.fin_wait2 + self.open()
    }

    /// Those that full sockets hold.
    pub fn open(&self) -> u32 {
        let Self { established, syn_sent, close_wait, fin_wait2_held, unacknowledged, others, .. } = self;
        established + syn_sent + close_wait + fin_wait2_held + unacknowledged + others
    }

    /// `60 in TIME_WAIT, 3 in CLOSE_WAIT, 2 bound and not connected`. Empty where there are none.
    pub fn by_state(&self) -> String {
        let all = [
            (self.time_wait, "in TIME_WAIT"),
            (self.fin_wait2, "in FIN_WAIT2 without a descriptor"),
            (self.established, "in ESTABLISHED"),
            (self.syn_sent, "in SYN_SENT"),
            (self.close_wait, "in CLOSE_WAIT"),
            (self.fin_wait2_held, "in FIN_WAIT2 with a descriptor"),
            (self.unacknowledged, "in LAST_ACK, FIN_WAIT1 or CLOSING"),
            (self.others, "bound and not connected"),
        ];
        let words =
            all.iter().filter(|(count, _)| *count != 0).map(|(count, what)| format!("{count} {what}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Each number, changed.
    #[must_use]
    pub(crate) fn map(self, change: impl Fn(u32) -> u32) -> Self {
        let Self {
            time_wait,
            fin_wait2,
            established,
            syn_sent,
            close_wait,
            fin_wait2_held,
            unacknowledged,
            others,
        } = self;
        Self {
            time_wait: change(time_wait),
            fin_wait2: change(fin_wait2),
            established: change(established),
            syn_sent: change(syn_sent),
            close_wait: change(close_wait),
            fin_wait2_held: change(fin_wait2_held),
            unacknowledged: change(unacknowledged),
            others: change(others),
        }
    }

    /// Counts a port that a socket in this state is on.
    pub(crate) fn add_state(&mut self, state: &State) {
        *match state {
            State::TimeWait => &mut self.time_wait,
            State::FinWait2 => &mut self.fin_wait2,
            State::Established => &mut self.established,
            State::SynSent => &mut self.syn_sent,
            State::CloseWait => &mut self.close_wait,
            State::FinWait2Held => &mut self.fin_wait2_held,
            State::Unacknowledged => &mut self.unacknowledged,
            State::Other => &mut self.others,
        } += 1;
    }
}

/// What a socket on a port is in; see [`Ports`], which has a number for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is a number of Ports")]
pub enum State {
    TimeWait,
    FinWait2,
    Established,
    SynSent,
    CloseWait,
    FinWait2Held,
    Unacknowledged,
    Other,
}

impl State {
    pub(crate) fn is_time_wait(self) -> bool {
        matches!(self, Self::TimeWait | Self::FinWait2)
    }

    /// Whether a socket that stays in it for seconds waits for somebody who does not do his part.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::SynSent | Self::CloseWait | Self::FinWait2Held | Self::Unacknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_that_have_ports() {
        let mixed = Ports { close_wait: 3, others: 2, time_wait: 7, ..Ports::default() };
        assert_eq!(mixed.by_state(), "7 in TIME_WAIT, 3 in CLOSE_WAIT, 2 bound and not connected");
        assert_eq!(Ports::default().by_state(), "");
    }
}
