//! Owns: waking the engine at a time, once.
//! Must not know: what for.
//!
//! Not done with tokio's timers: their wheel wakes the thread at each turn on the way, which for a second is twice. On an idle machine nothing
//! else wakes it.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timer that can be waited for with others.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A timer of the kernel's (timerfd_create(2)).
#[derive(Debug)]
pub(super) struct Alarm {
    timer: AsyncFd<Timer>,
    /// When it rings, if it is set.
    rings: Option<Instant>,
}

impl Alarm {
    /// Not set yet.
    ///
    /// # Errors
    /// If the kernel gives none.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // SAFETY: a Timer keeps one descriptor for as long as it lives, and always names the same.
        let timer = unsafe { AsyncFd::register_with_interest(Timer(timer), Interest::READABLE) }?;
        Ok(Self { timer, rings: None })
    }

    /// Until `due`. One that is given up half-way rings all the same, and is not heard.
    ///
    /// # Errors
    /// If the timer cannot be set.
    pub(super) async fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        loop {
            if self.rings.is_none_or(|rings| due < rings) {
                self.set(due)?;
            }
            let mut ready = self.timer.readable().await?;
            // How often it rang is of no interest; that it may not have, either.
            let _ = nix::unistd::read(ready.get_inner().0.as_fd(), &mut [0; size_of::<u64>()]);
            ready.clear_ready();
            self.rings = None;
            if Instant::now() >= due {
                return Ok(());
            }
        }
    }

    fn set(&mut self, due: Instant) -> io::Result<()> {
        // 0 would unset it.
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        self.timer
            .get_ref()
            .0
            .set(Expiration::OneShot(TimeSpec::from_duration(left)), TimerSetTimeFlags::empty())?;
        self.rings = Some(due);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_when_it_is_due_and_not_when_it_was_due_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let began = Instant::now();
            let (soon, later) = (began + Duration::from_millis(2), began + Duration::from_millis(9));
            // Given up before it rings.
            tokio::select! {
                biased;
                rung = alarm.wait_until(later) => rung.unwrap(),
                () = std::future::ready(()) => {}
            }
            for due in [soon, later, began] {
                alarm.wait_until(due).await.unwrap();
                assert!(Instant::now() >= due);
            }
        });
    }
}
