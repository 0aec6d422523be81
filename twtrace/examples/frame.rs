//! Measures what the live view costs: the time of a frame at 100,000 live sockets and 5,000 processes, and memory at 131,072 and
//! 10,000. Prints one `name value unit` a line. With an argument, only frames whose name begins with it: for a profiler.
//!
//! Owns: what is measured. Must not know: how a frame is drawn.

#[path = "../tests/steady/mod.rs"]
mod steady;

use std::time::Instant;

use steady::Steady;
use twtrace::engine::Tracker;
use twtrace::present::tui::Offscreen;

/// Frames measured of each kind. The median is told: what else a machine does falls on few of them.
const FRAMES: usize = 101;
/// Births a second where 100,000 live for a minute.
const A_SECOND: u64 = 100_000 / 60;

fn main() -> std::io::Result<()> {
    // As the program does, whose memory this stands for.
    twtrace::host::usage::keep_little();
    let only = std::env::args().nth(1).unwrap_or_default();
    let before_kib = resident_kib()?;
    let script = Steady::new(5_000, 100_000);
    let mut tracker = script.tracker();
    // Two minutes: every history is as long as it gets.
    let mut n = 200_000;
    script.run(&mut tracker, 0, n);
    assert_eq!(tracker.live(), 100_000);
    for (name, key, size) in [
        ("frame of processes at 80x24", '1', (80, 24)),
        ("frame of processes at 200x60", '1', (200, 60)),
        ("frame of tuples at 80x24", '2', (80, 24)),
        ("frame of peers at 80x24", '3', (80, 24)),
    ] {
        if !name.starts_with(&only) {
            continue;
        }
        let mut screen = Offscreen::new(size.0, size.1);
        screen.press(&tracker, key);
        let took = median(|| {
            // Another second: rows change, and those that are seen are others.
            script.run(&mut tracker, n, n + A_SECOND);
            n += A_SECOND;
            time(|| screen.frame(&tracker))
        });
        let text = screen.text();
        assert!(text.contains("live     100000 "), "{text}");
        println!("{name} {:.2} ms", took * 1e3);
    }
    if !only.is_empty() {
        if "frame with a filter".starts_with(&only) {
            filtered(&tracker);
        }
        return Ok(());
    }
    filtered(&tracker);
    let mut screen = Offscreen::new(80, 24);
    screen.press(&tracker, ' ');
    println!("frame of all tables at 80x24 {:.2} ms", median(|| time(|| screen.frame(&tracker))) * 1e3);
    drop((script, tracker, screen));

    println!("frame of one pool of 20,000 processes {:.2} ms", one_pool() * 1e3);

    let script = Steady::new(10_000, 131_072);
    let mut tracker = script.tracker();
    script.run(&mut tracker, 0, 2 * 131_072);
    let mut screen = Offscreen::new(80, 24);
    screen.frame(&tracker);
    println!("memory at 131,072 sockets and 10,000 processes {:.1} MB", mb(resident_kib()? - before_kib));
    println!("peak memory of this measurement {:.1} MB", mb(status_kib("VmHWM:")?));
    Ok(())
}

/// What is searched is not what is seen, but what every row would say.
fn filtered(tracker: &Tracker) {
    let mut screen = Offscreen::new(80, 24);
    screen.press(tracker, '1');
    screen.press(tracker, '/');
    "172.16.0.1".chars().for_each(|typed| screen.press(tracker, typed));
    println!("frame with a filter at 80x24 {:.2} ms", median(|| time(|| screen.frame(tracker))) * 1e3);
}

/// A loop of curl: of a pool that is nearly full each socket is another process's.
fn one_pool() -> f64 {
    let mut script = Steady::new(20_000, 20_000);
    script.is_one_pool = true;
    let mut tracker = script.tracker();
    script.run(&mut tracker, 0, 20_000);
    let mut screen = Offscreen::new(80, 24);
    screen.frame(&tracker);
    let text = screen.text();
    assert!(text.contains("+19,999 "), "{text}");
    median(|| time(|| screen.frame(&tracker)))
}

fn time(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..FRAMES).map(|_| measure()).collect();
    times.sort_by(f64::total_cmp);
    times[FRAMES / 2]
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

fn resident_kib() -> std::io::Result<u64> {
    status_kib("VmRSS:")
}

fn status_kib(name: &str) -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let number = line.trim().trim_end_matches(" kB").parse();
    number.map_err(|_| std::io::Error::other(format!("/proc/self/status has no {name}")))
}
