//! Owns: telling the service manager how this process fares: one datagram to the socket that it named (sd_notify(3)).
//! Must not know: what is told, and when.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if one wants to hear.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment names it: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    pub fn of_environment() -> Self {
        let read = |name| std::env::var(name).ok();
        Self::new(
            read("NOTIFY_SOCKET").as_deref(),
            read("WATCHDOG_USEC").as_deref(),
            read("WATCHDOG_PID").as_deref(),
        )
    }

    fn new(socket: Option<&str>, watchdog_us: Option<&str>, watchdog_pid: Option<&str>) -> Self {
        let address = match socket.map(|path| (path, path.strip_prefix('@'))) {
            Some((_, Some(name))) => SocketAddr::from_abstract_name(name).ok(),
            Some((path, None)) if path.starts_with('/') => SocketAddr::from_pathname(path).ok(),
            _ => None,
        };
        let socket = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            // It is not waited for: a manager that hangs must not hold up what it watches.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let is_ours = watchdog_pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let microseconds = watchdog_us.and_then(|text| text.parse().ok()).filter(|us| *us > 0 && is_ours);
        Self { watchdog: microseconds.map(Duration::from_micros).filter(|_| socket.is_some()), socket }
    }

    /// How often it wants to hear that all goes on: twice in the time after which it acts.
    pub fn watchdog_every(&self) -> Option<Duration> {
        self.watchdog.map(|after| after / 2)
    }

    /// Says `state`, such as `READY=1`. Where nobody hears it, nothing happens.
    pub fn say(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_what_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let hears = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::new(path.to_str(), Some("3000000"), None);
        assert_eq!(manager.watchdog_every(), Some(Duration::from_millis(1500)));
        manager.say("READY=1");
        let mut said = [0; 64];
        let length = hears.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"READY=1");
    }

    #[test]
    fn an_abstract_name_is_heard_as_well() {
        let name = format!("twtrace-test-{}", std::process::id());
        let hears = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Manager::new(Some(&format!("@{name}")), None, None).say("STOPPING=1");
        let mut said = [0; 64];
        let length = hears.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"STOPPING=1");
    }

    #[test]
    fn nobody_is_told_where_nobody_asked() {
        for (socket, us, pid) in [
            (None, Some("1000"), None),
            (Some("relative"), Some("1000"), None),
            (Some("@x"), Some("0"), None),
            (Some("@x"), Some("1000"), Some("1")),
            (Some("@x"), Some("much"), None),
        ] {
            let manager = Manager::new(socket, us, pid);
            assert_eq!(manager.watchdog_every(), None, "{socket:?} {us:?} {pid:?}");
            manager.say("READY=1");
        }
    }
}
