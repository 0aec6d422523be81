//! Owns: scenarios about the full screen on a real terminal: what it shows of a real load, its keys, and that the terminal is as it
//! was whatever ends it.
//! Must not know: the harness.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use twtrace_kit::Cannot;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::netns::set_ipv4;
use twtrace_kit::wait::{PATIENCE, until, until_true};

use crate::sandbox::Sandbox;
use crate::tmux::{State, Tmux};

/// Connections that are made while the screen is looked at: 71 % of the ports.
const MADE: usize = 709;

/// A twtrace on a terminal.
pub(super) struct Seat {
    tmux: Tmux,
    dir: TempDir,
    /// Before twtrace began.
    before: State,
}

impl Seat {
    /// Starts `twtrace` with these arguments in a new terminal, and waits until it is ready.
    pub(super) fn take(
        sandbox: &Sandbox,
        size: (u16, u16),
        environment: &[(&str, &str)],
        args: &str,
    ) -> Result<Self> {
        let tmux = Tmux::start(size.0, size.1, environment)?;
        let dir = TempDir::with_prefix("twtrace-scenarios-")?;
        let before = tmux.state()?;
        let seat = Self { tmux, dir, before };
        seat.begin(sandbox, args)?;
        Ok(seat)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn begin(&self, sandbox: &Sandbox, args: &str) -> Result<()> {
        let (ready, pid, stderr) = (self.file("ready"), self.file("pid"), self.file("stderr"));
        for name in [&ready, &pid] {
            let _ = fs::remove_file(name);
        }
        let (twtrace, backend) = (sandbox.setup.twtrace.display(), &sandbox.setup.backend);
        let command = format!("exec '{twtrace}' --backend {backend} --ready-file {ready} {args} 2>{stderr}");
        let inner = self.file("inner");
        fs::write(&inner, format!("echo $$ >{pid}\n{command}\n"))?;
        // What is typed must not look like what is printed.
        fs::write(self.file("run"), format!("sh {inner}\necho \"status: $?\"\n"))?;
        self.tmux.type_line(&format!("sh {}", self.file("run")))?;
        until("twtrace to be ready", PATIENCE, || {
            if self.tmux.text()?.contains("status: 77") {
                return Err(Cannot(fs::read_to_string(&stderr)?).into());
            }
            Ok(fs::metadata(&ready).is_ok().then_some(()))
        })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(fs::read_to_string(self.file("pid"))?.trim().parse()?))
    }

    /// Waits until everything in `wanted` is on the screen, and gives it.
    pub(super) fn sees(&self, wanted: &[&str]) -> Result<String> {
        let missing = |text: &str| wanted.iter().find(|part| !text.contains(**part)).copied();
        let mut last = None;
        let seen = self.tmux.await_text("the screen", |text| {
            last = missing(text).map(str::to_owned);
            last.is_none()
        });
        let stderr = || fs::read_to_string(self.file("stderr")).unwrap_or_default();
        seen.with_context(|| format!("{last:?} does not come; stderr is {:?}", stderr()))
    }

    pub(super) fn keys(&self, keys: &[&str]) -> Result<()> {
        self.tmux.keys(keys)
    }

    fn press(&self, keys: &[&str], wanted: &[&str]) -> Result<String> {
        self.tmux.keys(keys)?;
        self.sees(wanted)
    }

    /// Waits until twtrace has ended with 0 and the terminal is as it was.
    pub(super) fn is_restored(&self, how: &str) -> Result<()> {
        let text = self.sees(&["status: "])?;
        ensure!(text.contains("status: 0"), "{how}: not 0:\n{text}");
        let after = self.tmux.state()?;
        ensure!(after == self.before, "{how}: the terminal was\n{:?}\nand is\n{after:?}", self.before);
        ensure!(!text.contains("Processes"), "{how}: the screen stays behind:\n{text}");
        self.tmux.type_line("clear")?;
        self.tmux.await_prompt()
    }
}

/// The stage: in the home namespace 1000 ports, and elsewhere somebody who makes many more sockets.
struct Stage {
    /// Arguments that leave out what else goes on on the machine.
    only: String,
    client: Actor,
    listener: Raw,
    loader: Actor,
}

fn set(sandbox: &mut Sandbox) -> Result<Stage> {
    set_ipv4("ip_local_port_range", "40000 40999")?;
    set_ipv4("tcp_tw_reuse", "0")?;
    let server = sandbox.actor("postgres")?;
    let listener = server.listen(([127, 0, 0, 1], 10007))?;
    let client = sandbox.actor("checkout-api")?;
    let (loader, absorber) = (sandbox.actor("loader")?, sandbox.actor("absorber")?);
    absorber.unshare()?;
    loader.join(&absorber)?;
    let elsewhere = absorber.listen((Ipv4Addr::UNSPECIFIED, 10009))?;
    absorber.absorb(&elsewhere)?;
    // Some two thousand a second: a slow machine must not lose any.
    loader.churn_slowly(10009, 3)?;
    let only = format!("--netns self --netns {}", absorber.netns());
    Ok(Stage { only, client, listener, loader })
}

impl Stage {
    fn make(&self, sandbox: &mut Sandbox, count: usize) -> Result<()> {
        for _ in 0..count {
            let pair = sandbox.pair(&self.client, &self.listener)?;
            close_in_order(&pair.client, &pair.server)?;
        }
        sandbox.created_untold(count);
        Ok(())
    }

    fn fail_to_bind(&self) -> Result<()> {
        let raw = self.client.socket(false, false)?;
        let errno = raw.bind(self.listener.local()?)?.err();
        ensure!(errno == Some(libc::EADDRINUSE), "bind to a port in use: errno {errno:?}");
        raw.close()
    }
}

/// Who, towards whom, how long it lasts: with no key pressed; then every view, and what the keys do.
pub(super) fn shows_the_load(sandbox: &mut Sandbox) -> Result<()> {
    let stage = set(sandbox)?;
    let seat = Seat::take(sandbox, (80, 24), &[], &stage.only)?;
    stage.make(sandbox, MADE)?;
    stage.fail_to_bind()?;
    let who = format!("{}/checkout-api", stage.client.pid());
    let full = "709 of 1000 ports (71%), ";
    seat.sees(&[&format!("hottest  {who}  127.0.0.1 > 127.0.0.1:10007"), full, "bind_failed 1", "loader"])?;
    let text = seat.tmux.text()?;
    let pid = stage.client.pid().to_string();
    let row = text.lines().find(|line| line.contains("checkout-api ") && line.contains(&format!(" {pid} ")));
    let row = row.with_context(|| format!("no row of {who} in\n{text}"))?;
    ensure!(row.contains(" 709 ") && row.contains(" 71% ") && row.contains(" 127.0.0.1:10007"), "{row}");
    views(&seat, &stage, sandbox)?;
    stage.loader.halt()?;
    seat.press(&["q"], &["status: "])?;
    seat.is_restored("q")
}

fn views(seat: &Seat, stage: &Stage, sandbox: &mut Sandbox) -> Result<()> {
    let pid = stage.client.pid().to_string();
    seat.press(&["2"], &["[2 Tuples]", "  71%   291 ", "checkout-api"])?;
    seat.press(&["3"], &["[3 Peers]", " 127.0.0.7 "])?;
    seat.press(&["4"], &["[4 Ports]", "10007"])?;
    seat.press(&["5"], &["[5 Containers]", "CONTAINER"])?;
    seat.press(&["6"], &["[6 Events]", "created", "loader"])?;
    // What repeats is one row, until one looks.
    seat.press(&["/", "c", "r", "e", "a", "t", "Enter"], &["filter: creat", "×", "/s created"])?;
    seat.press(&["Enter"], &["PAUSED"])?;
    seat.press(&["Down", "Enter"], &[" Event created", " meaning ", " netns "])?;
    seat.press(&["Escape"], &["filter: creat", "PAUSED", "Esc: close"])?;
    seat.press(&["Escape"], &["filter: creat", "Esc: clear"])?;
    seat.press(&["Escape"], &["s: sort"])?;
    seat.press(&["7"], &["[7 Failures]", "bind_failed", "EADDRINUSE"])?;
    // A machine that is busy otherwise may tell of skipped hooks there too.
    seat.press(&["/", "E", "A", "D", "D", "R", "I", "N", "Enter"], &["filter: EADDRIN", "1-1 of 1"])?;
    seat.press(
        &["Enter"],
        &[" Event bind_failed", &format!(" caller     {pid}/checkout-api"), "127.0.0.1:10007"],
    )?;
    seat.press(&["Escape"], &["filter: EADDRIN"])?;
    seat.press(&["Escape"], &["?: help"])?;
    seat.press(&["8"], &["[8 Netns]", &sandbox.netns().to_string(), "  1000 "])?;
    seat.press(&["1", "/"], &["[1 Processes]", "/_ "])?;
    seat.press(&["c", "h", "e", "c", "k", "o", "u", "t", "Enter"], &["filter: checkout", "1-1 of 1"])?;
    let open = [&*format!(" Process {pid}/checkout-api"), " meaning ", " command "];
    seat.press(&["Enter"], &open)?;
    seat.press(&["End"], &[" age ", " sent "])?;
    seat.press(&["Escape"], &["filter: checkout"])?;
    pauses(seat, stage, sandbox)?;
    seat.press(&["Escape"], &["loader", "?: help"])?;
    seat.press(&["?"], &[" Keys", "another view"])?;
    seat.press(&["?"], &["?: help"])?;
    resizes(seat)
}

/// Tracing goes on, the picture stands still.
fn pauses(seat: &Seat, stage: &Stage, sandbox: &mut Sandbox) -> Result<()> {
    seat.press(&["Space"], &["PAUSED", "filter: checkout"])?;
    stage.make(sandbox, 2)?;
    // The colours change, so it is drawn again; what it shows does not.
    let before = seat.tmux.coloured()?;
    seat.tmux.keys(&["t"])?;
    until_true("other colours", PATIENCE, || Ok(seat.tmux.coloured()? != before))?;
    let text = seat.tmux.text()?;
    ensure!(text.contains("709 of 1000") && !text.contains("711 of 1000"), "paused:\n{text}");
    let text = seat.press(&["Space"], &["711 of 1000 ports (71%), "])?;
    ensure!(!text.contains("PAUSED"), "{text}");
    Ok(())
}

/// Sizes and the mouse.
fn resizes(seat: &Seat) -> Result<()> {
    seat.tmux.resize(140, 40)?;
    seat.sees(&["TOTAL", "COMMAND", "DESTINATION"])?;
    seat.tmux.resize(30, 7)?;
    seat.tmux.await_text("a small screen", |text| text.lines().all(|line| line.chars().count() <= 30))?;
    seat.tmux.resize(80, 24)?;
    let text = seat.sees(&["[1 Processes]", "hottest", "DESTINATION"])?;
    let tabs = text.lines().position(|line| line.contains("[1 Processes]")).context("no views")?;
    let at = |line: usize, part: &str| {
        let line = text.lines().nth(line).unwrap_or_default();
        line.find(part)
            .map(|bytes| line[..bytes].chars().count())
            .with_context(|| format!("no {part}: {line}"))
    };
    seat.tmux.click(at(tabs + 1, "PROCESS")?, tabs + 1)?;
    seat.sees(&["PROCESS▲"])?;
    seat.tmux.click(at(tabs + 1, "PROCESS")?, tabs + 1)?;
    seat.sees(&["PROCESS▼"])?;
    seat.tmux.click(at(tabs, "2 Tuples")?, tabs)?;
    seat.sees(&["[2 Tuples]"]).map(drop)
}

/// Signals end it as q does, and the terminal is as it was; without a terminal it ends too.
pub(super) fn gives_the_terminal_back(sandbox: &mut Sandbox) -> Result<()> {
    let stage = set(sandbox)?;
    let seat = Seat::take(sandbox, (80, 24), &[], &stage.only)?;
    for (at, signal) in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().enumerate() {
        if at != 0 {
            seat.begin(sandbox, &stage.only)?;
        }
        seat.sees(&["[1 Processes]", "loader"])?;
        let during = seat.tmux.state()?;
        ensure!(during != seat.before && during.modes.contains("alternate 1 cursor 0"), "{during:?}");
        kill(seat.pid()?, signal)?;
        seat.is_restored(signal.as_str())?;
    }
    seat.begin(sandbox, &stage.only)?;
    seat.press(&["C-c"], &["status: "])?;
    seat.is_restored("Ctrl-C")?;
    seat.begin(sandbox, &stage.only)?;
    seat.sees(&["[1 Processes]", "loader"])?;
    let pid = seat.pid()?;
    seat.tmux.hang_up()?;
    until_true("twtrace to end without its terminal", PATIENCE, || {
        // Whoever should wait for it has gone too.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        Ok(stat.map_or(true, |stat| stat.contains(") Z ")))
    })?;
    stage.loader.halt().map(drop)
}

/// Without colours, without UTF-8, and as a plain table although there is a terminal.
pub(super) fn fits_the_terminal(sandbox: &mut Sandbox) -> Result<()> {
    let stage = set(sandbox)?;
    stage.make(sandbox, 13)?;
    let poor = [("NO_COLOR", "1"), ("LC_ALL", "C")];
    let seat = Seat::take(sandbox, (80, 24), &poor, &stage.only)?;
    seat.sees(&["[1 Processes]", "loader", "hottest", "#"])?;
    for keys in ["1", "2", "6", "?"] {
        seat.tmux.keys(&[keys])?;
        let text = seat.tmux.text()?;
        ensure!(text.is_ascii(), "not ASCII:\n{text}");
        let colours = colours(&seat.tmux.coloured()?);
        ensure!(colours.is_empty(), "NO_COLOR, and yet {colours:?}");
    }
    seat.press(&["?"], &["[6 Events]"])?;
    seat.press(&["q"], &["status: "])?;
    seat.is_restored("q")?;
    seat.begin(sandbox, &format!("--theme light {}", stage.only))?;
    seat.sees(&["[1 Processes]", "loader"])?;
    ensure!(!colours(&seat.tmux.coloured()?).is_empty(), "--theme light has no colours");
    seat.press(&["q"], &["status: "])?;
    seat.is_restored("q")?;
    seat.begin(sandbox, &format!("--plain --count 1 {}", stage.only))?;
    let text = seat.sees(&["PID  PROCESS", "status: 0"])?;
    ensure!(text.contains(", traced ") && !text.contains("[1 Processes]"), "no plain table:\n{text}");
    stage.loader.halt().map(drop)
}

/// Escapes that set a colour: SGR 30 to 49 and 90 to 107.
fn colours(text: &str) -> Vec<String> {
    let escapes = text.split("\x1b[").skip(1).filter_map(|rest| rest.split_once('m')).map(|(codes, _)| codes);
    let codes = escapes.flat_map(|codes| codes.split(';'));
    let colours = codes
        .filter(|code| code.parse::<u8>().is_ok_and(|code| matches!(code, 30..=38 | 40..=48 | 90..=107)));
    colours.map(str::to_owned).collect()
}

/// What the screen shows, line by line, while one process asks a database over a new connection each time and uses up the
/// ports, and another serves a page and closes first. Taken when four fifths of the ports are in use.
pub fn picture(sandbox: &mut Sandbox, columns: u16, lines: u16) -> Result<String> {
    set_ipv4("ip_local_port_range", "40000 42499")?;
    set_ipv4("tcp_tw_reuse", "0")?;
    let (postgres, proxy) = (sandbox.actor("postgres")?, sandbox.actor("proxy")?);
    let (database, pages) = (postgres.listen(([127, 0, 0, 1], 5432))?, proxy.listen(([127, 0, 0, 1], 8080))?);
    let (client, browser) = (sandbox.actor("checkout-api")?, sandbox.actor("browser")?);
    let seat = Seat::take(sandbox, (columns, lines), &[], "--netns self")?;
    for turn in 0..2000_u32 {
        let pair = sandbox.pair(&client, &database)?;
        pair.exchange(83, 211)?;
        close_in_order(&pair.client, &pair.server)?;
        if turn % 7 == 0 {
            let pair = sandbox.pair(&browser, &pages)?;
            pair.exchange(401, 7001)?;
            close_in_order(&pair.server, &pair.client)?;
        }
        // This is what the load is like, and nobody's wait.
        std::thread::sleep(Duration::from_millis(3));
    }
    seat.tmux.await_text("most ports in use", |text| text.contains("ports (80%)"))
}
