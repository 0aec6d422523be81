//! Real clients (curl) with certificates by roots that the test makes (openssl).

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use super::*;
use crate::present::serve::picture::Picture;
use crate::present::serve::watch::EVERY;
use crate::present::serve::{Board, Server, Shared};

/// Files of one root and of what it certified.
pub(in crate::present::serve) struct Authority {
    dir: tempfile::TempDir,
}

fn openssl(dir: &Path, args: &[&str]) {
    let done = Command::new("openssl").args(args).current_dir(dir).output();
    let done = done.expect("`cargo xtask install` installs openssl");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Authority {
    const NEW: [&str; 11] = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-sha256",
        "-subj",
    ];

    pub(in crate::present::serve) fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("/CN={name}");
        openssl(dir.path(), &[&Self::NEW[..], &[&name, "-keyout", "ca.key", "-out", "ca.pem"]].concat());
        Self { dir }
    }

    pub(in crate::present::serve) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Makes `name.pem` and `name.key`.
    pub(in crate::present::serve) fn certify(&self, name: &str) {
        let (subject, key, pem) = (format!("/CN={name}"), format!("{name}.key"), format!("{name}.pem"));
        let of_end = [
            &subject,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            &key,
            "-out",
            &pem,
        ];
        openssl(self.dir.path(), &[&Self::NEW[..], &of_end].concat());
    }

    /// As [`Self::certify`], without any extension, as nothing but version 3 has them.
    pub(in crate::present::serve) fn certify_by_version_1(&self, name: &str) {
        let (subject, key, pem) = (format!("/CN={name}"), format!("{name}.key"), format!("{name}.pem"));
        let request = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(
            self.dir.path(),
            &[&request[..], &["-subj", &subject, "-keyout", &key, "-out", "csr"]].concat(),
        );
        let certified = ["x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"];
        openssl(self.dir.path(), &[&certified[..], &["-set_serial", "1", "-out", &pem]].concat());
    }

    pub(in crate::present::serve) fn files(&self, client_roots: Option<&Self>) -> TlsFiles {
        let roots = client_roots.map(|authority| authority.path("ca.pem").into());
        TlsFiles {
            certificate: self.path("server.pem").into(),
            key: self.path("server.key").into(),
            client_roots: roots,
        }
    }
}

pub(in crate::present::serve) fn serving(files: TlsFiles) -> Server {
    serving_by(Tls::new(files).unwrap())
}

fn serving_by(tls: Tls) -> Server {
    let board = Arc::new(Board::default());
    board.give(Picture { fresh_until_ns: u64::MAX, backend: "fentry", ..Picture::default() });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, Some(tls), Arc::new(Shared::new(board, None, 50))).unwrap()
}

fn curl(server: &Server, path: &str, args: &[&str]) -> Output {
    let url = format!("https://{}{path}", server.address());
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]).args(args).arg(url);
    command.output().expect("`cargo xtask install` installs curl")
}

/// The status of an answer, or curl's own of what went wrong.
fn status(server: &Server, path: &str, args: &[&str]) -> String {
    let done =
        curl(server, path, &[args, &["--output", "/dev/null", "--write-out", "%{http_code}"]].concat());
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { said } else { format!("curl {}", done.status.code().unwrap()) }
}

/// What curl says where the other side's certificate does not hold, and where the other side does not like ours.
const NOT_TRUSTED: &str = "curl 60";

#[test]
fn a_client_that_trusts_the_root_gets_an_answer_and_no_other() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    ours.certify("server");
    let server = serving(ours.files(None));
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version: Vec<&str> = version.split('=').collect();
        let with = |root: &str| status(&server, "/metrics", &[&version[..], &["--cacert", root]].concat());
        assert_eq!(with(&ours.path("ca.pem")), "200", "{version:?}");
        assert_eq!(with(&theirs.path("ca.pem")), NOT_TRUSTED, "{version:?}");
    }
    let mut plain = Command::new("curl");
    plain.args(["--silent", "--max-time", "60", "--noproxy", "*"]);
    let plain = plain.arg(format!("http://{}/metrics", server.address())).output().unwrap();
    assert!(
        !plain.status.success() && !String::from_utf8_lossy(&plain.stdout).contains("twtrace_"),
        "{plain:?}"
    );
    let metrics = curl(&server, "/metrics", &["--cacert", &ours.path("ca.pem")]).stdout;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("\ntwtrace_tls_handshakes_failed_total 3\n"), "{metrics}");
    server.stop().unwrap();
}

#[test]
fn who_must_be_certified_is_answered_with_a_certificate_only() {
    let (ours, clients, others) =
        (Authority::new("ours"), Authority::new("clients"), Authority::new("others"));
    ours.certify("server");
    clients.certify("client");
    others.certify("client");
    let server = serving(ours.files(Some(&clients)));
    let root = ours.path("ca.pem");
    let with = |path: &str, by: Option<&Authority>| {
        let files = by.map(|by| [by.path("client.pem"), by.path("client.key")]);
        let own = files.iter().flat_map(|[cert, key]| ["--cert", cert, "--key", key]);
        status(&server, path, &own.chain(["--cacert", &root]).collect::<Vec<_>>())
    };
    for (path, by, want) in [
        ("/metrics", Some(&clients), "200"),
        ("/metrics", None, "403"),
        ("/findings", None, "403"),
        ("/healthz", None, "200"),
        ("/readyz", None, "200"),
    ] {
        assert_eq!(with(path, by), want, "{path}");
    }
    let refused = with("/healthz", Some(&others));
    assert!(refused.starts_with("curl "), "{refused}");
    server.stop().unwrap();
}

/// Asks until the answer is `want`: files are looked at once a second.
fn becomes(server: &Server, root: &str, want: &str) {
    for _ in 0..600 {
        if status(server, "/healthz", &["--cacert", root]) == want {
            return;
        }
        // poll: files are looked at when a connection comes.
        std::thread::sleep(EVERY / 10);
    }
    panic!("the answer never was {want}");
}

#[test]
fn files_that_change_are_taken_and_broken_ones_are_not() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    old.certify("server");
    new.certify("server");
    let mut tls = Tls::new(old.files(None)).unwrap();
    // A certificate that the key does not belong to: what was stays.
    let take = |name: &str| std::fs::copy(new.path(name), old.path(name)).unwrap();
    take("server.pem");
    tls.acceptor.expire();
    tls.acceptor();
    let server = serving_by(tls);
    assert_eq!(status(&server, "/healthz", &["--cacert", &old.path("ca.pem")]), "200");
    take("server.key");
    becomes(&server, &new.path("ca.pem"), "200");
    assert_eq!(status(&server, "/healthz", &["--cacert", &old.path("ca.pem")]), NOT_TRUSTED);
    server.stop().unwrap();
}

#[test]
fn an_error_names_the_flag_and_the_file() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    ours.certify("server");
    theirs.certify("server");
    let said = |files: TlsFiles| Tls::new(files).err().unwrap().to_string();
    let good = ours.files(None);
    for (files, flag, name) in [
        (TlsFiles { certificate: ours.path("none").into(), ..good.clone() }, "--tls-cert ", "none"),
        (
            TlsFiles { certificate: ours.path("server.key").into(), ..good.clone() },
            "--tls-cert ",
            "server.key",
        ),
        (TlsFiles { key: ours.path("server.pem").into(), ..good.clone() }, "--tls-key ", "server.pem"),
        (
            TlsFiles { key: theirs.path("server.key").into(), ..good.clone() },
            "--tls-cert and --tls-key ",
            "server.pem",
        ),
        (TlsFiles { client_roots: Some(ours.path("ca.key").into()), ..good }, "--tls-client-ca ", "ca.key"),
    ] {
        let said = said(files);
        assert!(said.contains(flag) && said.contains(name), "{said}");
    }
}
