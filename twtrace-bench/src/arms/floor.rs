//! BPF programs that only return, wherever twtrace has one of its own: what it costs to call any program there.
//!
//! Owns: finding those places and attaching there. Must not know: what twtrace does there.

use anyhow::{Context as _, Result, ensure};
use twtrace_kit::bpf::{Info, Returning, TRACE_RAW_TP};

use super::btf::Btf;
use crate::process::{self, Fields};

/// A place where a program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The program's id.
    pub(crate) program: u32,
    pub(crate) place: AttachPoint,
}

/// How it is attached there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttachPoint {
    /// A tracepoint with types, by name.
    Tracepoint(String),
    /// A function's entry or exit: `expected_attach_type` and the function's id in BTF.
    Function(u32, u32),
    /// In a way for which there is no program that only returns: what it is, as far as the kernel says.
    Other(String),
}

/// Where a process has programs attached.
pub(crate) fn hooks(pid: u32) -> Result<Vec<Hook>> {
    Ok(process::descriptors(pid)?.iter().filter_map(hook).collect())
}

fn hook(link: &Fields) -> Option<Hook> {
    let field = |name: &str| link.get(name).map(String::as_str);
    let number = |name: &str| field(name)?.parse().ok();
    let program = number("prog_id")?;
    let name = || ["tp_name", "name", "func"].into_iter().find_map(field).unwrap_or("").to_owned();
    let place = match (field("link_type")?, number("attach_type"), number("target_btf_id")) {
        ("raw_tracepoint", ..) => AttachPoint::Tracepoint(name()),
        ("tracing", Some(kind), Some(function)) => AttachPoint::Function(kind, function),
        _ => AttachPoint::Other(name()),
    };
    Some(Hook { program, place })
}

/// The programs in place. They go when this is dropped.
pub(crate) struct Floor(Vec<(String, Returning)>);

impl Floor {
    /// Attaches one to each place that is a tracepoint with types or a function's entry or exit.
    pub(super) fn attach(hooks: &[Hook]) -> Result<Self> {
        let btf = Btf::running()?;
        let mut programs = Vec::new();
        for hook in hooks {
            let (kind, id, name) = match &hook.place {
                AttachPoint::Tracepoint(name) => (TRACE_RAW_TP, tracepoint(&btf, name)?, name.clone()),
                AttachPoint::Function(kind, id) => (*kind, *id, function(&btf, *id)),
                AttachPoint::Other(_) => continue,
            };
            let program =
                Returning::attach(kind, id).with_context(|| format!("an empty program at {name}"))?;
            programs.push((name, program));
        }
        ensure!(!programs.is_empty(), "twtrace attaches in no way for which there is an empty program");
        Ok(Self(programs))
    }

    /// What the kernel says about them, with the place of each.
    pub(crate) fn infos(&self) -> Result<Vec<(String, Info)>> {
        self.0.iter().map(|(name, program)| Ok((name.clone(), program.info()?))).collect()
    }
}

/// A tracepoint's arguments are described by the typedef of this name, and a program attaches to it by the typedef's id.
fn tracepoint(btf: &Btf, name: &str) -> Result<u32> {
    let wanted = format!("btf_trace_{name}");
    btf.typedef(&wanted).with_context(|| format!("this kernel's BTF has no {wanted}"))
}

fn function(btf: &Btf, id: u32) -> String {
    btf.name(id).unwrap_or_else(|| format!("#{id}"))
}

/// Where the programs are, in words.
pub(super) fn shown(hooks: &[Hook]) -> String {
    let tracepoints = hooks.iter().filter_map(|hook| match &hook.place {
        AttachPoint::Tracepoint(name) => Some(name.as_str()),
        _ => None,
    });
    let tracepoints: Vec<&str> = tracepoints.collect();
    let functions = hooks.iter().filter(|hook| matches!(hook.place, AttachPoint::Function(..))).count();
    format!("`return 0` at the tracepoints {} and {functions} functions, by bpf(2)", tracepoints.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        text.split(' ').filter_map(|pair| pair.split_once(':')).map(|(a, b)| (a.into(), b.into())).collect()
    }

    #[test]
    fn links_are_told_from_other_descriptors_and_by_kind() {
        let tracepoint = hook(&fields("link_type:raw_tracepoint prog_id:7 tp_name:timer_start")).unwrap();
        assert_eq!(tracepoint.place, AttachPoint::Tracepoint("timer_start".to_owned()));
        let function =
            hook(&fields("link_type:tracing prog_id:8 attach_type:24 target_btf_id:4711")).unwrap();
        assert_eq!((function.program, function.place), (8, AttachPoint::Function(24, 4711)));
        let other = hook(&fields("link_type:perf prog_id:9 tp_name:sys_exit_bind")).unwrap();
        assert_eq!(other.place, AttachPoint::Other("sys_exit_bind".to_owned()));
        assert_eq!(hook(&fields("prog_type:26 prog_id:7")), None);
    }
}
