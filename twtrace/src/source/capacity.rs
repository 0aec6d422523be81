//! Owns: what a namespace's settings allow, as the engine asks for it.
//! Must not know: how settings are read.

use crate::engine::Capacity;
use crate::host::net::sysctls::Sysctls;

/// What a namespace of this name allows, for the tracker.
pub fn capacity(name: Option<String>, sysctls: &Sysctls) -> Capacity {
    Capacity {
        name,
        range: sysctls.ip_local_port_range,
        reserved: sysctls.ip_local_reserved_ports.clone(),
        ports: sysctls.capacity(),
        max_tw_buckets: sysctls.tcp_max_tw_buckets,
        tw_reuse: Some(sysctls.tcp_tw_reuse),
        tw_reuse_delay_ms: sysctls.tcp_tw_reuse_delay,
        timestamps: Some(sysctls.tcp_timestamps),
    }
}
