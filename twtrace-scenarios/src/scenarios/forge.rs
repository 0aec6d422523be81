//! Owns: scenarios in which somebody tries to have his process told for a stranger's connection.
//! Must not know: the harness, how the kernel side finds the owner of a connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use twtrace_kit::actor::Half;
use twtrace_kit::actor::close_in_order;
use twtrace_kit::books::FIN_WAIT2;
use twtrace_kit::netns;

use super::by_client;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// In another namespace a connection of the same addresses and ports is closed, from a socket that is bound to a device whose index
/// is what the two namespaces' inodes differ by: whatever mixes namespace and interface in one word takes the two for one.
pub(super) fn forged_key(sandbox: &mut Sandbox) -> Result<()> {
    let (victim, listener) = sandbox.cast()?;
    for turn in 0..3 {
        let pair = sandbox.pair(&victim, &listener)?;
        pair.client.shutdown(Half::Write)?;
        sandbox.wait_state(&pair.client, FIN_WAIT2, false)?;
        let (from, to, netns) = (pair.client.local, pair.client.peer, sandbox.netns());
        // The forger stays until the victim's TIME_WAIT socket is there.
        let (stay, stays) = mpsc::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let forger = thread::spawn(move || {
            let forged = forge(netns, from, to);
            let _ = ready.send(forged.as_ref().map(drop).map_err(|error| format!("{error:#}")));
            let _ = stays.recv_timeout(Duration::from_secs(60));
        });
        let forged = is_ready.recv()?;
        pair.server.close()?;
        sandbox.wait_live(turn + 1)?;
        pair.client.close()?;
        drop(stay);
        ensure!(forger.join().is_ok(), "the forger panicked");
        if let Err(error) = forged {
            bail!("forging: {error}");
        }
        sandbox.expect(by_client(&pair.client, &victim, "shutdown").opener(&victim));
    }
    Ok(())
}

fn forge(of: u32, from: SocketAddr, to: SocketAddr) -> Result<OneSided> {
    // Of this thread: the process stays where it is.
    let own = netns::enter_new()?;
    let device = device(own ^ of)?;
    one_sided(device, from.port(), to)
}

/// Descriptors are what a process has the fewest of: each thread has a table of its own.
const THREADS: u16 = 4;
/// Together more than a table of 65,536 holds.
const SOCKETS: u16 = 16_631;

/// More connections half closed than a table of 65,536 holds, by one process: others are still told with their owners.
pub(super) fn half_closed_flood(sandbox: &mut Sandbox) -> Result<()> {
    let mut tracer = Tracer::launch(&sandbox.setup, &["--json"])?;
    tracer.ready()?;
    let most = u64::from(SOCKETS) + 1009;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")?;
    let (victim, listener) = sandbox.cast()?;
    let (ready, is_ready) = mpsc::channel();
    let floods: Vec<_> = (0..THREADS)
        .map(|_| {
            let (stay, stays) = mpsc::channel::<()>();
            let ready = ready.clone();
            let flood = thread::spawn(move || {
                let sockets = flood();
                let _ = ready.send(sockets.as_ref().map(Vec::len).map_err(|error| format!("{error:#}")));
                let _ = stays.recv_timeout(Duration::from_secs(300));
            });
            (stay, flood)
        })
        .collect();
    let flooded: Vec<_> = is_ready.iter().take(usize::from(THREADS)).collect();
    for _ in 0..7 {
        let pair = sandbox.pair(&victim, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &victim, "close").opener(&victim));
    }
    sandbox.settle()?;
    for (stay, flood) in floods {
        drop(stay);
        ensure!(flood.join().is_ok(), "the flood panicked");
    }
    if let Some(error) = flooded.into_iter().find_map(Result::err) {
        bail!("flooding: {error}");
    }
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// Connections whose first FIN this process has sent and nobody will answer.
fn flood() -> Result<Vec<OneSided>> {
    unshare(CloneFlags::CLONE_FILES)?;
    netns::enter_new()?;
    let device = device(5)?;
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 7);
    (0..SOCKETS).map(|at| one_sided(device, 1024 + at, to)).collect()
}

/// A device with that index in this namespace; what is sent over it is gone.
fn device(index: u32) -> Result<&'static str> {
    netns::set_ipv4("conf/all/route_localnet", "1")?;
    if index == 1 {
        return Ok("lo");
    }
    let (name, index, other) = ("forge", index.to_string(), (index + 1).to_string());
    netns::ip(&[
        "link", "add", "name", name, "index", &index, "type", "veth", "peer", "name", "other", "index",
        &other,
    ])?;
    netns::ip(&["link", "set", name, "up"])?;
    netns::ip(&["link", "set", "other", "up"])?;
    Ok(name)
}

/// A connection that exists at this end only. It ends without a word: its RST would be told, as `aborted`.
pub(super) struct OneSided(Socket);

impl Drop for OneSided {
    fn drop(&mut self) {
        // Where that fails the RST is told, and the scenario fails.
        let _ = repair(&self.0, 1);
    }
}

/// Sends the first FIN of a connection that exists at this end only (TCP_REPAIR).
fn one_sided(device: &str, from: u16, to: SocketAddr) -> Result<OneSided> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(device.as_bytes())).context("SO_BINDTODEVICE")?;
    repair(&socket, 1)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), from).into())?;
    socket.connect(&to.into()).context("connect() under TCP_REPAIR")?;
    repair(&socket, -1)?;
    socket.shutdown(std::net::Shutdown::Write)?;
    Ok(OneSided(socket))
}

fn repair(socket: &Socket, value: libc::c_int) -> Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>())?;
    // SAFETY: the option is an int of ours.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const value).cast(),
            length,
        )
    };
    ensure!(done == 0, "TCP_REPAIR {value}: {}", std::io::Error::last_os_error());
    Ok(())
}
