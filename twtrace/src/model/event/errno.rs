//! Owns: the errors that connect(), bind() and listen() return, by the names that `errno(3)` gives them.
//! Must not know: which call, what to do about it.

/// What a call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the constant of errno(3) that its word says")]
pub enum Errno {
    AddrNotAvail,
    AddrInUse,
    Perm,
    NoEnt,
    Intr,
    Io,
    BadF,
    Again,
    NoMem,
    Acces,
    Fault,
    Busy,
    Inval,
    NFile,
    MFile,
    Pipe,
    NoSys,
    NotSock,
    DestAddrReq,
    ProtoType,
    NoProtoOpt,
    ProtoNoSupport,
    OpNotSupp,
    AfNoSupport,
    NetDown,
    NetUnreach,
    NetReset,
    ConnAborted,
    ConnReset,
    NoBufs,
    IsConn,
    NotConn,
    Shutdown,
    TimedOut,
    ConnRefused,
    HostDown,
    HostUnreach,
    Already,
    Proto,
    NoKey,
    KeyExpired,
    KeyRejected,
    /// One that has no name here.
    Unnamed,
}

words!(Errno, ALL, {
    AddrNotAvail => "EADDRNOTAVAIL",
    AddrInUse => "EADDRINUSE",
    Perm => "EPERM",
    NoEnt => "ENOENT",
    Intr => "EINTR",
    Io => "EIO",
    BadF => "EBADF",
    Again => "EAGAIN",
    NoMem => "ENOMEM",
    Acces => "EACCES",
    Fault => "EFAULT",
    Busy => "EBUSY",
    Inval => "EINVAL",
    NFile => "ENFILE",
    MFile => "EMFILE",
    Pipe => "EPIPE",
    NoSys => "ENOSYS",
    NotSock => "ENOTSOCK",
    DestAddrReq => "EDESTADDRREQ",
    ProtoType => "EPROTOTYPE",
    NoProtoOpt => "ENOPROTOOPT",
    ProtoNoSupport => "EPROTONOSUPPORT",
    OpNotSupp => "EOPNOTSUPP",
    AfNoSupport => "EAFNOSUPPORT",
    NetDown => "ENETDOWN",
    NetUnreach => "ENETUNREACH",
    NetReset => "ENETRESET",
    ConnAborted => "ECONNABORTED",
    ConnReset => "ECONNRESET",
    NoBufs => "ENOBUFS",
    IsConn => "EISCONN",
    NotConn => "ENOTCONN",
    Shutdown => "ESHUTDOWN",
    TimedOut => "ETIMEDOUT",
    ConnRefused => "ECONNREFUSED",
    HostDown => "EHOSTDOWN",
    HostUnreach => "EHOSTUNREACH",
    Already => "EALREADY",
    Proto => "EPROTO",
    NoKey => "ENOKEY",
    KeyExpired => "EKEYEXPIRED",
    KeyRejected => "EKEYREJECTED",
    Unnamed => "EUNNAMED",
});

impl Errno {
    /// The numbers of the names, without [`Errno::Unnamed`].
    const NUMBERS: &'static [(i32, Self)] = &[
        (libc::EADDRNOTAVAIL, Self::AddrNotAvail),
        (libc::EADDRINUSE, Self::AddrInUse),
        (libc::EPERM, Self::Perm),
        (libc::ENOENT, Self::NoEnt),
        (libc::EINTR, Self::Intr),
        (libc::EIO, Self::Io),
        (libc::EBADF, Self::BadF),
        (libc::EAGAIN, Self::Again),
        (libc::ENOMEM, Self::NoMem),
        (libc::EACCES, Self::Acces),
        (libc::EFAULT, Self::Fault),
        (libc::EBUSY, Self::Busy),
        (libc::EINVAL, Self::Inval),
        (libc::ENFILE, Self::NFile),
        (libc::EMFILE, Self::MFile),
        (libc::EPIPE, Self::Pipe),
        (libc::ENOSYS, Self::NoSys),
        (libc::ENOTSOCK, Self::NotSock),
        (libc::EDESTADDRREQ, Self::DestAddrReq),
        (libc::EPROTOTYPE, Self::ProtoType),
        (libc::ENOPROTOOPT, Self::NoProtoOpt),
        (libc::EPROTONOSUPPORT, Self::ProtoNoSupport),
        (libc::EOPNOTSUPP, Self::OpNotSupp),
        (libc::EAFNOSUPPORT, Self::AfNoSupport),
        (libc::ENETDOWN, Self::NetDown),
        (libc::ENETUNREACH, Self::NetUnreach),
        (libc::ENETRESET, Self::NetReset),
        (libc::ECONNABORTED, Self::ConnAborted),
        (libc::ECONNRESET, Self::ConnReset),
        (libc::ENOBUFS, Self::NoBufs),
        (libc::EISCONN, Self::IsConn),
        (libc::ENOTCONN, Self::NotConn),
        (libc::ESHUTDOWN, Self::Shutdown),
        (libc::ETIMEDOUT, Self::TimedOut),
        (libc::ECONNREFUSED, Self::ConnRefused),
        (libc::EHOSTDOWN, Self::HostDown),
        (libc::EHOSTUNREACH, Self::HostUnreach),
        (libc::EALREADY, Self::Already),
        (libc::EPROTO, Self::Proto),
        (libc::ENOKEY, Self::NoKey),
        (libc::EKEYEXPIRED, Self::KeyExpired),
        (libc::EKEYREJECTED, Self::KeyRejected),
    ];

    /// From the positive number that the kernel knows it by.
    pub fn from_raw(number: i32) -> Self {
        Self::NUMBERS.iter().find(|(raw, _)| *raw == number).map_or(Self::Unnamed, |(_, errno)| *errno)
    }

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
        for errno in Errno::ALL {
            let number = Errno::NUMBERS.iter().find(|(_, named)| named == errno).map(|(number, _)| *number);
            assert_eq!(number.is_none(), *errno == Errno::Unnamed);
            if let Some(number) = number {
                assert_eq!(Errno::from_raw(number), *errno);
            }
            assert_eq!(errno.word().parse(), Ok(*errno));
        }
        assert_eq!(Errno::from_raw(133), Errno::Unnamed);
        // A recording's column of words has room for 127.
        assert!(Errno::ALL.len() <= 127);
    }
}
