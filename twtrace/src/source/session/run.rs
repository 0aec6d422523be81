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
    match until_over(&mut engine, ready, view).await {
        Ok(why) => engine.end(why, view).await,
        Err(error) => {
            view.ending();
            Err(error)
        }
    }
}

/// Sets up what is left, and traces until there is a reason to end.
async fn until_over(
    engine: &mut Engine<'_>,
    ready: Option<ReadyFile>,
    view: &mut dyn View,
) -> Result<Why, Error> {
    view.attached(engine.probe.backend().word());
    engine.introduce();
    engine.tell_limitations(view);
    view.listed(&mut engine.tracker);
    view.wake_with(engine.waker());
    let begun = view.begin(Clock::read()).map(|()| Flow::Go);
    if engine.written(begun)? == Flow::Stop || engine.list_first(view).await? == Flow::Stop {
        return Ok(Why::View);
    }
    // Where this user may not, a trace goes on without being asked.
    let server = Server::start(Path::new(inquiry::DIR), engine.probe.backend().word()).ok();
    if let Some(ready) = ready {
        // Who waits for the file may read at once what was said before it.
        crate::output::notes::settle();
        ready.make().map_err(|error| not_ready(engine.options, error))?;
    }
    // The last thing of all that is set up, so that whatever comes later goes without.
    engine.give_up_power(view);
    engine.follow(server, view).await
}

fn not_ready(options: &Options, error: std::io::Error) -> Error {
    let path = options.ready_file.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
    Error::Ready { path: crate::model::escape::printable(&path).into_owned(), error }
}
