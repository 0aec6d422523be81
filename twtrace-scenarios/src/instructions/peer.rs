//! Owns: a peer that is no socket of this machine: a TUN device, and as much TCP as a peer needs that opens or takes a
//! connection and closes it first, so that only one end of it runs in this kernel.
//! Must not know: what is counted.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use twtrace_kit::netns::ip;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const DEVICE: &[u8] = b"peer0";
/// Where we listen, and where the peer does.
const PORT: u16 = 9125;
/// The first port that the peer connects from.
const FIRST_PORT: u16 = 10_000;
/// How many of them take turns.
const PORTS: u32 = 50_000;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const HEADERS: usize = 40;
/// Where the peer's sequence numbers begin.
const ISS: u32 = 1_000_003;

/// The peer, and the device it is behind.
#[derive(Debug)]
pub(super) struct Peer {
    device: File,
    listener: TcpListener,
    next: u32,
}

impl Peer {
    /// Makes the device and brings it up.
    ///
    /// # Errors
    /// Where this kernel has no TUN devices, or `ip` fails.
    pub(super) fn set_up() -> Result<Self> {
        let path = "/dev/net/tun";
        let device = File::options().read(true).write(true).open(path).context(path)?;
        let mut request = [0_u8; 40];
        request[..DEVICE.len()].copy_from_slice(DEVICE);
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
        request[16..18].copy_from_slice(&flags.to_ne_bytes());
        // SAFETY: the request is a `struct ifreq` of 40 bytes, name and flags set, which lives through the call.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, request.as_mut_ptr()) };
        Errno::result(done).context("TUNSETIFF")?;
        let name = String::from_utf8_lossy(DEVICE).into_owned();
        ip(&["addr", "add", &format!("{HERE}/24"), "dev", &name])?;
        // Nothing but our own segments is to come out of it.
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").or_else(absent)?;
        ip(&["link", "set", &name, "up"])?;
        let listener = TcpListener::bind(SocketAddrV4::new(HERE, PORT))?;
        Ok(Self { device, listener, next: 0 })
    }

    /// Opens and closes the `n`th connection: those with an even number from here, the others to here.
    ///
    /// # Errors
    /// Where the kernel answers otherwise than a peer expects.
    pub(super) fn connection(&mut self, n: u32) -> Result<()> {
        if n.is_multiple_of(2) { self.open_outgoing(n) } else { self.open_incoming() }
    }

    fn open_outgoing(&mut self, n: u32) -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // As the client-first load, so that finding a port costs the same.
        let peer = Ipv4Addr::from_bits(PEER.to_bits() + n % 100);
        match socket.connect(&SockAddr::from(SocketAddrV4::new(peer, PORT))) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            other => bail!("connect: {other:?}"),
        }
        let syn = self.hear(SYN)?;
        self.say(&syn, SYN | ACK, ISS, syn.seq + 1)?;
        self.say(&syn, FIN | ACK, ISS + 1, syn.seq + 1)?;
        self.end(&syn, socket.into())
    }

    fn open_incoming(&mut self) -> Result<()> {
        let port = FIRST_PORT + u16::try_from(self.next % PORTS)?;
        self.next += 1;
        let us = SocketAddrV4::new(HERE, PORT);
        let ends = Segment { from: us, to: SocketAddrV4::new(PEER, port), seq: 0, flags: 0 };
        self.say(&ends, SYN, ISS, 0)?;
        let answer = self.hear(SYN | ACK)?;
        self.say(&answer, ACK, ISS + 1, answer.seq + 1)?;
        self.say(&answer, FIN | ACK, ISS + 1, answer.seq + 1)?;
        let (stream, _) = self.listener.accept()?;
        self.end(&answer, stream.into())
    }

    /// The socket reads the end and closes; its FIN is acknowledged.
    fn end(&mut self, ends: &Segment, socket: OwnedFd) -> Result<()> {
        let mut socket = File::from(socket);
        ensure!(socket.read(&mut [0; 64])? == 0, "there should be no data");
        drop(socket);
        let fin = self.hear(FIN)?;
        self.say(ends, ACK, ISS + 2, fin.seq + 1)
    }

    /// The next segment with these flags; those without are passed over.
    fn hear(&mut self, flags: u8) -> Result<Segment> {
        let mut bytes = [0; 256];
        loop {
            let length = self.device.read(&mut bytes)?;
            let segment = Segment::parse(&bytes[..length]).context("a segment of another kind")?;
            if segment.flags & flags == flags {
                return Ok(segment);
            }
        }
    }

    /// Answers a segment.
    fn say(&mut self, heard: &Segment, flags: u8, seq: u32, ack: u32) -> Result<()> {
        let segment = Segment { from: heard.to, to: heard.from, seq, flags };
        Ok(self.device.write_all(&segment.bytes(ack))?)
    }
}

/// A kernel without IPv6 needs nothing switched off.
fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What counts of a segment without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
    flags: u8,
}

impl Segment {
    fn parse(bytes: &[u8]) -> Option<Self> {
        // IPv4 without options, TCP.
        if bytes.len() < HEADERS || bytes[0] != 0x45 || bytes[9] != 6 {
            return None;
        }
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let end = |at: usize, port: usize| SocketAddrV4::new(Ipv4Addr::from_bits(long(at)), word(port));
        Some(Self { from: end(12, 20), to: end(16, 22), seq: long(24), flags: bytes[33] })
    }

    fn bytes(&self, ack: u32) -> [u8; HEADERS] {
        let mut bytes = [0; HEADERS];
        // Version and header length, total length, time to live, protocol.
        (bytes[0], bytes[3], bytes[8], bytes[9]) = (0x45, HEADERS as u8, 64, 6);
        bytes[12..16].copy_from_slice(&self.from.ip().octets());
        bytes[16..20].copy_from_slice(&self.to.ip().octets());
        let header = checksum(&bytes[..20], 0);
        bytes[10..12].copy_from_slice(&header.to_be_bytes());
        bytes[20..22].copy_from_slice(&self.from.port().to_be_bytes());
        bytes[22..24].copy_from_slice(&self.to.port().to_be_bytes());
        bytes[24..28].copy_from_slice(&self.seq.to_be_bytes());
        bytes[28..32].copy_from_slice(&ack.to_be_bytes());
        (bytes[32], bytes[33]) = (5 << 4, self.flags);
        bytes[34..36].copy_from_slice(&u16::MAX.to_be_bytes());
        // The pseudo header: both addresses, the protocol, the length (RFC 9293, 3.1).
        let tcp = checksum(&bytes[12..], 6 + 20);
        bytes[36..38].copy_from_slice(&tcp.to_be_bytes());
        bytes
    }
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Two halves fit after the loop.
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_what_it_was_made_of_and_adds_up() {
        let segment = Segment {
            from: SocketAddrV4::new(PEER, 10_007),
            to: SocketAddrV4::new(HERE, PORT),
            seq: 4_000_000_007,
            flags: SYN | ACK,
        };
        let bytes = segment.bytes(17);
        assert_eq!(Segment::parse(&bytes), Some(segment));
        assert_eq!((checksum(&bytes[..20], 0), checksum(&bytes[12..], 26)), (0, 0));
        assert_eq!(Segment::parse(&bytes[..39]), None);
    }
}
