//! Owns: the settings of a network namespace that rules look at.
//! Must not know: how they were read.

use serde::Serialize;

use crate::engine::Capacity;
use crate::host::net::sysctls::Sysctls;

/// What a network namespace allows (Documentation/networking/ip-sysctl.rst).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// `ip_local_port_range`, both ends included.
    pub port_range: Option<(u16, u16)>,
    /// `ip_local_reserved_ports`: ranges, both ends included.
    pub reserved: Vec<(u16, u16)>,
    /// Ports that connect() can choose from: see [`crate::diagnose::predict::usable`].
    pub ports: Option<u32>,
    /// `tcp_tw_reuse`.
    pub tw_reuse: Option<u32>,
    /// `tcp_tw_reuse_delay` in milliseconds; `None` also in a kernel that has one second fixed.
    pub tw_reuse_delay_ms: Option<u32>,
    /// `tcp_max_tw_buckets`.
    pub max_tw_buckets: Option<u32>,
    /// What the kernel would have set that to.
    pub max_tw_buckets_default: Option<u32>,
    /// `tcp_timestamps`.
    pub timestamps: Option<u32>,
    /// `tcp_rfc1337`.
    pub rfc1337: Option<u32>,
    /// `tcp_fin_timeout` in seconds.
    pub fin_timeout_s: Option<u32>,
    /// `tcp_tw_recycle`: no kernel since 4.12 has it.
    pub tw_recycle: Option<u32>,
}

impl Settings {
    /// From the settings of a running kernel.
    pub fn of(sysctls: &Sysctls) -> Self {
        let (range, reserved) = (sysctls.ip_local_port_range, sysctls.ip_local_reserved_ports.clone());
        Self {
            ports: Some(crate::diagnose::predict::usable(range, &reserved)),
            port_range: Some(range),
            reserved,
            tw_reuse: Some(sysctls.tcp_tw_reuse),
            tw_reuse_delay_ms: sysctls.tcp_tw_reuse_delay,
            max_tw_buckets: Some(sysctls.tcp_max_tw_buckets),
            max_tw_buckets_default: None,
            timestamps: Some(sysctls.tcp_timestamps),
            rfc1337: Some(sysctls.tcp_rfc1337),
            fin_timeout_s: Some(sysctls.tcp_fin_timeout),
            tw_recycle: None,
        }
    }

    /// From what a tracker was told.
    pub fn of_capacity(capacity: &Capacity) -> Self {
        Self {
            ports: Some(crate::diagnose::predict::usable(capacity.range, &capacity.reserved)),
            port_range: Some(capacity.range),
            reserved: capacity.reserved.clone(),
            max_tw_buckets: Some(capacity.max_tw_buckets),
            tw_reuse: capacity.tw_reuse,
            tw_reuse_delay_ms: capacity.tw_reuse_delay_ms,
            timestamps: capacity.timestamps,
            ..Self::default()
        }
    }

    /// Whether connect() may choose this port by itself; never where the range is not known.
    pub fn has(&self, port: u16) -> bool {
        self.port_range.is_some_and(|range| {
            let reserved = self.reserved.clone();
            Capacity { range, reserved, ..Capacity::default() }.has(port)
        })
    }
}
