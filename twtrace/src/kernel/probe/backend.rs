//! Owns: which programs make up each backend, and where each is attached.
//! Must not know: how they are loaded.

use twtrace_common::config::{
    BY_STATE_ALL, BY_STATE_CLIENT, BY_STATE_END, BY_STATE_FAILURE, BY_STATE_LISTEN, BY_STATE_OWNER,
};

use super::counters::SkippedRun;
use super::running::Kernel;
use super::{Backend, Options};
use crate::kernel::btf::HASHDANCE_SCHEDULE;
use crate::model::limitation::What;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A BTF-typed tracepoint.
    Btf(&'static str),
    /// The entry of a kernel function.
    Fentry(&'static str),
    /// The exit of a kernel function.
    Fexit(&'static str),
    /// kprobe or kretprobe, as the program says.
    Kprobe(&'static str),
    /// A system call's tracepoint.
    Syscall(&'static str),
}

impl Point {
    /// What is hooked, for messages.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Btf(name)
            | Self::Fentry(name)
            | Self::Fexit(name)
            | Self::Kprobe(name)
            | Self::Syscall(name) => name,
        }
    }
}

/// What is missing when a program cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The backend cannot do without it.
    Required,
    /// Without it this is not known.
    Optional(What),
    /// Without it inet_sock_set_state has this duty (`BY_STATE_*`) as well, and this is not known or costs more.
    Else(u8, What),
}

/// One program of a backend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    pub(super) program: &'static str,
    pub(super) point: Point,
    pub(super) need: Need,
}

impl Hook {
    /// It is there to time connect().
    pub(super) fn is_timing(&self) -> bool {
        self.need == TIMES
    }

    /// What a run that the kernel skipped would have told.
    pub(super) fn told(&self) -> SkippedRun {
        match self.program {
            "fe_hashdance" | "fe_hashdance_schedule" | "kp_hashdance" | "kp_hashdance_schedule" => {
                SkippedRun::Created
            }
            "fe_kill" | "kp_kill" | "tp_timer_expire_entry" => SkippedRun::Ended,
            // They tell of every timer, of which few are a TIME_WAIT socket's.
            "tp_timer_start" | "tp_timer_cancel" => SkippedRun::Perhaps,
            _ => SkippedRun::Other,
        }
    }
}

const OPENER: Need = Need::Optional(What::Openers);
const ABORTED: Need = Need::Optional(What::Aborted);
const CONNECT: Need = Need::Optional(What::ConnectFailed);
const CONNECT6: Need = Need::Optional(What::ConnectFailedIpv6);
const BIND: Need = Need::Optional(What::BindFailed);
const TIMES: Need = Need::Optional(What::ConnectTimes);

const fn hook(program: &'static str, point: Point, need: Need) -> Hook {
    Hook { program, point, need }
}

/// What goes without a hook of its own here.
#[derive(Clone, Debug, Default)]
pub(super) struct Lacking {
    /// Programs that cannot be had.
    pub(super) programs: Vec<&'static str>,
    /// `BY_STATE_*`: what inet_sock_set_state tells in their place.
    pub(super) by_state: u8,
}

impl Lacking {
    /// Before anything was tried.
    pub(super) fn nothing(backend: Backend, failures_all: bool) -> Self {
        let by_state = match backend {
            // Once the SYN is sent nothing else tells how it ends.
            Backend::Fentry if failures_all => BY_STATE_FAILURE,
            Backend::Fentry => 0,
            Backend::Kprobe | Backend::Tracepoint => BY_STATE_ALL,
        };
        Self { programs: Vec::new(), by_state }
    }
}

/// The backend's programs in the order in which they are attached; they are let go in the opposite order. Births and ends come
/// first, what notices that a birth is missing (tcp_time_wait, the transition to CLOSE) last: or a connection that closes just
/// then would be told as an overflow.
pub(super) fn hooks(backend: Backend, kernel: &Kernel, lacking: &Lacking, options: &Options) -> Vec<Hook> {
    let filter = &options.filter;
    let failures_all = filter.failures_all();
    let mut hooks = match backend {
        Backend::Fentry => fentry(kernel, lacking.by_state, failures_all),
        Backend::Kprobe => kprobe(kernel).to_vec(),
        Backend::Tracepoint => tracepoint(failures_all),
    };
    if options.times_connect {
        hooks.extend(timing(backend));
    }
    let is_asked = |need| match need {
        BIND => filter.beside.binds,
        OPENER => filter.beside.accepts,
        _ => true,
    };
    hooks.retain(|hook| is_asked(hook.need));
    if backend != Backend::Fentry {
        hooks.push(hook(RESET, Point::Btf(RESET), ABORTED));
    }
    hooks.retain(|hook| !lacking.programs.contains(&hook.program));
    if lacking.by_state != 0 {
        hooks.push(hook(STATE, Point::Btf(STATE), Need::Required));
    }
    hooks
}

/// The program that stands in for others.
pub(super) const STATE: &str = "inet_sock_set_state";
/// Where connect() begins to look for a port. Nothing but that is timed, and tracepoints see the whole of a system call.
fn timing(backend: Backend) -> Vec<Hook> {
    let (four, six) = ("inet_hash_connect", "inet6_hash_connect");
    match backend {
        Backend::Fentry => vec![
            hook("fe_connecting4", Point::Fentry(four), TIMES),
            hook("fe_connecting6", Point::Fentry(six), TIMES),
        ],
        Backend::Kprobe => vec![
            hook("kp_connecting", Point::Kprobe(four), TIMES),
            hook("kp_connecting", Point::Kprobe(six), TIMES),
        ],
        Backend::Tracepoint => Vec::new(),
    }
}

/// The function that judges a packet that met a TIME_WAIT socket.
pub(super) const VERDICT: &str = "tcp_timewait_state_process";
/// The program at its entry, without which what it said before may be taken for what it says now.
pub(super) const VERDICT_ANEW: &str = "fe_state_enter";
/// The tracepoint of every RST that is sent.
const RESET: &str = "tcp_send_reset";

fn fentry(kernel: &Kernel, by_state: u8, failures_all: bool) -> Vec<Hook> {
    use Need::{Else, Optional, Required};
    use Point::{Fentry, Fexit};
    let accept = if kernel.types.resolved.accept_args == 2 { "fe_accept_2" } else { "fe_accept_4" };
    let dance = kernel.hashdance();
    let dance_program = if dance == HASHDANCE_SCHEDULE { "fe_hashdance_schedule" } else { "fe_hashdance" };
    let mut hooks = vec![
        hook("fe_kill", Fentry("inet_twsk_kill"), Required),
        hook(dance_program, Fentry(dance), Required),
        hook("fe_send_fin", Fentry("tcp_send_fin"), Else(BY_STATE_OWNER, What::Cost)),
        hook(accept, Fexit("inet_csk_accept"), OPENER),
        hook("fe_connect4", Fexit("inet_hash_connect"), Else(BY_STATE_CLIENT, What::ConnectFailed)),
        hook("fe_connect6", Fexit("inet6_hash_connect"), Else(BY_STATE_CLIENT, What::ConnectFailedIpv6)),
        hook("fe_get_port", Fexit("inet_csk_get_port"), BIND),
        hook("fe_bind4", Fexit("inet_bind"), BIND),
        hook("fe_bind6", Fexit("inet6_bind"), BIND),
        hook("fe_listen", Fexit("inet_csk_listen_start"), Else(BY_STATE_LISTEN, What::Cost)),
        hook("fe_active_reset", Fentry("tcp_send_active_reset"), ABORTED),
        hook("fe_reset", Fentry("tcp_reset"), Optional(What::Cost)),
    ];
    if failures_all {
        hooks.push(hook("fe_tcp_connect4", Fexit("tcp_v4_connect"), CONNECT));
        hooks.push(hook("fe_tcp_connect6", Fexit("tcp_v6_connect"), CONNECT6));
    }
    if let Some(verdict) = kernel.verdict_program() {
        hooks.insert(1, hook(verdict, Fexit(VERDICT), Optional(What::SynRefused)));
        hooks.insert(1, hook(VERDICT_ANEW, Fentry(VERDICT), Optional(What::Cost)));
    }
    let overflow = if by_state & BY_STATE_END == 0 {
        hook("fe_twsk_alloc", Fexit("inet_twsk_alloc"), Else(BY_STATE_END, What::Cost))
    } else {
        hook("fe_tcp_time_wait", Fentry("tcp_time_wait"), Required)
    };
    hooks.push(overflow);
    hooks
}

fn kprobe(kernel: &Kernel) -> [Hook; 8] {
    use Need::Required;
    use Point::Kprobe;
    let dance = kernel.hashdance();
    let dance_program = if dance == HASHDANCE_SCHEDULE { "kp_hashdance_schedule" } else { "kp_hashdance" };
    [
        hook("krp_accept", Kprobe("inet_csk_accept"), OPENER),
        hook("kp_kill", Kprobe("inet_twsk_kill"), Required),
        hook(dance_program, Kprobe(dance), Required),
        hook("kp_tcp_time_wait", Kprobe("tcp_time_wait"), Required),
        hook("krp_connect", Kprobe("inet_hash_connect"), CONNECT),
        hook("krp_connect", Kprobe("inet6_hash_connect"), CONNECT6),
        hook("kp_get_port", Kprobe("inet_csk_get_port"), BIND),
        hook("krp_get_port", Kprobe("inet_csk_get_port"), BIND),
    ]
}

fn tracepoint(failures_all: bool) -> Vec<Hook> {
    use Need::Required;
    use Point::{Btf, Syscall};
    let mut hooks = vec![
        hook("tp_exit_accept", Syscall("sys_exit_accept4"), OPENER),
        hook("tp_exit_accept", Syscall("sys_exit_accept"), OPENER),
        hook("tp_timer_start", Btf("timer_start"), Required),
        hook("tp_timer_cancel", Btf("timer_cancel"), Required),
        hook("tp_timer_expire_entry", Btf("timer_expire_entry"), Required),
        hook("tp_enter_bind", Syscall("sys_enter_bind"), BIND),
        hook("tp_exit_bind", Syscall("sys_exit_bind"), BIND),
        hook("tp_enter_listen", Syscall("sys_enter_listen"), BIND),
        hook("tp_exit_listen", Syscall("sys_exit_listen"), BIND),
    ];
    if failures_all {
        hooks.push(hook("tp_enter_connect", Syscall("sys_enter_connect"), CONNECT));
        hooks.push(hook("tp_exit_connect", Syscall("sys_exit_connect"), CONNECT));
    }
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What they tell decides whether a skipped run makes all that lives be compared.
    #[test]
    fn of_the_tracepoints_only_those_of_timers_tell_births_and_ends() {
        let told = |told| {
            let hooks = tracepoint(true).into_iter().filter(move |hook| hook.told() == told);
            hooks.map(|hook| hook.program).collect::<Vec<_>>()
        };
        assert_eq!(told(SkippedRun::Perhaps), ["tp_timer_start", "tp_timer_cancel"]);
        assert_eq!(
            (told(SkippedRun::Ended), told(SkippedRun::Created).len()),
            (vec!["tp_timer_expire_entry"], 0)
        );
    }
}
