//! Owns: a live trace from attach to summary, in the order in which things must happen.
//! Must not know: what the view does, how events are waited for.

use std::path::Path;

use super::engine::{Engine, Why};
use super::{Options, Summary};
use crate::host::files::ReadyFile;
use crate::host::worker::Died;
use crate::kernel::decode;
use crate::kernel::probe::Cannot;
use crate::model::clock::Clock;
use crate::source::inquiry::{self, Server};
use crate::source::{Flow, View};

/// Why a trace came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot.
    #[error(transparent)]
    Cannot(#[from] Cannot),
    /// The kernel side and this side do not speak the same language.
    #[error("the kernel side sent something that is no event: {0}")]
    Decode(#[from] decode::DecodeError),
    /// The view could not write; a broken pipe is not an error.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
    /// The ready file could not be made.
    #[error("cannot create the ready file {path}: {error}")]
    Ready {
        /// Its path, escaped.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Signals, timers or threads.
    #[error("cannot wait for events: {0}")]
    Wait(std::io::Error),
    /// The kernel's books.
    #[error("cannot read the kernel's books: {0}")]
    Books(#[from] crate::host::net::Error),
    /// A part of the trace is no more.
    #[error(transparent)]
    Died(#[from] Died),
}

impl Error {
    /// What a view failed of: writing, or a thread of its own that is no more.
    pub(super) fn of_view(error: std::io::Error) -> Self {
        error.downcast::<Died>().map_or_else(Self::Output, Self::Died)
    }
}

/// Traces until `view` has had enough, the duration is over, or a signal says so.
///
/// # Errors
/// See [`Error`].
pub async fn run(options: &Options, view: &mut dyn View) -> Result<Summary, Error> {
    let ready = options.ready_file.as_deref().map(ReadyFile::claim).transpose();
    let ready = ready.map_err(|error| not_ready(options, error))?;
    let mut engine = Engine::attach(options).await?;
    view.attached(engine.probe.backend().word());
    engine.introduce();
    engine.tell_limitations(view);
    view.listed(&mut engine.tracker);
    view.wake_with(engine.waker());
    let begun = view.begin(Clock::read()).map(|()| Flow::Go);
    if engine.written(begun)? == Flow::Stop {
        return engine.end(Why::View, view).await;
    }
    if engine.list_first(view).await? == Flow::Stop {
        return engine.end(Why::View, view).await;
    }
    // Where this user may not, a trace goes on without being asked.
    let server = Server::start(Path::new(inquiry::DIR), engine.probe.backend().word()).ok();
    if let Some(ready) = ready {
        // Who waits for the file may read at once what was said before it.
        crate::output::notes::settle();
        ready.make().map_err(|error| not_ready(options, error))?;
    }
    // The last thing of all that is set up, so that whatever comes later goes without.
    engine.give_up_power(view);
    match engine.follow(server, view).await {
        Ok(why) => engine.end(why, view).await,
        Err(error) => {
            view.ending();
            Err(error)
        }
    }
}

fn not_ready(options: &Options, error: std::io::Error) -> Error {
    let path = options.ready_file.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
    Error::Ready { path: crate::model::escape::printable(&path).into_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_whose_thread_died_did_not_fail_of_writing() {
        let died = Died { name: "http", why: "no such socket".to_owned() };
        let error = Error::of_view(died.into());
        assert_eq!(error.to_string(), "the thread 'http' ended too early: no such socket");
        let error = Error::of_view(std::io::ErrorKind::StorageFull.into());
        assert!(error.to_string().starts_with("cannot write the output: "), "{error}");
    }
}
