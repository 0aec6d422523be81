//! Owns: what files of `/proc` and of sysctl.d(5) say: memory of sockets, connection tracking, IPVS, settings that are no more.
//! Must not know: where they were read, what they mean.

use serde::Serialize;

/// Kernel memory of TIME_WAIT sockets (`/proc/slabinfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slab {
    /// Size of one, in bytes.
    pub object_bytes: u64,
    /// Memory held, in bytes.
    pub bytes: u64,
}

/// A line of a file of sysctl.d(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadSetting {
    /// The file. Hostile until escaped.
    pub path: String,
    /// The setting, such as `net.ipv4.tcp_tw_recycle`.
    pub name: String,
    /// What it is set to. Hostile until escaped.
    pub value: String,
}

/// `/proc/sys/net/netfilter` of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Conntrack {
    /// `nf_conntrack_count`.
    pub count: u64,
    /// `nf_conntrack_max`.
    pub max: u64,
    /// `nf_conntrack_tcp_timeout_time_wait` in seconds.
    pub time_wait_s: Option<u32>,
}

/// Sums of `/proc/net/ip_vs` (ip_vs_info_seq_show(), net/netfilter/ipvs/ip_vs_ctl.c, 5.10 to 7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ipvs {
    /// Virtual services.
    pub services: u64,
    /// Connections to real servers that are established.
    pub active: u64,
    /// The others: most of them closed, kept for up to 120 s (`ip_vs_proto_tcp.c`).
    pub inactive: u64,
}

impl Ipvs {
    /// From that file; `None` where it is another one, or no service is there.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if !lines.next()?.starts_with("IP Virtual Server") {
            return None;
        }
        let mut all = Self::default();
        for line in lines {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                // Its real servers: `-> address:port forward weight active inactive`.
                ["->", _, _, _, active, inactive] => {
                    let Some((active, inactive)) = active.parse::<u64>().ok().zip(inactive.parse().ok())
                    else {
                        continue;
                    };
                    all.active = all.active.saturating_add(active);
                    all.inactive = all.inactive.saturating_add(inactive);
                }
                ["TCP" | "UDP" | "SCTP" | "FWM", ..] => all.services += 1,
                _ => {}
            }
        }
        (all.services != 0).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                        -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";

    #[test]
    fn connections_of_all_services_are_summed() {
        let services = "TCP  0A60000A:0035 rr\n  -> 0AF40002:0035      Masq    1      7          211\n\
                        TCP  0A600001:01BB rr persistent 10800\n  -> 0A000002:192B      Masq    1      5          13\n  \
                        -> 0A000003:192B      Masq    1      0          0\nFWM  00000007 wlc\n";
        let told = Ipvs::parse(&format!("{HEAD}{services}"));
        assert_eq!(told, Some(Ipvs { services: 3, active: 12, inactive: 224 }));
    }

    #[test]
    fn without_services_and_without_ipvs_nothing_is_said() {
        for text in [HEAD, "", "garbage\n", "IP Virtual Server\n  -> x y z 1 2\n"] {
            assert_eq!(Ipvs::parse(text), None, "{text:?}");
        }
        let broken = format!("{HEAD}TCP 0A000001:0050 rr\n  -> 0A000002:1F90 Masq 1 -7 x\n");
        assert_eq!(Ipvs::parse(&broken), Some(Ipvs { services: 1, active: 0, inactive: 0 }));
    }
}
