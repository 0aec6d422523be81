//! Owns: the signals that end a trace or a replay in good order.
//! Must not know: what ends.
//!
//! A SIGHUP that was ignored when we were started stays ignored, as nohup(1) wants it; a command that we start finds it ignored as well.
//! A script's `twtrace record … &` is started with SIGINT ignored, by every shell without job control, and `kill -INT $!` is how
//! scripts end perf, tcpdump and bpftrace: that one is heard, and is as usual for a command that we start.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::errno::Errno;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT, SIGTERM, and SIGHUP unless it is ignored.
#[derive(Debug)]
pub struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Those that end a trace.
    pub const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

    /// Begins to listen. To be called where there is a runtime.
    ///
    /// # Errors
    /// Of the kernel.
    pub fn listen() -> io::Result<Self> {
        let heard = Self::ENDING.into_iter().filter(|number| is_heard(*number));
        let each = heard.map(|number| Ok((number, signal(SignalKind::from_raw(number))?)));
        each.collect::<io::Result<_>>().map(Self)
    }

    /// The number of the next one that comes. Nothing is lost when this is given up half-way.
    pub async fn any(&mut self) -> i32 {
        poll_fn(|context| {
            let came = self.0.iter_mut().find_map(|(number, signal)| match signal.poll_recv(context) {
                Poll::Ready(Some(())) => Some(*number),
                _ => None,
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether one of [`Signals::ENDING`] ends a trace of this process.
pub fn is_heard(signal: i32) -> bool {
    signal != libc::SIGHUP || !is_ignored(signal)
}

/// Whether a signal is ignored: by whoever started us, for nothing in here ignores one of [`Signals::ENDING`].
fn is_ignored(signal: i32) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action, and room for the old one.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: zeroes are a sigaction, and the kernel has filled it in where it said 0.
    Errno::result(asked).is_ok() && unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// From now on, signals that end a trace end the process: for what is still to be done, nobody listens to them.
pub fn let_go() {
    for number in Signals::ENDING.into_iter().filter(|number| is_heard(*number)) {
        // SAFETY: the default action needs no handler.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}
