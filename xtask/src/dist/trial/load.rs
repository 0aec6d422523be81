//! A small exact load, made by this process, and what a trace of it tells.
//!
//! Owns: the load. Must not know: how the tracer was started.

use super::Skipped;
use crate::sh;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use twtrace_kit::child::Guarded;
use twtrace_kit::kernel;
use twtrace_kit::wait::until_true;

/// Connections of the load: a prime.
pub(super) const CONNECTIONS: usize = 101;

/// How long a tracer may take to attach, and to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a tracer can be started here, and would know this process.
///
/// # Errors
/// [`Skipped`] where not.
pub(super) fn can_trace() -> Result<()> {
    sh::as_root("true").map_err(|error| Skipped(format!("{error:#}")))?;
    if !kernel::has_first_pids()? {
        return Err(Skipped(
            "in a PID namespace (a container): the kernel tells other pids than are seen here".to_owned(),
        )
        .into());
    }
    Ok(())
}

/// Waits until a tracer has made its ready file.
///
/// # Errors
/// Where it ended before.
pub(super) fn attached(tracer: &Guarded, ready: &Path) -> Result<()> {
    until_true("it to trace", PATIENCE, || Ok(ready.exists() || tracer.has_ended()))?;
    ensure!(ready.exists(), "it did not attach");
    Ok(())
}

/// So many connections over loopback, each closed by the client first, which is this process.
pub(super) fn load() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    for _ in 0..CONNECTIONS {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"x")?;
        client.shutdown(Shutdown::Write)?;
        server.read_to_end(&mut Vec::new())?;
        drop(server);
        ensure!(client.read(&mut [0])? == 0, "the server closes second");
    }
    Ok(())
}

/// The events in lines of JSON.
pub(super) fn events(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

/// Whether it is a birth of the load's.
pub(super) fn is_ours(event: &Value) -> bool {
    event["event"] == "created" && event["pid"] == std::process::id() && event["comm"] == "xtask"
}
