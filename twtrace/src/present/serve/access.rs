//! Owns: who may ask: everybody on this machine, and from elsewhere whoever has the token.
//! Must not know: connections, what is asked.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::watch::Watched;
use crate::model::escape;

/// Longest token, in bytes.
const LONGEST: u64 = 4096;

/// What a client has to know: a file has it, which is read again when it changes.
pub struct Token {
    path: PathBuf,
    known: Mutex<Watched<Vec<u8>>>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// From a file: its first line, without what white space is around it.
    ///
    /// # Errors
    /// If the file cannot be read, or there is no token in it; they name it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let known = Watched::read("the token", vec![path.to_owned()], || of_file(path))?;
        Ok(Self { path: path.to_owned(), known: Mutex::new(known) })
    }

    /// Whether this is it by now.
    pub fn is(&self, token: &str) -> bool {
        is_same(self.known().current(|| of_file(&self.path)), token.as_bytes())
    }

    fn known(&self) -> MutexGuard<'_, Watched<Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_file(path: &Path) -> io::Result<Vec<u8>> {
    token_of(path).map_err(|error| {
        let said = format!("cannot take a token from --token-file {}: {error}", escape::path(path));
        io::Error::new(error.kind(), said)
    })
}

fn token_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(io::Error::other("its first line is empty: a token is wanted there"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(io::Error::other("a token is made of printable ASCII without blanks"));
    }
    Ok(token.into())
}

/// How long it takes does not tell how much of it is right.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let differs = |all: u8, (ours, theirs): (&u8, &u8)| all | (ours ^ theirs);
    ours.len() == theirs.len() && std::hint::black_box(ours.iter().zip(theirs).fold(0, differs)) == 0
}

/// What a connection says of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Enough.
    Known,
    /// A certificate was wanted, and none was shown.
    Uncertified,
}

/// Whether nobody on another machine can come to `address`.
pub fn is_of_this_machine(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, is) in
            [("s3cret\n", true), ("  s3cret  \r\nmore\n", true), ("s3cre", false), ("s3cretX", false)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Token::read(&path).unwrap().is("s3cret"), is, "{text}");
        }
        for text in ["", "\ns3cret", "s3 cret", "s3cr\u{e9}t"] {
            std::fs::write(&path, text).unwrap();
            assert!(Token::read(&path).is_err(), "{text}");
        }
        assert!(Token::read(&dir.path().join("none")).is_err());
        assert!(!is_same(b"s3cret", b""));
    }

    #[test]
    fn a_token_that_is_exchanged_is_taken_and_what_is_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let token = Token::read(&path).unwrap();
        for text in ["", "\ns3cret", "n3w t0ken"] {
            std::fs::write(&path, text).unwrap();
            token.known().expire();
            assert!(token.is("s3cret"), "{text}");
        }
        std::fs::write(&path, "n3w\n").unwrap();
        token.known().expire();
        assert!(token.is("n3w") && !token.is("s3cret"));
    }

    #[test]
    fn loopback_is_of_this_machine() {
        for (address, is) in [
            ("127.0.0.1:9478", true),
            ("127.9.9.9:1", true),
            ("[::1]:9478", true),
            ("[::ffff:127.0.0.1]:9478", true),
            ("0.0.0.0:9478", false),
            ("[::]:9478", false),
            ("10.0.0.1:9478", false),
        ] {
            assert_eq!(is_of_this_machine(&address.parse().unwrap()), is, "{address}");
        }
    }
}
