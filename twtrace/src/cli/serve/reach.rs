//! Owns: where `serve` can be reached, by whom, and how the way to it is kept private: the flags, and which of them go together.
//! Must not know: what is answered.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context as _;

use super::super::values::{Usage, listen};
use crate::present::serve::{Tls, TlsFiles, Token, is_of_this_machine};

#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// Where to answer
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9478", value_parser = listen)]
    listen: SocketAddr,
    /// Answer those only who send the first line of this file as a bearer token, which is read again when it changes; /healthz and /readyz are answered to all
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer by HTTPS, with this certificate (PEM, with those between it and its root); it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM); it is read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Answer those only who have a certificate by one of these (PEM, read again when it changes); /healthz and /readyz are answered to all
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Listen beyond this machine though anybody there may ask
    #[arg(long)]
    insecure: bool,
}

impl Reach {
    /// TLS, where it is wanted; an error where half of what it takes is missing, or everybody could ask and nobody said that they may.
    pub(super) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let certificate_and_key = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(usage("--tls-cert wants --tls-key as well")),
            (None, Some(_)) => return Err(usage("--tls-key wants --tls-cert as well")),
        };
        if certificate_and_key.is_none() && self.tls_client_ca.is_some() {
            return Err(usage("--tls-client-ca wants --tls-cert and --tls-key as well"));
        }
        let is_known = self.token_file.is_some() || self.tls_client_ca.is_some();
        if !is_known && !self.insecure && !is_of_this_machine(&self.listen) {
            return Err(usage(&format!(
                "--listen {} can be reached from other machines: give --token-file or --tls-client-ca, or --insecure if everybody may ask",
                self.listen
            )));
        }
        let Some((certificate, key)) = certificate_and_key else { return Ok(None) };
        let client_roots = self.tls_client_ca.clone();
        let tls = Tls::new(TlsFiles { certificate, key, client_roots }).map_err(Usage::of_file)?;
        Ok(Some(tls))
    }

    /// The token, where one is wanted.
    pub(super) fn token(&self) -> Result<Option<Token>, Usage> {
        self.token_file.as_deref().map(Token::read).transpose().map_err(Usage::of_file)
    }

    /// Listens.
    pub(super) fn listener(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.listen).with_context(|| format!("cannot listen on {}", self.listen))
    }

    /// How addresses begin there.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() { "https" } else { "http" }
    }
}

fn usage(said: &str) -> anyhow::Error {
    Usage(said.to_owned()).into()
}
