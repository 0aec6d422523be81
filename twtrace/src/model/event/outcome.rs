//! Owns: the words for what became of a call or a connection: how it had its port, why this host ended it with an RST, and the errors that
//! connect(), bind() and listen() return, by the names that `errno(3)` gives them.
//! Must not know: who tells, which call, what to do about it.

/// How a connection had its local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortVia {
    /// connect() chose it.
    Connect,
    /// bind() with port 0 chose it: from one pool for all destinations, closed to every connect().
    BindAny,
    /// bind() was asked for it.
    Bind,
    /// The listener's.
    Accept,
}

words!(PortVia, ALL, { Connect => "connect", BindAny => "bind_any", Bind => "bind", Accept => "accept" });

/// Why this host ended a connection with an RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AbortWhy {
    /// close() with SO_LINGER 0.
    Linger,
    /// close() with data in the socket that nobody had read.
    UnreadData,
    /// Anything else: an abort (`ss -K`), a timeout, connect() to AF_UNSPEC.
    Other,
}

words!(AbortWhy, ALL, { Linger => "linger", UnreadData => "unread_data", Other => "other" });

/// Declares the errors. Each has the name of its constant in `errno(3)`, which is its word.
macro_rules! errors {
    ($($variant:ident $constant:ident),+ $(,)?) => {
        /// What a call returned.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the constant of errno(3) that its word says")]
        pub enum Errno {
            $($variant,)+
            /// One that has no name here.
            Unnamed,
        }

        words!(Errno, ALL, { $($variant => stringify!($constant),)+ Unnamed => "EUNNAMED" });

        impl Errno {
            /// From the positive number that the kernel knows it by.
            pub const fn from_raw(number: i32) -> Self {
                match number {
                    $(libc::$constant => Self::$variant,)+
                    _ => Self::Unnamed,
                }
            }
        }
    };
}

// In the order in which a recording's dictionary lists them.
errors!(
    AddrNotAvail EADDRNOTAVAIL,
    AddrInUse EADDRINUSE,
    Perm EPERM,
    NoEnt ENOENT,
    Intr EINTR,
    Io EIO,
    BadF EBADF,
    Again EAGAIN,
    NoMem ENOMEM,
    Acces EACCES,
    Fault EFAULT,
    Busy EBUSY,
    Inval EINVAL,
    NFile ENFILE,
    MFile EMFILE,
    Pipe EPIPE,
    NoSys ENOSYS,
    NotSock ENOTSOCK,
    DestAddrReq EDESTADDRREQ,
    ProtoType EPROTOTYPE,
    NoProtoOpt ENOPROTOOPT,
    ProtoNoSupport EPROTONOSUPPORT,
    OpNotSupp EOPNOTSUPP,
    AfNoSupport EAFNOSUPPORT,
    NetDown ENETDOWN,
    NetUnreach ENETUNREACH,
    NetReset ENETRESET,
    ConnAborted ECONNABORTED,
    ConnReset ECONNRESET,
    NoBufs ENOBUFS,
    IsConn EISCONN,
    NotConn ENOTCONN,
    Shutdown ESHUTDOWN,
    TimedOut ETIMEDOUT,
    ConnRefused ECONNREFUSED,
    HostDown EHOSTDOWN,
    HostUnreach EHOSTUNREACH,
    Already EALREADY,
    Proto EPROTO,
    NoKey ENOKEY,
    KeyExpired EKEYEXPIRED,
    KeyRejected EKEYREJECTED,
);

impl Errno {
    /// Whether it says that there was no port to be had.
    pub const fn is_of_ports(self) -> bool {
        matches!(self, Self::AddrNotAvail | Self::AddrInUse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_number_and_back() {
        let known: std::collections::BTreeSet<Errno> = (0..4096).map(Errno::from_raw).collect();
        assert!(known.iter().eq(Errno::ALL));
        Errno::ALL.iter().for_each(|errno| assert_eq!(errno.word().parse(), Ok(*errno)));
        let raw = [libc::EADDRINUSE, libc::EKEYREJECTED, 133].map(Errno::from_raw);
        assert_eq!(raw.map(Errno::word), ["EADDRINUSE", "EKEYREJECTED", "EUNNAMED"]);
        // A recording's column of words has room for 127.
        assert!(Errno::ALL.len() <= 127);
    }
}
