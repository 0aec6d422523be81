//! Owns: what only the doctor wants to know of a namespace or a machine: its addresses, connection tracking, IPVS, the kernel's
//! own value of a setting, settings that no longer exist.
//! Must not know: what it is for.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::diagnose::facts::{Conntrack, DeadSetting, Ipvs, Netns as Facts, Slab};
use crate::host::net::netns::{Netns, discover};
use crate::host::net::slabinfo;
use crate::host::net::sysctls;
use crate::model::limitation::{Limitation, What};
use crate::model::ordering::Ordered as _;

/// Where settings are kept for the next boot (sysctl.d(5)), beside the folders of [`FOLDERS`].
const FILE: &str = "/etc/sysctl.conf";
const FOLDERS: [&str; 4] = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
/// Settings that people still write there and no kernel that twtrace runs on has.
const DEAD: [&str; 1] = ["net.ipv4.tcp_tw_recycle"];
/// A file of settings is smaller.
const LARGEST: u64 = 1 << 20;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) addresses: HashSet<IpAddr>,
    pub(super) conntrack: Option<Conntrack>,
    pub(super) ipvs: Option<Ipvs>,
    pub(super) max_tw_buckets_default: Option<u32>,
    pub(super) tw_recycle: Option<u32>,
}

/// Those of the calling thread's namespace.
pub(super) fn read_here() -> Extras {
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let netfilter = |name: &str| number(&format!("/proc/sys/net/netfilter/{name}"));
    let conntrack = netfilter("nf_conntrack_count").zip(netfilter("nf_conntrack_max"));
    Extras {
        addresses: addresses.map(|address| address.to_canonical()).collect(),
        conntrack: conntrack.map(|(count, max)| Conntrack {
            count,
            max,
            time_wait_s: netfilter("nf_conntrack_tcp_timeout_time_wait").and_then(|s| s.try_into().ok()),
        }),
        ipvs: ipvs(),
        max_tw_buckets_default: buckets_of_ehash(),
        tw_recycle: number("/proc/sys/net/ipv4/tcp_tw_recycle").and_then(|set| set.try_into().ok()),
    }
}

/// A machine with more services than fit has them summed as far as they do.
const MOST_OF_IPVS: u64 = 4 << 20;

fn ipvs() -> Option<Ipvs> {
    let mut text = Vec::new();
    let file = fs::File::open("/proc/thread-self/net/ip_vs").ok()?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_OF_IPVS), &mut text).ok()?;
    Ipvs::parse(&String::from_utf8_lossy(&text))
}

/// Half of the namespace's hash table of connections (tcp_set_hashinfo(), net/ipv4/tcp_ipv4.c, 6.1 to 7.3); the file is
/// there from 6.1 on, and negative where the table is the machine's own.
fn buckets_of_ehash() -> Option<u32> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_ehash_entries").ok()?;
    let entries: i64 = text.trim().parse().ok()?;
    u32::try_from(entries.unsigned_abs() / 2).ok()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// How long other namespaces are asked for their settings before a trace begins.
const PATIENCE: Duration = Duration::from_millis(50);
/// So many are asked however long it takes.
const ALWAYS_ASKED: usize = 3;

/// Where a kernel does not say what it would have set `tcp_max_tw_buckets` to, the largest value of any namespace that can be asked at
/// once, which is the best to be had. To be asked before the power to enter other namespaces is given up.
pub(super) fn most_buckets() -> Option<u32> {
    if buckets_of_ehash().is_some() {
        return None;
    }
    let all = discover();
    let began = Instant::now();
    // The own one comes first, then mostly the machine's own.
    let asked =
        all.into_iter().enumerate().take_while(|(at, _)| *at < ALWAYS_ASKED || began.elapsed() < PATIENCE);
    let all = asked.filter_map(|(_, netns)| sysctls::read(&netns).ok()?.max_tw_buckets);
    // Half of the hash table's slots, of which there is a power of two (tcp_sk_init(), net/ipv4/tcp_ipv4.c, 5.10;
    // tcp_set_hashinfo(), there, 6.1 to 7.3): another number was set by somebody.
    all.filter(|most| most.is_power_of_two()).max()
}

/// What the kernel would have set where it has `set` now: as it says itself, else [`most_buckets`].
pub(super) fn buckets_default(said: Option<u32>, most: Option<u32>, set: Option<u32>) -> Option<u32> {
    said.or_else(|| most.max(set))
}

/// What goes before a command that is to run in a namespace; nothing for the caller's own. `None`: there is no way that a shell could be
/// told.
pub(super) fn way_in(netns: &Netns) -> Option<String> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let path = netns.path.to_string_lossy();
    if path.starts_with("/proc/thread-self/") || path.starts_with("/proc/self/") {
        return Some(String::new());
    }
    if let Some(name) = path.strip_prefix("/run/netns/") {
        return name.chars().all(is_safe).then(|| format!("ip netns exec {name} "));
    }
    let pid = path.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/ns/net"));
    if let Some(pid) = pid.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(format!("nsenter -t {pid} -n "));
    }
    path.chars().all(|c| is_safe(c) || c == '/').then(|| format!("nsenter --net={path} "))
}

/// `tcp_tw_reuse` of the caller's own namespace.
pub(super) fn own_tw_reuse() -> Option<u32> {
    number("/proc/sys/net/ipv4/tcp_tw_reuse").and_then(|set| u32::try_from(set).ok())
}

/// The same, said of the other namespaces.
pub(super) fn outside_tw_reuse(all: &mut [Facts]) {
    let own = own_tw_reuse();
    for netns in all.iter_mut().filter(|netns| netns.is_closed || !netns.enter.is_empty()) {
        netns.outside_tw_reuse = own;
    }
}

/// Kernel memory of TIME_WAIT sockets; `None` where the kernel does not tell them apart.
///
/// # Errors
/// Where it cannot be read, and what would help.
pub(super) fn slab() -> Result<Option<Slab>, Limitation> {
    let slab = slabinfo::time_wait().map_err(|error| {
        let remedy = if crate::host::caps::Caps::own().uid() == 0 {
            "run it on the machine itself: containers often hide /proc/slabinfo"
        } else {
            "run it with sudo: only root may read /proc/slabinfo"
        };
        Limitation::new(What::Memory, error.to_string(), remedy)
    })?;
    Ok(slab.map(|slab| Slab { object_bytes: slab.object_bytes, bytes: slab.bytes }))
}

/// Whether the kernel's settings can be read and not written here, whoever asks: `/proc/sys` is mounted so in containers.
pub(super) fn is_read_only() -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs("/proc/sys/net").is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// Lines of this machine's files that set what does not exist.
pub(super) fn dead_settings() -> Vec<DeadSetting> {
    dead_settings_in(Path::new("/"))
}

fn dead_settings_in(root: &Path) -> Vec<DeadSetting> {
    let under = |path: &str| root.join(path.trim_start_matches('/'));
    let mut files: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| fs::read_dir(under(folder)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.push(under(FILE));
    files.order_by(Ord::cmp);
    let mut found: Vec<DeadSetting> = Vec::new();
    for path in files {
        let is_small = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
        // What cannot be read cannot be set by anyone but who can.
        let Some(text) = is_small.then(|| fs::read(&path).ok()).flatten() else { continue };
        let text = String::from_utf8_lossy(&text);
        found.extend(text.lines().filter_map(dead_line).map(|(name, value)| DeadSetting {
            path: path.to_string_lossy().into_owned(),
            name: name.to_owned(),
            value,
        }));
    }
    found
}

/// `net.ipv4.tcp_tw_recycle = 1`, with `/` for `.` and a `-` before it where the writer liked it so.
fn dead_line(line: &str) -> Option<(&'static str, String)> {
    let (name, value) = line.trim_start().split_once('=')?;
    let name = name.trim().trim_start_matches('-').replace('/', ".");
    let dead = DEAD.iter().find(|dead| **dead == name)?;
    Some((dead, value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_settings_are_found_in_every_place_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/sysctl.conf", "# net.ipv4.tcp_tw_recycle = 1\nnet.ipv4.tcp_tw_reuse=1\n");
        write("etc/sysctl.d/10-web.conf", "vm.swappiness=1\n  -net/ipv4/tcp_tw_recycle =\t1\n");
        write("usr/lib/sysctl.d/50.conf", "net.ipv4.tcp_tw_recycle=0\n");
        write("etc/sysctl.d/README", "net.ipv4.tcp_tw_recycle=1\n");
        let found = dead_settings_in(dir.path());
        let lines: Vec<_> = found.iter().map(|line| (line.name.as_str(), line.value.as_str())).collect();
        assert_eq!(lines, [("net.ipv4.tcp_tw_recycle", "1"), ("net.ipv4.tcp_tw_recycle", "0")]);
        assert!(found[0].path.ends_with("10-web.conf"));
    }

    #[test]
    fn a_way_in_is_safe_for_a_shell() {
        let way = |path: &str| way_in(&Netns { inode: 7, name: None, path: path.into() });
        let some = |way: &str| Some(way.to_owned());
        assert_eq!(way("/run/netns/blue-1"), some("ip netns exec blue-1 "));
        assert_eq!(way("/run/netns/x;reboot"), None);
        assert_eq!(way("/proc/4711/ns/net"), some("nsenter -t 4711 -n "));
        assert_eq!(way("/proc/4711/fd/7"), some("nsenter --net=/proc/4711/fd/7 "));
        assert_eq!(way("/mnt/a b"), None);
        assert_eq!(way("/proc/thread-self/ns/net"), some(""));
    }

    #[test]
    fn this_namespace_has_a_loopback_address() {
        let extras = read_here();
        assert!(extras.addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{extras:?}");
    }

    #[test]
    fn the_largest_limit_stands_in_for_the_kernels_own() {
        assert_eq!(buckets_default(None, Some(4096), Some(7)), Some(4096));
        assert_eq!(buckets_default(None, Some(4096), Some(8192)), Some(8192));
        assert_eq!(buckets_default(Some(1024), Some(4096), Some(11)), Some(1024));
        assert_eq!(buckets_default(None, None, None), None);
    }
}
