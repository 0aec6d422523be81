//! Owns: one attempt to load and attach a backend.
//! Must not know: which backend to try next.

use std::os::fd::{AsFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{Program, ProgramError};

use super::backend::{Hook, Lacking, Need, Point, VERDICT, hooks};
use super::config::Helpers;
use super::counters::{self, Counters, Times};
use super::environment::{self, Denial};
use super::object::Loader;
use super::running::Kernel;
use super::said::{chain, errno, why, why_of_errno};
use super::{Backend, Fallback, Listeners, Options, Why, log};
use crate::kernel::bpf;
use crate::model::limitation::What;

/// An attached backend.
pub(super) struct Loaded {
    pub(super) attached: Attached,
    pub(super) ring: RingBuf<MapData>,
    pub(super) counters: Counters,
    /// Where connects are timed.
    pub(super) times: Option<Times>,
    /// What this backend cannot do here.
    pub(super) notes: Vec<Fallback>,
}

/// What keeps the hooks attached.
pub(super) struct Attached {
    ebpf: Ebpf,
    /// Programs in the order in which they were attached.
    order: Vec<&'static str>,
    _log: Option<std::thread::JoinHandle<()>>,
}

impl Attached {
    /// See [`super::Probe::leave_out`].
    pub(super) fn leave_out(&mut self, cgroup_id: u64) {
        let map = self.ebpf.map_mut("STRANGERS").map(HashMap::<_, u64, u8>::try_from);
        if let Some(Ok(mut map)) = map {
            // Without it more travels than need be, and nothing else is different.
            let _ = map.insert(cgroup_id, 1, 0);
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        for name in self.order.iter().rev() {
            let Some(program) = self.ebpf.program_mut(name) else { continue };
            // A program that is attached twice is let go the first time; the second is an error, to no harm.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::FEntry(program) => program.unload(),
                Program::FExit(program) => program.unload(),
                Program::KProbe(program) => program.unload(),
                Program::TracePoint(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }
}

/// Before anything is attached: while a call fills a map the kernel runs no perf-type program on that CPU
/// (bpf_map_update_value(), kernel/bpf/syscall.c, 5.10 to 7.3). Shortly before: who begins to listen between this and
/// the hooks is not known.
fn seed_listeners(ebpf: &mut Ebpf, ports: impl Iterator<Item = (u32, u16)>) {
    let Some(map) = ebpf.map_mut("LISTENERS") else { return };
    let Ok(mut map) = HashMap::<_, [u32; 2], u8>::try_from(map) else { return };
    for (netns, port) in ports {
        // A full map forgets the oldest; the role of a connection older than twtrace is then unknown.
        let _ = map.insert([netns, u32::from(port)], 1, 0);
    }
}

/// Loads and attaches `backend`.
///
/// # Errors
/// What did not work, with the reason.
pub(super) fn attach(
    backend: Backend,
    kernel: &Kernel,
    options: &Options,
    listeners: Listeners<'_>,
    loader: &mut Loader,
) -> Result<Loaded, Fallback> {
    if backend == Backend::Tracepoint
        && let Err(hidden) = &kernel.symbols
    {
        return Err(whole(backend, hidden.clone()));
    }
    if backend == Backend::Fentry {
        try_entry(kernel, options)?;
    }
    let mut lacking = Lacking::nothing(backend, options.filter.failures_all());
    let mut helpers = Helpers::All;
    // What the verifier refuses with all helpers, while the old ones are tried.
    let mut refused: Option<Box<Missed>> = None;
    let mut notes = Vec::new();
    loop {
        let mut missed = match attempt(backend, kernel, (options, listeners), helpers, &lacking, loader) {
            Ok(mut loaded) => {
                loaded.notes.splice(0..0, notes);
                return Ok(loaded);
            }
            Err(missed) => missed,
        };
        // A helper that is too new is a program that the verifier refuses. What it refuses with the old ones too is something else.
        if helpers == Helpers::All && matches!(missed.fallback.why, Why::Verifier(_)) {
            helpers = Helpers::Old;
            refused = Some(missed);
            continue;
        }
        if let Some(first) = refused.take()
            && first.program == missed.program
        {
            helpers = Helpers::All;
            missed = first;
        }
        let Some(hook) = missed.spare else { return Err(missed.fallback) };
        if let Need::Else(duty, _) = hook.need {
            lacking.by_state |= duty;
        }
        lacking.programs.push(hook.program);
        notes.push(missed.fallback);
    }
}

/// Has the kernel take a program that only returns at the entry of the first function that is needed. Where it refuses such programs
/// altogether, no object is made, with all of its maps, to learn that. Of whatever else it says (EAGAIN, ENOMEM, EINVAL of a single function),
/// loading the real programs tells more, or says nothing of the kind.
fn try_entry(kernel: &Kernel, options: &Options) -> Result<(), Fallback> {
    let backend = Backend::Fentry;
    let nothing = Lacking::nothing(backend, options.filter.failures_all());
    let hooks = hooks(backend, kernel, &nothing, options);
    let entry = |hook: &Hook| match (hook.point, hook.need) {
        (Point::Fentry(name), Need::Required) => kernel.types.btf.func_named(name).map(|id| (name, id)),
        _ => None,
    };
    let Some((hook, id)) = hooks.iter().find_map(entry) else { return Ok(()) };
    match bpf::load_for_entry(id, &bpf::RETURN).map_err(|error| why_of_errno(&error)) {
        Err(why @ (Why::NotPermitted(..) | Why::NotSupported | Why::Files(_))) => {
            Err(Fallback { backend, hook, without: None, why })
        }
        _ => Ok(()),
    }
}

/// A hook that could not be had.
struct Missed {
    fallback: Fallback,
    program: &'static str,
    /// It can be done without.
    spare: Option<Hook>,
}

impl From<Fallback> for Box<Missed> {
    fn from(fallback: Fallback) -> Self {
        Box::new(Missed { fallback, program: "", spare: None })
    }
}

fn attempt(
    backend: Backend,
    kernel: &Kernel,
    (options, listeners): (&Options, Listeners<'_>),
    helpers: Helpers,
    lacking: &Lacking,
    loader: &mut Loader,
) -> Result<Loaded, Box<Missed>> {
    let mut ebpf = loader
        .load(kernel.config(backend, options, helpers, lacking))
        .map_err(|error| object_fallback(backend, &*error))?;
    let mut notes = beforehand(backend, kernel);
    // Taken first: the programs hold on to their maps.
    let ring = map(&mut ebpf, "EVENTS", backend)?;
    let ring = RingBuf::try_from(ring).map_err(|error| object_fallback(backend, &error))?;
    let loss = map(&mut ebpf, "LOSS", backend)?;
    let loss = PerCpuArray::try_from(loss).map_err(|error| object_fallback(backend, &error))?;
    let log = options.debug_log.then(|| follow_log(&mut ebpf)).flatten();
    let mut hooks = hooks(backend, kernel, lacking, options);
    if options.no_syscalls {
        notes.extend(hooks.iter().filter_map(|hook| left_out(backend, hook)));
        hooks.retain(|hook| !matches!(hook.point, Point::Syscall(_)));
    }
    let ids = ids(kernel, &hooks).map_err(|why| whole(backend, why))?;
    for hook in &hooks {
        load_one(&mut ebpf, hook, kernel, &ids).map_err(|why| missed(backend, hook, why))?;
    }
    let numbers = kernel.numbers(options);
    let known = |(netns, port)| Some((numbers.number(netns)?, port));
    seed_listeners(&mut ebpf, listeners().into_iter().filter_map(known));
    for hook in &hooks {
        attach_one(&mut ebpf, hook, kernel).map_err(|why| missed(backend, hook, why))?;
        if matches!((hook.point, hook.need), (Point::Syscall(_), Need::Optional(_))) {
            let (hook, without) = (hook.point.target(), Some(What::OtherCalls));
            notes.push(Fallback { backend, hook, without, why: Why::OnlyCalls });
        }
    }
    let times = if hooks.iter().any(Hook::is_timing) { Times::of(&mut ebpf) } else { None };
    let order = hooks.iter().map(|hook| hook.program).collect();
    let counters = Counters::new(loss, programs(&ebpf, &hooks));
    Ok(Loaded { attached: Attached { ebpf, order, _log: log }, ring, counters, times, notes })
}

/// The programs behind hooks; one that is attached at several places counts once.
fn programs(ebpf: &Ebpf, hooks: &[Hook]) -> Vec<counters::Program> {
    let program = |hook: &Hook| {
        let fd = descriptor(ebpf, hook.program)?;
        Some(counters::Program { name: hook.program, told: hook.told(), fd })
    };
    let mut programs: Vec<counters::Program> = hooks.iter().filter_map(program).collect();
    programs.dedup_by_key(|program| program.name);
    programs
}

/// What is known not to be seen before anything was tried.
fn beforehand(backend: Backend, kernel: &Kernel) -> Vec<Fallback> {
    let note = |hook, what, why| Fallback { backend, hook, without: Some(what), why };
    let hidden = kernel.symbols.as_ref().err();
    let hidden = hidden.map(|why| note("kallsyms", What::EndReasons, why.clone()));
    let verdicts = (backend != Backend::Fentry).then(|| note(VERDICT, What::SynRefused, Why::OnlyFentry));
    hidden.into_iter().chain(verdicts).collect()
}

/// What is not known without a hook on a system call.
fn left_out(backend: Backend, hook: &Hook) -> Option<Fallback> {
    match (hook.point, hook.need) {
        (Point::Syscall(name), Need::Optional(without)) => {
            Some(Fallback { backend, hook: name, without: Some(without), why: Why::NotAsked })
        }
        _ => None,
    }
}

fn map(ebpf: &mut Ebpf, name: &str, backend: Backend) -> Result<Map, Fallback> {
    ebpf.take_map(name).ok_or_else(|| whole(backend, Why::Object(format!("it has no map {name}"))))
}

/// Prints the kernel side's debug log from a thread of its own, for as long as the object lives.
fn follow_log(ebpf: &mut Ebpf) -> Option<std::thread::JoinHandle<()>> {
    static LOGGER: log::Stderr = log::Stderr;
    ::log::set_max_level(::log::LevelFilter::Trace);
    let mut logger = aya_log::EbpfLogger::init_with_logger(ebpf, &LOGGER).ok()?;
    let work = move || {
        loop {
            let mut poll = libc::pollfd {
                fd: std::os::fd::AsRawFd::as_raw_fd(&logger),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd of ours.
            if unsafe { libc::poll(&raw mut poll, 1, -1) } > 0 {
                logger.flush();
            }
        }
    };
    std::thread::Builder::new().name("kernel-log".to_owned()).spawn(work).ok()
}

fn missed(backend: Backend, hook: &Hook, why: Why) -> Box<Missed> {
    let (without, spare) = match hook.need {
        Need::Required => (None, None),
        Need::Optional(without) | Need::Else(_, without) => (Some(without), Some(*hook)),
    };
    let fallback = Fallback { backend, hook: hook.point.target(), without, why };
    Box::new(Missed { fallback, program: hook.program, spare })
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &Hook) -> Result<&'a mut Program, Why> {
    let missing = || Why::Object(format!("it has no program {}", hook.program));
    ebpf.program_mut(hook.program).ok_or_else(missing)
}

/// The ids of what these hooks are attached to, as aya wants them.
fn ids(kernel: &Kernel, hooks: &[Hook]) -> Result<aya::Btf, Why> {
    let functions = hooks.iter().filter_map(|hook| match hook.point {
        Point::Fentry(name) | Point::Fexit(name) => Some(name),
        _ => None,
    });
    // What the kernel calls the types of its tracepoints' functions (include/trace/bpf_probe.h, 5.10 to 7.3).
    let type_of = |hook: &Hook| match hook.point {
        Point::Btf(name) => Some(format!("btf_trace_{name}")),
        _ => None,
    };
    let tracepoints: Vec<String> = hooks.iter().filter_map(type_of).collect();
    let outline = kernel.types.btf.outline(functions, tracepoints.iter().map(String::as_str));
    aya::Btf::parse(&outline, aya::Endianness::Little).map_err(|error| Why::Object(error.to_string()))
}

fn load_one(ebpf: &mut Ebpf, hook: &Hook, kernel: &Kernel, ids: &aya::Btf) -> Result<(), Why> {
    let done = once(match (program(ebpf, hook)?, hook.point) {
        (Program::BtfTracePoint(program), Point::Btf(name)) => program.load(name, ids),
        (Program::FEntry(program), Point::Fentry(name)) => program.load(name, ids),
        (Program::FExit(program), Point::Fexit(name)) => program.load(name, ids),
        (Program::KProbe(program), Point::Kprobe(_)) => program.load(),
        (Program::TracePoint(program), Point::Syscall(_)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    });
    done.map_err(|error| why_of(&error, hook, kernel))
}

fn attach_one(ebpf: &mut Ebpf, hook: &Hook, kernel: &Kernel) -> Result<(), Why> {
    let done = match (program(ebpf, hook)?, hook.point) {
        (Program::BtfTracePoint(program), _) => program.attach().map(drop),
        (Program::FEntry(program), _) => program.attach().map(drop),
        (Program::FExit(program), _) => program.attach().map(drop),
        (Program::KProbe(program), Point::Kprobe(name)) => program.attach(name, 0).map(drop),
        (Program::TracePoint(program), Point::Syscall(name)) => program.attach("syscalls", name).map(drop),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    done.map_err(|error| why_of(&error, hook, kernel))
}

fn why_of(error: &ProgramError, hook: &Hook, kernel: &Kernel) -> Why {
    match (&kernel.seen.tracefs, hook.point) {
        (Err(reason), Point::Syscall(_)) => Why::Tracefs(reason.clone()),
        _ => why(error),
    }
}

/// One program may be attached at several places; it is loaded for the first.
fn once(loaded: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        other => other,
    }
}

fn descriptor(ebpf: &Ebpf, name: &str) -> Option<OwnedFd> {
    let fd = match ebpf.program(name)? {
        Program::BtfTracePoint(program) => program.fd(),
        Program::FEntry(program) => program.fd(),
        Program::FExit(program) => program.fd(),
        Program::KProbe(program) => program.fd(),
        Program::TracePoint(program) => program.fd(),
        _ => return None,
    };
    fd.ok()?.as_fd().try_clone_to_owned().ok()
}

fn whole(backend: Backend, why: Why) -> Fallback {
    Fallback { backend, hook: "", without: None, why }
}

/// The object itself, not one of its programs, could not be made.
fn object_fallback(backend: Backend, error: &(dyn std::error::Error + 'static)) -> Fallback {
    let text = chain(error);
    let why = match errno(error) {
        Some(libc::EPERM | libc::EACCES) => Why::NotPermitted(text, Denial::find(&environment::TO_TRACE)),
        Some(libc::EMFILE | libc::ENFILE) => Why::Files(crate::host::descriptors::limit()),
        _ => Why::Object(text),
    };
    whole(backend, why)
}
