//! Placeholder.
/// Who a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity { /// a
 pub exe: Option<String>, /// a
 pub cmdline: Option<String>, /// a
 pub cgroup: Option<String> }
