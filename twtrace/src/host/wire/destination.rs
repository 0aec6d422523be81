//! Owns: where a server is, how it is reached, by which HTTP, and whom it must be certified by.
//! Must not know: what is said to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which gRPC is made of.
    Http2,
}

impl Protocol {
    /// What TLS calls it.
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum ServerAddress {
    /// On a network.
    Tcp {
        /// Its name or address, an IPv6 address without brackets.
        host: String,
        /// Its port.
        port: u16,
        /// How it is known, where it speaks TLS.
        tls: Option<Arc<ClientConfig>>,
    },
    /// On this machine.
    Unix(PathBuf),
}

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl ServerAddress {
    /// Connects.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // A request is few writes: none is to wait for more.
                let _ = stream.set_nodelay(true);
                let Some(config) = tls else { return Ok(Box::new(stream)) };
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
                Ok(Box::new(stream))
            }
        }
    }

    /// How addresses there begin.
    pub(super) const fn scheme(&self) -> &'static str {
        if matches!(self, Self::Tcp { tls: Some(_), .. }) { "https" } else { "http" }
    }

    /// What stands in `Host` and `:authority`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// Trusts servers that are certified by a root in the PEM file `roots`, or else by one of the machine's.
///
/// # Errors
/// If there are no roots.
pub fn trust(roots: Option<&Path>, protocol: Protocol) -> io::Result<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    let certificates = match roots {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(io::Error::other)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        let why =
            if roots.is_some() { "there is no certificate in it" } else { "this machine trusts no roots" };
        return Err(io::Error::other(why));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    Ok(Arc::new(config))
}
