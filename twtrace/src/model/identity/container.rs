//! Owns: which container a cgroup path speaks of. A pure function: paths in, names out.
//! Must not know: where a path comes from.
//!
//! A path counts only where a runtime's own mark stands beside the id. A directory that merely looks like an id is
//! anyone's.

#[cfg(test)]
mod tests;

use std::fmt;

/// What made a container, as far as its cgroup tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Runtime {
    /// Docker Engine (moby).
    Docker,
    /// containerd, through CRI or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman (libpod).
    Podman,
    /// A Kubernetes pod under the cgroupfs driver, which does not say what runs it.
    Kubernetes,
    /// LXC, LXD or Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// Amazon ECS.
    Ecs,
    /// Cloud Foundry's Garden.
    Garden,
}

words!(Runtime, ALL, {
    Docker => "docker", Containerd => "containerd", CriO => "cri-o", Podman => "podman", Kubernetes => "kubernetes", Lxc => "lxc",
    Nspawn => "nspawn", Ecs => "ecs", Garden => "garden",
});

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// What made it.
    pub runtime: Runtime,
    /// Its full id, or its name where the runtime goes by names (LXC, nspawn).
    pub id: String,
    /// What people and `docker ps` call it: the first 12 characters of an id, a name in full.
    pub short: String,
    /// Uid of its Kubernetes pod, with hyphens.
    pub pod_uid: Option<String>,
}

impl fmt::Display for Container {
    /// `docker:0123456789ab`: the `container` of events.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.runtime, self.short)
    }
}

/// The container that the processes in a cgroup belong to; the innermost where they nest. `None` for a runtime's
/// helpers outside (conmon, an LXC monitor), for a virtual machine, and for anything without a runtime's mark.
///
/// `path` is one as in `/proc/PID/cgroup`, of either version of cgroups.
pub fn container_of(path: &str) -> Option<Container> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (at, (runtime, id)) = (0..parts.len()).rev().find_map(|at| Some((at, member(&parts, at)?)))?;
    let pod_uid = parts[..=at].iter().rev().find_map(|part| pod_uid(part));
    let named = matches!(runtime, Runtime::Lxc | Runtime::Nspawn);
    let id = if named { unescape(id) } else { id.to_owned() };
    let short = if named { id.clone() } else { id.chars().take(12).collect() };
    Some(Container { runtime, id, short, pod_uid })
}

/// Undoes systemd's `\xNN` (systemd.unit(5)) where that gives printable ASCII.
fn unescape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("\\x") {
        let code = rest.get(at + 2..at + 4).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let Some(code) = code.filter(u8::is_ascii_graphic) else { break };
        out.push_str(&rest[..at]);
        out.push(code.into());
        rest = &rest[at + 4..];
    }
    out + rest
}

/// What the directory at `at` says, given those above and below it.
fn member<'a>(parts: &[&'a str], at: usize) -> Option<(Runtime, &'a str)> {
    let part = parts[at];
    let parent = at.checked_sub(1).map(|above| parts[above]);
    marked(part)
        .or_else(|| under_parent(part, parent?, &parts[..at]))
        .or_else(|| machine(part, parent?, parts.get(at + 1).copied()))
        .or_else(|| lxc(part, parent, at))
}

/// `RUNTIME-ID.scope` (systemd driver), `RUNTIME-ID` (cgroupfs driver of CRI-O and Podman), and
/// `SLICE:RUNTIME:ID` (a runtime on the cgroupfs driver that was handed a systemd name).
fn marked(part: &str) -> Option<(Runtime, &str)> {
    const MARKS: [(&str, Runtime); 6] = [
        ("docker", Runtime::Docker),
        ("cri-containerd", Runtime::Containerd),
        ("nerdctl", Runtime::Containerd),
        ("crio", Runtime::CriO),
        ("libpod", Runtime::Podman),
        ("libpod-payload", Runtime::Podman),
    ];
    let known = |mark: &str| MARKS.iter().find(|(known, _)| *known == mark).map(|(_, runtime)| *runtime);
    if let Some((rest, id)) = part.rsplit_once(':') {
        let (_, mark) = rest.rsplit_once(':')?;
        return Some((known(mark)?, hash(id)?));
    }
    let (mark, id) = part.strip_suffix(".scope").unwrap_or(part).rsplit_once('-')?;
    let runtime = known(mark)
        .filter(|runtime| part.ends_with(".scope") || matches!(runtime, Runtime::CriO | Runtime::Podman))?;
    Some((runtime, hash(id)?))
}

/// An id whose runtime is told by the directory above.
fn under_parent<'a>(part: &'a str, parent: &str, above: &[&str]) -> Option<(Runtime, &'a str)> {
    // Next to the root, or in the service that runs the runtime: not in a directory of the same name elsewhere.
    let near_root = above.len() == 1 || above[..above.len() - 1].iter().all(|part| is_host(part));
    match parent {
        "docker" if near_root => Some((Runtime::Docker, hash(part)?)),
        "k8s.io" if near_root => Some((Runtime::Containerd, hash(part)?)),
        "garden" if near_root => Some((Runtime::Garden, garden_id(part)?)),
        _ if pod_uid(parent).is_some() => Some((Runtime::Kubernetes, hash(part)?)),
        _ if above.first() == Some(&"ecs") && above.len() >= 2 => Some((Runtime::Ecs, ecs_id(part)?)),
        _ => None,
    }
}

/// A directory that holds a runtime's cgroups without being one: a service of systemd, a slice, or a container that
/// runs a runtime of its own.
fn is_host(part: &str) -> bool {
    part.ends_with(".slice")
        || part.ends_with(".service")
        || part == "docker"
        || hash(part).is_some()
        || marked(part).is_some()
}

/// Machines of systemd-machined: `machine.slice/machine-NAME.scope`, and `systemd-nspawn@NAME.service`. libvirt's
/// domains look the same but for `DRIVER-NUMBER-` before their name; nspawn's own process sits in `supervisor`.
fn machine<'a>(part: &'a str, parent: &str, child: Option<&str>) -> Option<(Runtime, &'a str)> {
    if parent != "machine.slice" || child == Some("supervisor") {
        return None;
    }
    if let Some(name) = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service")) {
        return Some((Runtime::Nspawn, name)).filter(|_| child == Some("payload") && !name.is_empty());
    }
    let name = part.strip_prefix("machine-")?.strip_suffix(".scope")?;
    let libvirt = name.split_once("\\x2d").is_some_and(|(driver, rest)| {
        matches!(driver, "qemu" | "lxc" | "xen" | "ch") && rest.starts_with(|c: char| c.is_ascii_digit())
    });
    (!libvirt && !name.is_empty()).then_some((Runtime::Nspawn, name))
}

/// `lxc.payload.NAME` anywhere, `lxc.payload/NAME` and `lxc/NAME` next to the root.
fn lxc<'a>(part: &'a str, parent: Option<&str>, at: usize) -> Option<(Runtime, &'a str)> {
    let name = match (part.strip_prefix("lxc.payload."), parent) {
        (Some(name), _) => name,
        (None, Some("lxc" | "lxc.payload")) if at == 1 => part,
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!name.is_empty() && name.bytes().all(plain)).then_some((Runtime::Lxc, name))
}

/// `pod<uid>` (cgroupfs driver) or `[kubelet-]kubepods[-besteffort|-burstable]-pod<uid>.slice` (systemd driver, which
/// turns hyphens into underscores). The uid is a UUID, or 32 hex digits for a static pod.
fn pod_uid(part: &str) -> Option<String> {
    let sliced = part.split(':').next().and_then(|part| part.strip_suffix(".slice"));
    let uid = match sliced {
        Some(name) => {
            let (class, uid) = name.rsplit_once("-pod")?;
            let class = class.strip_prefix("kubelet-").unwrap_or(class);
            matches!(class, "kubepods" | "kubepods-besteffort" | "kubepods-burstable").then_some(uid)?
        }
        None => part.strip_prefix("pod")?,
    };
    let uid = if sliced.is_some() { uid.replace('_', "-") } else { uid.to_owned() };
    (is_uuid(&uid) || (uid.len() == 32 && uid.bytes().all(is_hex))).then_some(uid)
}

/// `<task>/<64 hex>` on EC2, `<task>/<task>-<number>` on Fargate.
fn ecs_id(part: &str) -> Option<&str> {
    hash(part).or_else(|| {
        let (task, number) = part.split_once('-')?;
        let hex = task.len() == 32 && task.bytes().all(is_hex);
        (hex && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(part)
    })
}

/// Garden's handles: hex groups with hyphens, with or without an index at the end.
fn garden_id(part: &str) -> Option<&str> {
    let groups = part.split('-').count();
    let shaped = (5..=7).contains(&groups) && part.len() >= 20 && part.len() <= 64;
    (shaped && part.bytes().all(|byte| byte == b'-' || is_hex(byte))).then_some(part)
}

/// The id that nearly every runtime uses: 32 random bytes in hex.
fn hash(id: &str) -> Option<&str> {
    (id.len() == 64 && id.bytes().all(is_hex)).then_some(id)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(is_hex))
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
