//! Owns: IPv4 TCP segments as they are on the wire: listening to those of the calling process's network namespace,
//! and sending one that no socket would send now.
//! Must not know: scenarios.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use twtrace_kit::actor::Sock;
use twtrace_kit::wait::{PATIENCE, until};

/// TCP header flags (RFC 9293, 3.1).
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;

const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;

/// One IPv4 packet with a TCP segment in it, from the first byte of the IP header on.
#[derive(Clone, Debug)]
pub(super) struct Segment(Vec<u8>);

impl Segment {
    /// A segment without payload, options or acknowledgement.
    pub(super) fn bare(from: SocketAddr, to: SocketAddr, flags: u8, seq: u32) -> Result<Self> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { bail!("not IPv4") };
        let mut bytes = vec![0; IP_HEADER + TCP_HEADER];
        // Version and header length, time to live, protocol; length and checksum are the kernel's to fill in.
        (bytes[0], bytes[8], bytes[9]) = (0x45, 64, 6);
        bytes[12..16].copy_from_slice(&from.ip().octets());
        bytes[16..20].copy_from_slice(&to.ip().octets());
        let tcp = &mut bytes[IP_HEADER..];
        tcp[0..2].copy_from_slice(&from.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        (tcp[12], tcp[13]) = (5 << 4, flags);
        tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        Ok(Self(bytes))
    }

    /// With a timestamp (RFC 7323, 3.2), and nothing to echo.
    pub(super) fn stamped(mut self, value: u32) -> Self {
        // Two bytes of padding, kind, length.
        self.0.extend_from_slice(&[1, 1, 8, 10]);
        self.0.extend_from_slice(&value.to_be_bytes());
        self.0.extend_from_slice(&[0; 4]);
        self.0[IP_HEADER + 12] = 8 << 4;
        self
    }

    /// The timestamp, where the kernel has put it as it does into all but SYNs.
    pub(super) fn timestamp(&self) -> Option<u32> {
        let options = self.0.get(IP_HEADER + TCP_HEADER..)?;
        options.starts_with(&[1, 1, 8, 10]).then(|| self.number(TCP_HEADER + 4))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        // The kernel makes no IP options here, and no segment shorter than its header.
        (header == IP_HEADER && bytes.len() >= IP_HEADER + TCP_HEADER).then(|| Self(bytes.to_vec()))
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let ip = |at: usize| Ipv4Addr::new(self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]);
        let end = |at, port| SocketAddr::V4(SocketAddrV4::new(ip(at), self.word(IP_HEADER + port)));
        (end(12, 0), end(16, 2))
    }

    fn flags(&self) -> u8 {
        self.0[IP_HEADER + 13]
    }

    /// The sequence number after this segment: what its receiver expects next.
    pub(super) fn next_seq(&self) -> u32 {
        let payload = self.0.len() - IP_HEADER - usize::from(self.0[IP_HEADER + 12] >> 4) * 4;
        let fin = u32::from(self.flags() & FIN != 0);
        self.number(4).wrapping_add(u32::try_from(payload).unwrap_or(0)).wrapping_add(fin)
    }

    /// The sequence number that this segment's sender expects next.
    pub(super) fn acknowledged(&self) -> u32 {
        self.number(8)
    }

    fn number(&self, at: usize) -> u32 {
        u32::from(self.word(IP_HEADER + at)) << 16 | u32::from(self.word(IP_HEADER + at + 2))
    }

    /// Segments on lo carry no valid checksum (it is left to hardware that does not exist); one that is sent by a raw
    /// socket is checked.
    fn with_checksum(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes[IP_HEADER + 16..IP_HEADER + 18].fill(0);
        let length = u32::try_from(bytes.len() - IP_HEADER).unwrap_or(0);
        let words = bytes[12..]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b)));
        // The pseudo header: both addresses (counted above), the protocol, the length (RFC 9293, 3.1).
        let mut sum: u32 = words.sum::<u32>() + u32::from(bytes[9]) + length;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let checksum = !u16::try_from(sum).unwrap_or(0);
        bytes[IP_HEADER + 16..IP_HEADER + 18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// All IPv4 TCP segments of a network namespace since this was opened, and a way to send one.
#[derive(Debug)]
pub(super) struct Wire {
    ear: Socket,
    mouth: Socket,
    heard: RefCell<Vec<Segment>>,
}

impl Wire {
    /// Opens the wire of the calling process's network namespace.
    pub(super) fn open() -> Result<Self> {
        let ear = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).context("a raw socket")?;
        ear.set_nonblocking(true)?;
        // IPPROTO_RAW: the packet is sent as it is, its IP header included.
        let mouth = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        Ok(Self { ear, mouth, heard: RefCell::new(Vec::new()) })
    }

    fn listen(&self) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        loop {
            match self.ear.recv(&mut space) {
                Ok(length) => {
                    let bytes: Vec<u8> = space[..length]
                        .iter()
                        // SAFETY: recv() has initialised that many bytes.
                        .map(|byte| unsafe { byte.assume_init() })
                        .collect();
                    self.heard.borrow_mut().extend(Segment::parse(&bytes));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last segment with a FIN that this end has sent.
    pub(super) fn last_fin(&self, from: &Sock) -> Result<Segment> {
        let fin = |s: &Segment| s.ends() == (from.local, from.peer) && s.flags() & FIN != 0;
        self.wait(&format!("a FIN of {}", from.local), fin)
    }

    /// Waits until a segment with these ends and flags has been delivered.
    pub(super) fn wait_for(&self, sent: &Segment) -> Result<()> {
        let same = |s: &Segment| (s.ends(), s.flags()) == (sent.ends(), sent.flags());
        self.wait("a raw packet to come", same).map(drop)
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Segment) -> bool) -> Result<Segment> {
        until(what, PATIENCE, || {
            self.listen()?;
            Ok(self.heard.borrow().iter().rev().find(|segment| wanted(segment)).cloned())
        })
    }

    /// Sends a segment.
    pub(super) fn send(&self, segment: &Segment) -> Result<()> {
        let (_, to) = segment.ends();
        let to = SockAddr::from(SocketAddr::new(to.ip(), 0));
        self.mouth.send_to(&segment.with_checksum(), &to).context("sending a raw packet")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_what_it_was_made_of() {
        let from: SocketAddr = "127.0.0.1:40009".parse().expect("an address");
        let to: SocketAddr = "127.0.0.2:10007".parse().expect("an address");
        let segment = Segment::bare(from, to, FIN, u32::MAX).expect("IPv4");
        assert_eq!(segment.ends(), (from, to));
        assert_eq!(segment.next_seq(), 0);
        // Over a segment with its checksum in place, pseudo header included, the sum is all ones (RFC 1071).
        let bytes = segment.with_checksum();
        let words = bytes[12..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum = words.sum::<u32>() + 6 + 20;
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
