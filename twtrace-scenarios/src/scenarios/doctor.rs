//! Owns: scenarios in which `twtrace doctor` must name one thing and nothing else, and in which what it predicts of each
//! remedy is measured.
//! Must not know: the harness.

mod blind;
mod client;
mod counted;
mod diagnosis;
mod elsewhere;
mod exam;
mod load;
mod ports;
mod recorded;
mod reuse;
mod server;
mod settings;
mod taken;

pub(super) use blind::{pid_namespace, tracefs_missing};
pub(super) use client::{
    bound_source, healthy, healthy_load, holder_gone, loopback_backend, nat_ports_short,
};
pub(super) use client::{half_full, ports_exhausted, ports_held_open, ports_pinned, ports_running_out};
pub(super) use counted::{closes_aborted, counters_moved, syn_refused};
pub(super) use elsewhere::{no_local_address, not_for_ports};
pub(super) use ports::{
    close_unacknowledged, close_wait, fin_wait2_held, not_explained, ports_bound, socket_range,
    syn_unanswered,
};
pub(super) use recorded::recorded;
pub(super) use reuse::{not_loopback, remote, timestamps_off, too_young};
pub(super) use server::{
    fin_wait2_pileup, port_in_use, server_cannot_bind, server_side_harmless, tuple_taken,
};
pub(super) use settings::{fin_timeout, max_tw_buckets, rst_kills, table_overflow, tw_recycle};
pub(super) use taken::{ephemeral_port_taken, one_of_two, own_ports_taken};
