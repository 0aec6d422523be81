//! Owns: TLS on connections that come in: the certificate and its key, by whom clients must be certified; files that change are read again.
//! Must not know: what is asked, in which protocol.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::watch::Watched;
use crate::model::escape;

/// Where it all is, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Roots of the certificates that clients must have, if they must.
    pub client_roots: Option<PathBuf>,
}

/// See the head of the file.
pub struct Tls {
    files: TlsFiles,
    acceptor: Watched<TlsAcceptor>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them cannot be read, or the key is not the certificate's.
    pub fn new(files: TlsFiles) -> io::Result<Self> {
        let all = [Some(&files.certificate), Some(&files.key), files.client_roots.as_ref()];
        let all = all.into_iter().flatten().cloned().collect();
        let acceptor = Watched::read("the certificate", all, || files.acceptor())?;
        Ok(Self { files, acceptor })
    }

    /// Whether clients must have a certificate.
    pub(super) fn wants_certificates(&self) -> bool {
        self.files.client_roots.is_some()
    }

    /// For the next connection.
    pub(super) fn acceptor(&mut self) -> TlsAcceptor {
        self.acceptor.current(|| self.files.acceptor()).clone()
    }
}

impl TlsFiles {
    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate, "--tls-cert")?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| named("--tls-key", &self.key, error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let builder = match &self.client_roots {
            Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| named("--tls-cert and --tls-key", &self.certificate, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Who has no certificate is let in all the same: what is answered to all is answered to them.
fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "--tls-client-ca")? {
        roots.add(certificate).map_err(|error| named("--tls-client-ca", path, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let built = builder.allow_unauthenticated().build();
    built.map_err(|error| named("--tls-client-ca", path, error))
}

fn certificates(path: &Path, flag: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all: Vec<_> = all.map_err(|error| named(flag, path, error))?;
    if all.is_empty() {
        return Err(named(flag, path, "there is no certificate in it; PEM is wanted"));
    }
    Ok(all)
}

fn named(flag: &str, path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot use {flag} {}: {error}", escape::path(path)))
}

#[cfg(test)]
pub(super) mod tests;
