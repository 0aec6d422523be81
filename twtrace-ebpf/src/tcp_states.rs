//! Owns: the numbers of the states of a TCP socket (include/net/tcp_states.h, 5.10 to 7.3).
//! Must not know: what a transition means.

pub(crate) const ESTABLISHED: i32 = 1;
pub(crate) const SYN_SENT: i32 = 2;
pub(crate) const SYN_RECV: i32 = 3;
pub(crate) const FIN_WAIT1: i32 = 4;
pub(crate) const FIN_WAIT2: i32 = 5;
pub(crate) const CLOSE: i32 = 7;
pub(crate) const LAST_ACK: i32 = 9;
pub(crate) const LISTEN: i32 = 10;
pub(crate) const CLOSING: i32 = 11;
