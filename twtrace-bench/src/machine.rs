//! What this machine is, and the versions of everything that takes part.
//!
//! Owns: finding that out. Must not know: what is measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use twtrace_kit::command::{read, which};

use crate::model::Machine;

/// The facts of the page's table.
///
/// # Errors
/// Where twtrace does not say its version; of what else is not to be had, the fact is left out.
pub(crate) fn describe(twtrace: &Path, backend: String) -> Result<Machine> {
    let cpus = std::thread::available_parallelism()?.get();
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: Option<String>| {
        facts.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    fact("CPU", model(&cpuinfo).map(|model| format!("{model}, {cpus} CPUs")));
    fact("virtual machine", Some(if is_virtual(&cpuinfo) { "yes" } else { "no sign of one" }.to_owned()));
    fact("memory", memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    fact("kernel", read(Command::new("uname").args(["-srvm"])).ok().map(|text| first_line(&text)));
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    fact("distribution", value_of(&release, "PRETTY_NAME"));
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok();
    fact("BPF JIT (net.core.bpf_jit_enable)", jit.map(|text| text.trim().to_owned()));
    fact("backend of twtrace", Some(backend.clone()));
    fact("twtrace", Some(first_line(&read(Command::new(twtrace).arg("--version"))?)));
    for (name, package) in [
        ("nginx", "nginx-light"),
        ("ab", "apache2-utils"),
        ("tcpstates", "libbpf-tools"),
        ("bpftrace", "bpftrace"),
        ("ss", "iproute2"),
    ] {
        if which(name).is_some() {
            fact(&format!("{name} (package {package})"), package_version(package));
        }
    }
    Ok(Machine { facts, backend, cpus })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Hypervisors set a bit of their own in CPUID.
fn is_virtual(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn memory(meminfo: &str) -> Option<String> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

fn value_of(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

fn package_version(package: &str) -> Option<String> {
    let query = read(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]));
    query.ok().map(|text| first_line(&text)).or_else(|| Some("not from a Debian package".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_what_the_kernel_prints() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu hypervisor sse\n";
        assert_eq!(model(cpuinfo).as_deref(), Some("Some CPU @ 2 GHz"));
        assert!(is_virtual(cpuinfo));
        assert!(!is_virtual("flags\t: fpu sse\n"));
        assert_eq!(memory("MemTotal:       24683520 kB\n").as_deref(), Some("23.5 GiB"));
        let release = "NAME=\"D\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(value_of(release, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    }
}
