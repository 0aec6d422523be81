//! Owns: clients that mean harm to a real `serve`: they cost it connections, and nothing else.
//! Must not know: the harness.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use twtrace_kit::http::{Metrics, get};
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{AT, CREATED, Serving};
use crate::sandbox::Sandbox;

/// Connections that are made, and that are held at a time: descriptors are few in some places.
const CROWD: usize = 2003;
const HELD: usize = 509;
/// What the server lets be at a time, as docs/serve.md says.
const MOST: f64 = 64.0;
/// What so many connections may take of memory, with heads of 16 KiB, and with all that an allocator keeps for itself.
const ROOM: f64 = (24 << 20) as f64;

/// The ways to be a burden, each with what is sent at once and what once another connection has come.
fn burdens() -> [(Vec<u8>, Vec<u8>); 6] {
    let head = |line: &str, times: usize| format!("GET /metrics HTTP/1.1\r\n{}", line.repeat(times)).into();
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n".repeat(97).into_bytes();
    [
        // Says nothing.
        (Vec::new(), Vec::new()),
        // Sends a byte now and then.
        (b"G".to_vec(), b"E".to_vec()),
        (b"GET /metrics HTTP/1.1\r\nHost: he".to_vec(), b"r".to_vec()),
        // A head that does not end, of long lines and of many.
        (head(&format!("X: {}\r\n", "x".repeat(8 << 10)), 17), head("Y: y\r\n", 4001)),
        // Asks again and again and reads nothing.
        (pipelined.clone(), pipelined),
        // Is no HTTP at all.
        (vec![0xff; 4001], vec![0; 4001]),
    ]
}

/// Sends what goes out without waiting; a server that has hung up already is what is wanted.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write(bytes);
}

/// All of them, one after the other; `made` says how many there are by now. Those that are held are returned.
fn crowd(made: &AtomicUsize) -> Result<VecDeque<TcpStream>> {
    let burdens = burdens();
    let mut held: VecDeque<TcpStream> = VecDeque::with_capacity(HELD);
    for n in 0..CROWD {
        let mut stream = TcpStream::connect(AT).with_context(|| format!("connection {n}"))?;
        stream.set_nonblocking(true)?;
        send(&mut stream, &burdens[n % burdens.len()].0);
        // The one before goes on with what it does.
        if let Some(before) = held.back_mut() {
            send(before, &burdens[(n - 1) % burdens.len()].1);
        }
        if held.len() == HELD {
            held.pop_front();
        }
        held.push_back(stream);
        made.fetch_add(1, Ordering::Relaxed);
    }
    Ok(held)
}

/// While thousands of them come, what is traced is counted to the last socket and an honest client is answered; with all the room taken it is
/// answered the first time.
pub(in crate::scenarios) fn hostile_clients(sandbox: &mut Sandbox) -> Result<()> {
    let serving = Serving::begin(sandbox, &[])?;
    let before = Metrics::scrape(AT)?;
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let all = thread::Builder::new().name("crowd".into()).spawn(move || crowd(&counted))?;
    until_true("the crowd", PATIENCE, || Ok(made.load(Ordering::Relaxed) > 2 * MOST as usize))?;
    serving.act(sandbox)?;
    until_true("an answer in the crowd", PATIENCE, || Ok(Metrics::scrape(AT).is_ok()))?;
    let held = all.join().ok().context("the crowd panicked")??;
    until_true("the metrics", PATIENCE, || {
        Ok(Metrics::scrape(AT)?.sum("twtrace_sockets_created_total") == CREATED as f64)
    })?;
    let after = Metrics::scrape(AT)?;
    ensure!(after.sum("twtrace_events_lost_total") == 0.0, "events were lost");
    let refused = after.sum("twtrace_http_connections_refused_total");
    // Those that are no HTTP, or whose heads have no end, are sent away without one that waits being refused.
    ensure!(refused >= (CROWD / 2) as f64 - MOST, "{refused} of {CROWD} were refused");
    let more = |name: &str| after.sum(name) - before.sum(name);
    let (descriptors, memory) = (more("process_open_fds"), more("process_resident_memory_bytes"));
    ensure!(descriptors <= MOST && memory <= ROOM, "{descriptors} descriptors and {memory} bytes more");
    ensure!(get(AT, "/readyz", "")? == "ready\n" && get(AT, "/healthz", "")? == "ok\n", "it is ready");
    serving.end_with_all()?;
    drop(held);
    Ok(())
}
