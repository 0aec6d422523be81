//! Owns: an endpoint that takes what `serve` exports over HTTP, and a certificate, a token and headers that change while it runs: all of it
//! after power was given up.
//! Must not know: the protocol's messages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use twtrace_kit::command::read;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{AT, Serving};
use crate::sandbox::Sandbox;

/// A request: its path, what its header x-token says, and its body.
type Taken = (String, String, Vec<u8>);

/// Takes requests, one connection after the other, and says what came. It ends with the process.
fn endpoint() -> Result<(u16, mpsc::Receiver<Taken>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let (say, said) = mpsc::channel();
    thread::Builder::new().name("endpoint".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // How a client ends it is of no interest.
            let _ = take(stream, &say);
        }
    })?;
    Ok((port, said))
}

fn take(stream: TcpStream, say: &mpsc::Sender<Taken>) -> Result<()> {
    let mut answers = stream.try_clone()?;
    let mut asks = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if asks.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut length, mut token) = (0, String::new());
        let mut line = String::new();
        while asks.read_line(&mut line)? > 2 {
            let value = line.to_ascii_lowercase();
            if let Some(value) = value.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if let Some(value) = value.strip_prefix("x-token:") {
                token = value.trim().to_owned();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        asks.read_exact(&mut body)?;
        say.send((first.split(' ').nth(1).unwrap_or_default().to_owned(), token, body))?;
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

fn openssl(dir: &Path, name: &str) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=twtrace", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-keyout", "server.key.new", "-out", name]).current_dir(dir);
    read(&mut command)?;
    std::fs::rename(dir.join("server.key.new"), dir.join("server.key"))?;
    std::fs::copy(dir.join(name), dir.join("server.pem"))?;
    Ok(())
}

/// Puts a token where it is looked for, as whoever exchanges one does: the file is never half of one.
fn put_token(dir: &Path, token: &str) -> Result<()> {
    for (name, text) in [("token", format!("{token}\n")), ("headers", format!("x-token: {token}\n"))] {
        std::fs::write(dir.join("new"), text)?;
        std::fs::rename(dir.join("new"), dir.join(name))?;
    }
    Ok(())
}

/// What curl gets with this token, trusting this certificate.
fn curl(dir: &Path, trusted: &str, token: &str) -> Result<Option<String>> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--max-time", "30", "--noproxy", "*", "--cacert", trusted]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]).current_dir(dir);
    let done = command.arg(format!("https://{AT}/metrics")).output().context("starting curl")?;
    Ok(done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned()))
}

/// Whether `text` has `word` in it.
fn has(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

/// A certificate and a token that are exchanged are taken, and those from before are not any more.
fn exchanged(dir: &Path, taken: &mpsc::Receiver<Taken>) -> Result<()> {
    let first = curl(dir, "first.pem", "t0ken-1")?.context("an answer by the first certificate")?;
    ensure!(first.contains("\ntwtrace_otlp_up 1\n"), "{first}");
    openssl(dir, "second.pem")?;
    until_true("the second certificate", PATIENCE, || Ok(curl(dir, "second.pem", "t0ken-1")?.is_some()))?;
    ensure!(curl(dir, "first.pem", "t0ken-1")?.is_none(), "the first certificate is still in use");
    put_token(dir, "t0ken-2")?;
    until_true("the second token", PATIENCE, || Ok(curl(dir, "second.pem", "t0ken-2")?.is_some()))?;
    ensure!(curl(dir, "second.pem", "t0ken-1")?.is_none(), "the first token is still taken");
    while taken.recv_timeout(PATIENCE).context("what is exported with the second token")?.1 != "t0ken-2" {}
    Ok(())
}

/// Metrics and findings come to an endpoint that has a name and not an address; a new certificate is taken while it runs, and a new
/// token, for those who ask and for the endpoint.
pub(in crate::scenarios) fn exports(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    openssl(dir.path(), "first.pem")?;
    put_token(dir.path(), "t0ken-1")?;
    let path = |name: &str| dir.path().join(name).display().to_string();
    // In the namespace where twtrace runs, the endpoint is there before it.
    let mut taken = None;
    let serving = Serving::begin_with(sandbox, || {
        let (port, said) = endpoint()?;
        taken = Some(said);
        let url = format!("http://localhost:{port}");
        let mut args: Vec<String> =
            ["--otlp", &url, "--otlp-protocol", "http", "--otlp-every", "1s"].map(str::to_owned).into();
        for (flag, name) in [
            ("--otlp-headers-file", "headers"),
            ("--token-file", "token"),
            ("--tls-cert", "server.pem"),
            ("--tls-key", "server.key"),
        ] {
            args.extend([flag.to_owned(), path(name)]);
        }
        Ok(args)
    })?;
    let taken = taken.context("the endpoint")?;
    serving.act(sandbox)?;
    let (mut owner, mut finding) = (false, false);
    while !(owner && finding) {
        let (path, token, body) = taken.recv_timeout(PATIENCE).context("what is exported")?;
        ensure!(token == "t0ken-1", "{path} with the token '{token}'");
        match path.as_str() {
            "/v1/metrics" => owner |= has(&body, "process.executable.name") && has(&body, "checkout-api"),
            "/v1/logs" => finding |= has(&body, "ports_exhausted"),
            path => anyhow::bail!("{path} was asked for"),
        }
    }
    exchanged(dir.path(), &taken)?;
    serving.end().map(drop)
}
