//! Owns: a live trace from attach to summary, in the order in which things must happen.
//! Must not know: what the view does, how events are waited for.

use std::path::Path;

use super::engine::{Engine, Why};
use super::{Error, Options, Summary};
use crate::host::files::ReadyFile;
use crate::model::clock::Clock;
use crate::source::inquiry::{self, Server};
use crate::source::{Flow, View};

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
