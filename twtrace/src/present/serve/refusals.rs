//! Owns: what is said where the certificate of a client is refused. Who asks may be anybody: each reason is said once in an hour, and few of them.
//! Must not know: connections, where it is said.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::{CertificateError, Error};

use crate::model::escape::{fit, printable};

/// How long a reason is not said again.
const EVERY: Duration = Duration::from_secs(3600);
/// Reasons in the library's words that are said in that time: they have details of the certificate in them, which its owner chooses.
const MOST: usize = 8;
/// Columns of such words.
const LONGEST: usize = 200;

/// Those that were said of late, and when.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(Cow<'static, str>, Instant)>);

impl Refusals {
    /// Why a certificate was refused, where a handshake failed for that and it is to be said now.
    pub(super) fn told(&mut self, error: &io::Error, now: Instant) -> Option<Cow<'static, str>> {
        let reason = reason(error)?;
        self.0.retain(|(_, said)| now.saturating_duration_since(*said) < EVERY);
        let is_chosen = |reason: &Cow<'static, str>| matches!(reason, Cow::Owned(_));
        let has_room =
            !is_chosen(&reason) || self.0.iter().filter(|(said, _)| is_chosen(said)).count() < MOST;
        if !has_room || self.0.iter().any(|(known, _)| *known == reason) {
            return None;
        }
        self.0.push((reason.clone(), now));
        Some(reason)
    }
}

/// `None` where the certificate is not to blame.
fn reason(error: &io::Error) -> Option<Cow<'static, str>> {
    let Error::InvalidCertificate(why) = error.get_ref()?.downcast_ref::<Error>()? else { return None };
    Some(match why {
        CertificateError::UnknownIssuer => "none of --tls-client-ca has signed it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        other => {
            let said = other.to_string();
            // That of the library below, which has a name for it and no words.
            if said.contains("UnsupportedCertVersion") {
                "it is not of version 3 of X.509: one with an extension is, such as basicConstraints=CA:FALSE"
                    .into()
            } else {
                fit(&printable(&said), LONGEST).into_owned().into()
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::present::serve::tls::Tls;
    use crate::present::serve::tls::tests::Authority;

    fn refused(why: CertificateError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(why))
    }

    #[test]
    fn a_reason_is_said_once_an_hour_and_there_are_few() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let expired = || refused(CertificateError::Expired);
        assert_eq!(refusals.told(&expired(), now).as_deref(), Some("it has expired"));
        assert_eq!(refusals.told(&expired(), now + EVERY / 2), None);
        assert!(refusals.told(&refused(CertificateError::BadSignature), now).is_some());
        assert!(refusals.told(&expired(), now + EVERY).is_some());
        let odd = |at: usize| {
            refused(CertificateError::Other(tokio_rustls::rustls::OtherError(std::sync::Arc::new(
                io::Error::other(format!("\x1b{at}")),
            ))))
        };
        let said: Vec<_> = (0..3 * MOST).filter_map(|at| refusals.told(&odd(at), now + EVERY)).collect();
        assert!(said.len() == MOST && said.iter().all(|said| !said.contains(char::is_control)), "{said:?}");
        // They leave room for what is always said.
        assert!(refusals.told(&refused(CertificateError::NotValidYet), now + EVERY).is_some());
        // Who speaks no TLS has no certificate.
        assert_eq!(refusals.told(&io::Error::other(Error::DecryptError), now + 3 * EVERY), None);
        assert_eq!(refusals.told(&io::ErrorKind::UnexpectedEof.into(), now + 3 * EVERY), None);
    }

    /// curl shows its certificate; what is made of that.
    fn shown(by: &Authority, wanted: &Authority) -> Option<Cow<'static, str>> {
        let ours = Authority::new("ours");
        ours.certify("server");
        let acceptor = Tls::new(ours.files(Some(wanted))).unwrap().acceptor();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--max-time", "60", "--noproxy", "*", "--insecure"]);
            curl.args(["--cert", &by.path("client.pem"), "--key", &by.path("client.key")]);
            curl.arg(format!("https://{}/", listener.local_addr().unwrap())).stdout(Stdio::null());
            let mut curl = curl.spawn().expect("`cargo xtask install` installs curl");
            let (stream, _) = listener.accept().await.unwrap();
            let error = acceptor.accept(stream).await.err();
            curl.wait().unwrap();
            reason(&error?)
        })
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_known() {
        let (clients, others) = (Authority::new("clients"), Authority::new("others"));
        clients.certify("client");
        assert_eq!(shown(&clients, &clients), None);
        assert_eq!(shown(&clients, &others).as_deref(), Some("none of --tls-client-ca has signed it"));
        clients.certify_by_version_1("client");
        let said = shown(&clients, &clients).unwrap();
        assert!(said.starts_with("it is not of version 3 of X.509"), "{said}");
    }
}
