//! Owns: the list of all scenarios, and the few words that most of them share.
//! Must not know: how they are run.

mod again;
mod before;
mod calls;
mod command;
mod day;
mod doctor;
mod ends;
mod files;
mod filters;
mod forge;
mod healing;
mod heavy;
mod kinds;
mod listing;
mod order;
mod owner;
mod packets;
mod power;
mod readers;
mod record;
mod refused;
mod reset;
mod reuse;
mod runs;
mod screen;
mod serve;
mod strangers;
mod surroundings;

pub use screen::picture;

use anyhow::Result;
use twtrace_kit::actor::{Actor, Sock};

use crate::expect::{Pattern, TIMEWAIT_MS, either_substate};
use crate::sandbox::Sandbox;

/// How a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Beside others, under one twtrace for all.
    Shared,
    /// As [`Kind::Shared`], but after all others: its namespace goes away, and the kernel gives the inode out again.
    SharedLast,
    /// It runs twtrace itself.
    Own,
    /// As [`Kind::Own`]; its outcome stands on events that other scenarios prove for each backend, so one backend is enough.
    Once,
    /// As [`Kind::Own`], takes long, and is run only when named.
    Heavy,
    /// As [`Kind::Own`], for a guest that was booted so that it plays a part (`xtask/src/vm/states.rs`), and run only when named.
    Boot,
}

/// Makes it happen and says what must be told.
type Act = fn(&mut Sandbox) -> Result<()>;

/// One situation and its exact outcome.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// How it is run.
    pub kind: Kind,
    /// Makes it happen and says what must be told.
    pub act: Act,
}

const fn shared(name: &'static str, act: Act) -> Scenario {
    Scenario { name, kind: Kind::Shared, act }
}

const fn own(name: &'static str, act: Act) -> Scenario {
    Scenario { name, kind: Kind::Own, act }
}

const fn once(name: &'static str, act: Act) -> Scenario {
    Scenario { name, kind: Kind::Once, act }
}

const fn booted(name: &'static str, act: Act) -> Scenario {
    Scenario { name, kind: Kind::Boot, act }
}

/// All scenarios. Those that wait long come first, so that the others run meanwhile.
pub const ALL: &[Scenario] = &[
    shared("fin_wait2_expires", kinds::fin_wait2_expires),
    shared("reused_by_connect", reuse::by_connect),
    shared("client_closes_first", order::client_closes_first),
    shared("server_closes_first", order::server_closes_first),
    shared("simultaneous_close", order::simultaneous_close),
    shared("killed_process", owner::killed_process),
    shared("exiting_process", owner::exiting_process),
    shared("forked_child_closes_last", owner::forked_child_closes_last),
    shared("prefork_server", owner::prefork_server),
    shared("passed_descriptor", owner::passed_descriptor),
    shared("shutdown_by_one_close_by_other", owner::shutdown_by_one_close_by_other),
    shared("shutdown_of_both_halves", owner::shutdown_of_both_halves),
    shared("closed_by_a_thread", owner::closed_by_a_thread),
    shared("closed_by_the_kernel", owner::closed_by_the_kernel),
    shared("another_user", owner::another_user),
    shared("hostile_name", owner::hostile_name),
    shared("cookie_from_before", owner::cookie_from_before),
    shared("forged_key", forge::forged_key),
    shared("ipv6", kinds::ipv6),
    shared("v4_mapped", kinds::v4_mapped),
    shared("same_tuple_in_two_namespaces", kinds::same_tuple_in_two_namespaces),
    shared("fin_wait2_gets_its_fin", kinds::fin_wait2_gets_its_fin),
    shared("data_in_fin_wait2", reset::data_in_fin_wait2),
    shared("rst_in_fin_wait2", reset::rst_in_fin_wait2),
    shared("syn_in_fin_wait2", reset::syn_in_fin_wait2),
    shared("rst_in_time_wait", reset::rst_in_time_wait),
    shared("linger_zero", reset::linger_zero),
    shared("unread_data", reset::unread_data),
    shared("how_ports_are_had", calls::how_ports_are_had),
    shared("syn_refused", reuse::syn_refused),
    shared("syn_without_listener", reset::syn_without_listener),
    shared("killed_by_ss", reset::killed_by_ss),
    shared("reused_by_bound_connect", reuse::by_bound_connect),
    shared("reused_by_syn", reuse::by_syn),
    shared("overflow", refused::overflow),
    shared("ports_exhausted", refused::ports_exhausted),
    shared("tuple_taken", refused::tuple_taken),
    shared("bind_in_use", refused::bind_in_use),
    shared("listen_in_use", refused::listen_in_use),
    shared("bound_ports_exhausted", refused::bound_ports_exhausted),
    Scenario { name: "namespace_deleted", kind: Kind::SharedLast, act: reset::namespace_deleted },
    own("time_wait_before_start", before::time_wait_before_start),
    own("fin_wait2_before_start", before::fin_wait2_before_start),
    own("established_before_start", before::established_before_start),
    own("every_failure", refused::every_failure),
    once("half_closed_flood", forge::half_closed_flood),
    own("filters_by_process", filters::by_process),
    own("filters_by_address", filters::by_address),
    own("filters_by_kind", filters::by_kind),
    own("nothing_filtered_travels", filters::nothing_travels),
    own("cgroup_made_again", filters::cgroup_made_again),
    own("role_before_start", filters::role_before_start),
    once("wrong_usage", command::wrong_usage),
    own("without_privilege", command::without_privilege),
    own("functions_are_asked_for", command::functions_are_asked_for),
    own("nothing_held_back", command::nothing_held_back),
    once("hostile_name_as_text", command::hostile_name_as_text),
    own("count", command::count),
    own("duration", command::duration),
    own("sigterm", command::sigterm),
    own("broken_pipe", command::broken_pipe),
    once("slow_reader", readers::slow),
    once("stopped_reader", readers::stopped),
    once("stopped_reader_of_a_recording", readers::held::recording),
    once("stopped_reader_of_a_count", readers::held::count),
    once("record_hung_disk", readers::held::disk),
    own("ends_at_one_moment", ends::ends_at_one_moment),
    once("stopped_reader_of_the_live_view", readers::live_view),
    once("stopped_terminal", readers::terminal),
    once("nobody_reads_stderr", readers::stderr),
    once("ignored_signals", ends::ignored_signals),
    once("idle_sleeps", ends::idle_sleeps),
    own("killed_tracer", command::killed_tracer),
    once("list_equals_ss", listing::equals_ss),
    once("list_summary_equals_ss", listing::summary_equals_ss),
    once("list_knows_owners", listing::knows_owners),
    once("many_clients", strangers::many_clients),
    once("hung_arguments", strangers::hung_arguments),
    once("screen_beside_hung_arguments", strangers::screen_beside_hung_arguments),
    own("io_uring", calls::io_uring),
    once("doctor_ports_exhausted", doctor::ports_exhausted),
    once("doctor_ports_running_out", doctor::ports_running_out),
    once("doctor_half_full", doctor::half_full),
    once("doctor_ports_held_open", doctor::ports_held_open),
    once("doctor_holder_gone", doctor::holder_gone),
    once("doctor_ports_pinned", doctor::ports_pinned),
    once("doctor_bound_source", doctor::bound_source),
    once("doctor_ports_bound", doctor::ports_bound),
    once("doctor_socket_range", doctor::socket_range),
    once("doctor_not_explained", doctor::not_explained),
    once("doctor_fin_wait2_held", doctor::fin_wait2_held),
    once("doctor_close_wait", doctor::close_wait),
    once("doctor_syn_unanswered", doctor::syn_unanswered),
    once("doctor_close_unacknowledged", doctor::close_unacknowledged),
    once("doctor_counters_moved", doctor::counters_moved),
    once("doctor_remote", doctor::remote),
    once("doctor_reuse_without_timestamps", doctor::timestamps_off),
    once("doctor_reuse_not_loopback", doctor::not_loopback),
    once("doctor_reuse_too_young", doctor::too_young),
    once("doctor_loopback_backend", doctor::loopback_backend),
    once("doctor_nat_ports_short", doctor::nat_ports_short),
    once("doctor_fin_wait2_pileup", doctor::fin_wait2_pileup),
    once("doctor_table_overflow", doctor::table_overflow),
    once("doctor_server_cannot_bind", doctor::server_cannot_bind),
    once("doctor_ephemeral_port_taken", doctor::ephemeral_port_taken),
    once("doctor_own_ports_taken", doctor::own_ports_taken),
    once("doctor_port_in_use", doctor::port_in_use),
    once("doctor_tuple_taken", doctor::tuple_taken),
    once("doctor_server_side_harmless", doctor::server_side_harmless),
    once("doctor_syn_refused", doctor::syn_refused),
    once("doctor_no_local_address", doctor::no_local_address),
    once("doctor_not_for_ports", doctor::not_for_ports),
    once("doctor_closes_aborted", doctor::closes_aborted),
    once("doctor_rst_kills", doctor::rst_kills),
    once("doctor_folklore_fin_timeout", doctor::fin_timeout),
    once("doctor_folklore_max_tw_buckets", doctor::max_tw_buckets),
    once("doctor_folklore_tw_recycle", doctor::tw_recycle),
    once("doctor_nothing_wrong", doctor::healthy),
    once("doctor_one_of_two", doctor::one_of_two),
    once("doctor_of_a_recording", doctor::recorded),
    once("doctor_pid_namespace", doctor::pid_namespace),
    once("doctor_tracefs_missing", doctor::tracefs_missing),
    Scenario { name: "doctor_healthy_load", kind: Kind::Heavy, act: doctor::healthy_load },
    once("screen_shows_the_load", screen::shows_the_load),
    once("screen_gives_the_terminal_back", screen::gives_the_terminal_back),
    once("screen_fits_the_terminal", screen::fits_the_terminal),
    once("record_command", record::command),
    once("record_everything", record::everything),
    once("record_no_such_command", record::no_such_command),
    once("record_signal_to_command", record::signal_to_command),
    once("record_ctrl_c", record::ctrl_c),
    once("record_killed", record::killed),
    once("record_full_disk", record::full_disk),
    once("record_rotated", record::rotated),
    once("serve_counts", serve::counts),
    once("serve_prometheus", serve::prometheus),
    once("serve_exports", serve::exports),
    once("serve_full_disk", serve::full_disk),
    once("serve_hung_disk", serve::hung_disk),
    once("serve_hostile_clients", serve::hostile_clients),
    once("container_names", serve::of_containers),
    once("pod_names", serve::of_pods),
    once("loss_under_a_filter", healing::under_a_filter),
    once("loss_healed", healing::healed),
    once("loss_namespace_gone", healing::namespace_gone),
    own("namespace_inode_used_again", again::another_has_the_inode),
    once("files_of_strangers", files::of_strangers),
    once("tracefs_unmounted", surroundings::tracefs_unmounted),
    once("tracefs_mounted", surroundings::tracefs_mounted),
    once("sysfs_fresh", surroundings::sysfs_fresh),
    once("sysfs_missing", surroundings::sysfs_missing),
    own("openers_by_sample", order::openers_by_sample),
    once("connects_given_up", order::connects_given_up),
    own("no_syscalls", surroundings::no_syscalls),
    once("container", surroundings::container),
    once("nsenter", surroundings::nsenter),
    once("capabilities", surroundings::capabilities),
    own("least_power", power::least),
    once("file_capabilities", power::of_a_file),
    once("quiet_start", surroundings::quiet_start),
    once("few_files", surroundings::few_files),
    once("pid_namespace", surroundings::pid_namespace),
    once("time_namespace", surroundings::time_namespace),
    once("drained", runs::drained),
    booted("day_of_a_guest", day::of_a_guest),
    booted("denied_by_confidentiality", surroundings::by_confidentiality),
    booted("not_denied_by_integrity", surroundings::not_by_integrity),
    booted("denied_without_btf", surroundings::without_btf),
    booted("hidden_addresses", surroundings::hidden_addresses),
    Scenario { name: "load", kind: Kind::Heavy, act: heavy::load },
    Scenario { name: "many_namespaces", kind: Kind::Heavy, act: healing::many_namespaces },
    Scenario { name: "starvation", kind: Kind::Heavy, act: heavy::starvation },
    Scenario { name: "keep_alive", kind: Kind::Heavy, act: runs::keep_alive },
    Scenario { name: "expires_after_a_minute", kind: Kind::Heavy, act: heavy::expires },
];

/// The creation of the TIME_WAIT socket of `sock`, a client's end, by a plain close().
fn by_client(sock: &Sock, owner: &Actor, via: &str) -> Pattern {
    born(sock, owner, via).is("role", "client")
}

/// As [`by_client`], a server's end.
fn by_server(sock: &Sock, owner: &Actor, via: &str) -> Pattern {
    born(sock, owner, via).is("role", "server")
}

fn born(sock: &Sock, owner: &Actor, via: &str) -> Pattern {
    let created = Pattern::about("created", sock).owner(owner, via);
    created.is("timeout_ms", TIMEWAIT_MS).want("substate", either_substate())
}

/// `owner` ended the connection of `sock` with an RST.
fn aborted(sock: &Sock, owner: &Actor, role: &str, why: &str) -> Pattern {
    Pattern::about("aborted", sock).owner(owner, "close").is("role", role).is("why", why)
}

/// The end of the TIME_WAIT socket of `sock`.
fn dead(sock: &Sock, reason: &str, substate: &str) -> Pattern {
    Pattern::about("ended", sock).is("reason", reason).is("substate", substate)
}
