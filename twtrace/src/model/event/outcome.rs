//! Owns: the words for how a connection had its port, and for why this host ended it with an RST.
//! Must not know: who tells.

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
