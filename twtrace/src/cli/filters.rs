//! Owns: the filter flags, the same on every command that reads events.
//! Must not know: how a filter is applied.

use ipnet::IpNet;

use super::values::{Usage, cidr};
use crate::event::{Reason, Role};
use crate::filter::{CgroupFilter, Filter};
use crate::recording::Head;

/// Which events to show. Flags of different kinds must all match; of one kind, one match is enough.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    /// Owner's pid (the caller's for failures)
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Owner's process name, whole
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Owner's user id
    #[arg(long, value_name = "UID", value_delimiter = ',')]
    uid: Vec<u32>,
    /// Owner's cgroup (v2) and those below it, such as /system.slice/nginx.service
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Network namespace: self, an inode, a name of `ip netns`, or a path
    #[arg(long, value_name = "self|INODE|NAME|PATH")]
    netns: Vec<String>,
    /// Local port
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    sport: Vec<u16>,
    /// Remote port
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    dport: Vec<u16>,
    /// Local or remote port
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    port: Vec<u16>,
    /// Remote network or address
    #[arg(long, value_name = "CIDR", value_parser = cidr, value_delimiter = ',')]
    peer: Vec<IpNet>,
    /// IPv4 only
    #[arg(short = '4', long = "ipv4", conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long = "ipv6")]
    ipv6: bool,
    /// client, server or unknown
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<Role>,
    /// Why it ended: expired, reused_outgoing, reused_incoming, reset, killed, purged, unknown; shows `ended` only
    #[arg(long, value_name = "REASON", value_delimiter = ',')]
    reason: Vec<Reason>,
}

impl FilterArgs {
    /// Looks up what the values stand for on this machine.
    pub(super) fn filter(&self) -> Result<Filter, Usage> {
        let resolve = |spec: &String| crate::net::netns::resolve_spec(spec);
        let netns: Result<Vec<u32>, _> = self.netns.iter().map(resolve).collect();
        self.with_netns(netns.map_err(|error| Usage(error.to_string()))?)
    }

    /// As [`Self::filter`], for a recording that may have been made elsewhere: namespaces go by the names that they had
    /// there, cgroups by their paths.
    pub(super) fn recorded(&self, head: &Head) -> Result<Filter, Usage> {
        let known = |spec: &str| {
            let named = head.namespaces.iter().find(|namespace| namespace.name.as_deref() == Some(spec));
            named.map(|namespace| namespace.netns).or_else(|| spec.parse().ok())
        };
        let resolve = |spec: &String| known(spec).map_or_else(|| crate::net::netns::resolve_spec(spec), Ok);
        let netns: Result<Vec<u32>, _> = self.netns.iter().map(resolve).collect();
        let mut filter = self.with_netns(netns.map_err(|error| Usage(error.to_string()))?)?;
        filter.cgroups.iter_mut().for_each(|cgroup| cgroup.leaf_id = None);
        Ok(filter)
    }

    fn with_netns(&self, netns: Vec<u32>) -> Result<Filter, Usage> {
        Ok(Filter {
            pids: self.pid.clone(),
            comms: self.comm.clone(),
            uids: self.uid.clone(),
            cgroups: self.cgroup.iter().map(|path| cgroup(path)).collect::<Result<_, _>>()?,
            netns,
            sports: self.sport.clone(),
            dports: self.dport.clone(),
            ports: self.port.clone(),
            peers: self.peer.clone(),
            family: if self.ipv4 { Some(4) } else { self.ipv6.then_some(6) },
            roles: self.role.clone(),
            reasons: self.reason.clone(),
        })
    }
}

impl FilterArgs {
    /// As [`FilterArgs::filter`], for events of another time or machine: there, an id of today's cgroups means nothing.
    pub(super) fn of_recording(&self) -> Result<Filter, Usage> {
        let mut filter = self.filter()?;
        filter.cgroups.iter_mut().for_each(|cgroup| cgroup.leaf_id = None);
        Ok(filter)
    }
}

fn cgroup(path: &str) -> Result<CgroupFilter, Usage> {
    let shown = crate::escape::printable(path);
    if !path.starts_with('/') {
        return Err(Usage(format!(
            "--cgroup '{shown}' must be a path below the cgroup mount and start with '/', as in /proc/PID/cgroup"
        )));
    }
    Ok(CgroupFilter { path: path.to_owned(), leaf_id: crate::identity::leaf_cgroup_id(path) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Namespace;

    #[test]
    fn a_recording_is_filtered_by_what_things_were_called_there() {
        let named = Namespace { netns: 17, name: Some("blue".to_owned()), ..Namespace::default() };
        let head = Head { namespaces: vec![named], ..Head::default() };
        let args = FilterArgs {
            netns: vec!["blue".to_owned(), "4711".to_owned()],
            cgroup: vec!["/".to_owned()],
            ..FilterArgs::default()
        };
        let filter = args.recorded(&head).unwrap();
        assert_eq!((filter.netns, filter.cgroups[0].leaf_id), (vec![17, 4711], None));
        let unknown = FilterArgs { netns: vec!["no-such-namespace".to_owned()], ..FilterArgs::default() };
        assert!(unknown.recorded(&head).unwrap_err().to_string().contains("no-such-namespace"));
    }
}
