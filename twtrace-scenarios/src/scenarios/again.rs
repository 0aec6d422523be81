//! Owns: scenarios in which a network namespace goes away and the kernel gives its inode to the next one.
//! Must not know: the harness.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use twtrace_kit::actor::{Actor, close_in_order};
use twtrace_kit::netns::ip;
use twtrace_kit::wait::{PATIENCE, until_true};

use crate::sandbox::Sandbox;
use crate::schema::parse;
use crate::tracer::{Setup, Tracer, kind, within};

/// `SO_NETNS_COOKIE` (include/uapi/asm-generic/socket.h, 6.1 to 7.3; since 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;
/// What twtrace takes at most to find out what became of a namespace.
const FOUND_OUT: Duration = Duration::from_secs(30);

/// What the kernel takes to take a namespace apart that nobody is in any more, and more.
const SETTLED: Duration = Duration::from_secs(1);

/// A network namespace with a name, as `ip netns` has them, and a client and a server in it.
struct NamedNetns {
    name: String,
    client: Actor,
    server: Actor,
}

impl NamedNetns {
    fn new(sandbox: &mut Sandbox, name: &str) -> Result<Self> {
        let (client, server) = (sandbox.actor("client")?, sandbox.actor("server")?);
        server.unshare()?;
        Self::of(format!("twtrace-{name}-{}", std::process::id()), client, server)
    }

    fn of(name: String, client: Actor, server: Actor) -> Result<Self> {
        client.join(&server)?;
        ip(&["netns", "attach", &name, &server.pid().to_string()])?;
        Ok(Self { name, client, server })
    }

    /// So many TIME_WAIT sockets.
    fn connect(&self, sandbox: &Sandbox, count: usize, port: u16) -> Result<()> {
        let listener = self.server.listen((Ipv4Addr::LOCALHOST, port))?;
        for _ in 0..count {
            let pair = sandbox.pair(&self.client, &listener)?;
            close_in_order(&pair.client, &pair.server)?;
        }
        listener.close()
    }

    /// One that has this inode, which was another one's.
    fn with_inode(sandbox: &mut Sandbox, inode: u32, name: &str) -> Result<Self> {
        let mut server = sandbox.actor("server")?;
        until_true("another namespace to have the inode", PATIENCE, || {
            server.unshare()?;
            if server.netns() != inode {
                // It was made before all of the first one had gone. Each has files in /proc, which take numbers from the same store: this one
                // must go as well before the next is made.
                server.kill()?;
                std::thread::sleep(SETTLED);
                server = sandbox.actor("server")?;
            }
            Ok(server.netns() == inode)
        })?;
        let client = sandbox.actor("client")?;
        Self::of(format!("twtrace-{name}-{}", std::process::id()), client, server)
    }

    /// It goes away with its processes.
    fn end(self) -> Result<()> {
        self.client.kill()?;
        self.server.kill()
    }
}

impl Drop for NamedNetns {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// Whether this kernel has something that tells namespaces apart for good.
fn has_cookies() -> Result<bool> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: the kernel writes at most `length` bytes to a number that has as many, and how many it wrote.
    let done = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, value, &raw mut length)
    };
    Ok(done == 0)
}

/// How many TIME_WAIT sockets it tells to be made, or to be there, in a namespace.
fn told(tracer: &Tracer, netns: u32) -> Result<usize> {
    let text = tracer.so_far()?;
    let events = text.lines().filter_map(|line| parse(line).ok());
    let is_birth = |kind: &str| ["created", "listed"].contains(&kind);
    Ok(events.filter(|event| is_birth(kind(event)) && within(event, &[netns])).count())
}

/// What `list` has in a namespace.
fn listed(setup: &Setup, netns: &str) -> Result<usize> {
    let output =
        std::process::Command::new(&setup.twtrace).args(["list", "--json", "--netns", netns]).output()?;
    ensure!(output.status.success(), "list: {}", String::from_utf8_lossy(&output.stderr));
    let is_socket =
        |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["sport"].is_number());
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter(is_socket).count())
}

/// What the next namespace with the same inode does is not told of the one that was asked for, and that this is gone is said; where none was
/// asked for, it is said that the inode was given to another one.
pub(super) fn another_has_the_inode(sandbox: &mut Sandbox) -> Result<()> {
    // What others have left is gone by then: their inodes are lower, and the next namespace would have one of those.
    std::thread::sleep(SETTLED * 2);
    let first = NamedNetns::new(sandbox, "first")?;
    let netns = first.server.netns();
    let named = Tracer::start(&sandbox.setup, &["--json", "--netns", &first.name])?;
    // More than the kernel side has room for, and the same namespaces.
    let homes: Vec<String> = (0..9).map(|_| sandbox.netns().to_string()).collect();
    let many =
        Tracer::start(&sandbox.setup, &["--json", "--netns", &first.name, "--netns", &homes.join(",")])?;
    let all = Tracer::start(&sandbox.setup, &["--json"])?;
    first.connect(sandbox, 3, 10_007)?;
    for tracer in [&named, &many, &all] {
        until_true("3 sockets", PATIENCE, || Ok(told(tracer, netns)? == 3))?;
    }
    // It must have been looked at, or nobody can say that it was another one before.
    std::thread::sleep(Duration::from_secs(6));
    let name = first.name.clone();
    first.end()?;
    let mut unsaid = Vec::new();
    let mut says = |tracer: &Tracer, what: &str| {
        let is_said = || {
            let said = tracer.stderr()?;
            Ok(said.contains(what) && said.contains(&name))
        };
        if until_true(what, FOUND_OUT, is_said).is_err() {
            unsaid.push(format!("it was not said of {name}: {what}"));
        }
    };
    let is_gone = "not seen: network namespaces that are gone";
    if !has_cookies()? {
        // Until that is found out, nobody can tell.
        says(&named, is_gone);
        says(&many, is_gone);
    }
    let second = NamedNetns::with_inode(sandbox, netns, "second")?;
    second.connect(sandbox, 5, 10_009)?;
    until_true("5 more sockets", PATIENCE, || Ok(told(&all, netns)? == 8))?;
    ensure!(listed(&sandbox.setup, &second.name)? == 5, "list knows the second one by its name");
    says(&named, is_gone);
    says(&many, is_gone);
    if has_cookies()? {
        says(&all, "not seen: which one it was of network namespaces that had an inode in turn");
    }
    second.connect(sandbox, 7, 10_011)?;
    until_true("7 more sockets", PATIENCE, || Ok(told(&all, netns)? == 15))?;
    unsaid.into_iter().for_each(|unsaid| sandbox.fail(unsaid));
    for (which, tracer) in [("one", named), ("many", many)] {
        let count = told(&tracer, netns)?;
        if count != 3 {
            sandbox.fail(format!("with {which} asked for: {count} sockets were told of {name}, which had 3"));
        }
        tracer.stop(Signal::SIGINT)?.events()?;
    }
    all.stop(Signal::SIGINT)?.events()?;
    drop(second);
    sandbox.balanced();
    Ok(())
}
