//! Owns: a small load in a network namespace of its own, in which processes, a server and a client over loopback, make TIME_WAIT sockets
//! and run out of ports.
//! Must not know: how it is traced or shown.
//!
//! Nothing outside the namespace is touched; it goes away with its last process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Connections that the demo's client can make to one server: the ports it is allowed. Of an odd number a connect() looks at one less,
/// another one each time (__inet_hash_connect(), net/ipv4/inet_hashtables.c, 5.10 to 7.3), so that the last would be
/// found by chance only.
pub const PORTS: u16 = 94;
const _: () = assert!(PORTS.is_multiple_of(2));
/// Attempts beyond that.
pub const TOO_MANY: u16 = 7;
/// Connections that the server closes first.
pub const SERVED: u16 = 53;

const FIRST_PORT: u16 = 40_000;
const DATABASE: u16 = 5432;
const PROXY: u16 = 8080;

/// The namespace and the servers in it.
pub struct Load {
    /// Inode of the namespace.
    pub netns: u32,
    servers: Vec<Child>,
    /// Spawns processes inside.
    inside: std::sync::mpsc::Sender<Order>,
}

type Order = (Vec<String>, std::sync::mpsc::Sender<Result<Child>>);

impl Load {
    /// Makes the namespace and starts its servers.
    ///
    /// # Errors
    /// Where a namespace cannot be made (no privilege, no CONFIG_NET_NS) or a process not be started.
    pub fn new() -> Result<Self> {
        let (inside, orders) = std::sync::mpsc::channel::<Order>();
        let (made, is_made) = std::sync::mpsc::channel();
        // A namespace belongs to a thread: this one moves in, and what it spawns is born there.
        std::thread::Builder::new().name("demo-netns".to_owned()).spawn(move || {
            let _ = made.send(move_in());
            for (arguments, reply) in orders {
                let _ = reply.send(spawn(&arguments));
            }
        })?;
        let netns = is_made.recv().context("the demo's thread is gone")??;
        let mut load = Self { netns, servers: Vec::new(), inside };
        load.serve("database", DATABASE, "client")?;
        load.serve("proxy", PROXY, "server")?;
        Ok(load)
    }

    fn serve(&mut self, name: &str, port: u16, closes_first: &str) -> Result<()> {
        let mut server = self.start(&["serve", name, &port.to_string(), closes_first])?;
        let line = first_line(&mut server)?;
        ensure!(line == "ready", "the demo's {name} did not start: {line}");
        self.servers.push(server);
        Ok(())
    }

    fn start(&self, arguments: &[&str]) -> Result<Child> {
        let (reply, answer) = std::sync::mpsc::channel();
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        self.inside.send((arguments, reply)).context("the demo's thread is gone")?;
        answer.recv().context("the demo's thread is gone")?
    }

    /// Plays the story: an application that opens a connection for each query until it has no port left, and a proxy that
    /// closes first.
    ///
    /// # Errors
    /// Where it does not go as told.
    pub fn run(&self) -> Result<()> {
        let queries = (PORTS + TOO_MANY).to_string();
        self.client(
            &["connect", "checkout-api", &DATABASE.to_string(), &queries, "client"],
            PORTS,
            TOO_MANY,
        )?;
        self.client(&["connect", "load-gen", &PROXY.to_string(), &SERVED.to_string(), "server"], SERVED, 0)
    }

    fn client(&self, arguments: &[&str], made: u16, failed: u16) -> Result<()> {
        let mut client = self.start(arguments)?;
        let line = first_line(&mut client)?;
        client.wait()?;
        let expected = format!("{made} {failed}");
        ensure!(
            line == expected,
            "the demo's {} made and failed '{line}' connections, not '{expected}'",
            arguments[1]
        );
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // Ours, and by its id.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Moves the calling thread into a fresh namespace with a loopback interface and few ports; says its inode.
fn move_in() -> Result<u32> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace: run it as root")?;
    raise_loopback().context("cannot bring up the loopback interface of the demo's namespace")?;
    let last = FIRST_PORT + PORTS - 1;
    set("ip_local_port_range", &format!("{FIRST_PORT} {last}"))?;
    // By default loopback connections take ports over from TIME_WAIT after a second: the demo wants to run out.
    set("tcp_tw_reuse", "0")?;
    Ok(crate::host::net::netns::own_inode()?)
}

fn set(sysctl: &str, value: &str) -> Result<()> {
    let path = PathBuf::from("/proc/sys/net/ipv4").join(sysctl);
    let mut file =
        std::fs::OpenOptions::new().write(true).open(&path).with_context(|| path.display().to_string())?;
    file.write_all(value.as_bytes()).with_context(|| format!("{} = {value}", path.display()))
}

fn spawn(arguments: &[String]) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("demo-actor").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("cannot start a process of the demo")
}

fn first_line(child: &mut Child) -> Result<String> {
    let Some(output) = child.stdout.take() else { bail!("a process of the demo has no output") };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Which end closes a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum First {
    /// The one that connected.
    Client,
    /// The one that was connected to.
    Server,
}

/// Takes a name that `ps` and twtrace will show.
fn call_myself(name: &str) -> Result<()> {
    let name = std::ffi::CString::new(name)?;
    nix::sys::prctl::set_name(&name).context("prctl(PR_SET_NAME)")
}

/// Does not outlive whoever started it.
fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")
}

/// Answers each connection once, until it is killed. Says `ready` when it listens.
///
/// # Errors
/// Of sockets.
pub fn serve(name: &str, port: u16, first: First) -> Result<()> {
    call_myself(name)?;
    die_with_parent()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("bind")?;
    println!("ready");
    let mut request = [0; 64];
    for stream in listener.incoming() {
        let mut stream = stream?;
        let _ = stream.read(&mut request)?;
        stream.write_all(b"42 rows\n")?;
        if first == First::Client {
            // Returns 0 at the client's FIN.
            let _ = stream.read(&mut request)?;
        }
    }
    Ok(())
}

/// Makes `times` connections, one after the other, one request each. Says how many it made and how many failed.
///
/// # Errors
/// Of sockets, other than a want of ports.
pub fn connect(name: &str, port: u16, times: u16, first: First) -> Result<()> {
    call_myself(name)?;
    die_with_parent()?;
    let (mut made, mut failed) = (0, 0);
    for _ in 0..times {
        let mut stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => stream,
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                failed += 1;
                continue;
            }
            Err(error) => return Err(error).context("connect"),
        };
        stream.write_all(b"SELECT 42\n")?;
        let mut reply = [0; 64];
        let _ = stream.read(&mut reply)?;
        if first == First::Server {
            let _ = stream.read(&mut reply)?;
        }
        made += 1;
    }
    println!("{made} {failed}");
    Ok(())
}

/// Brings up `lo` in the calling thread's network namespace (netdevice(7), SIOCSIFFLAGS).
///
/// # Errors
/// Of socket() and ioctl().
fn raise_loopback() -> std::io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: an ifreq is plain data; zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is ours and of the type that this ioctl reads.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
