//! Other programs read recordings, and see in them what twtrace sees.
//!
//! Owns: the comparison with pyarrow and DuckDB. Must not know: how they read.
//!
//! Runs where `TWTRACE_PYTHON` names a Python that has both; `cargo xtask install` makes one and `cargo xtask test` names it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use twtrace::model::event::{Comm, Conn, Event, Kind, Loss, Process};
use twtrace::model::filter::Filter;
use twtrace::present::export::{Format, export};
use twtrace::recording::{Encoder, Head, Recording, Tail};

/// More names than a dictionary may hold, so that some are replaced on the way.
fn recorded() -> Vec<u8> {
    let head = Head { mono_ns: 5, wall_ns: 1_767_323_045_000_000_006, ..Head::default() };
    let mut encoder = Encoder::new(&head).unwrap();
    for at in 0..20_011_u32 {
        let address = |last: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last));
        let conn = Conn {
            netns: 7,
            ifindex: 0,
            saddr: address(at % 8209),
            daddr: address(0),
            sport: (at % 65_521) as u16,
            dport: 443,
        };
        let mut event =
            Event::new([Kind::Created, Kind::Ended][at as usize % 2], 5 + u64::from(at), Some(conn));
        event.cookie = (at % 3 != 0).then_some(at.into());
        let comm = Comm::new(&format!("é\u{7}{at}"));
        event.owner = Some(Process { pid: at, tid: at, uid: 0, cgroup_id: 0, start_ns: 0, comm });
        encoder.append(&event);
        if at % 1009 == 1008 {
            let mut lost = Event::new(Kind::Lost, 5 + u64::from(at), None);
            lost.loss = Some(Box::new(Loss { created: 13, ..Loss::default() }));
            encoder.append(&lost);
            encoder.close_batch().unwrap();
        }
    }
    encoder.finish(&Tail::default()).unwrap();
    std::mem::take(encoder.bytes())
}

/// What twtrace's own reader makes of it.
fn totals(path: &Path) -> Value {
    let mut recording = Recording::open(path).unwrap();
    let clock = recording.head().clock();
    let events: Vec<Event> = recording.events().collect();
    assert!(recording.end().tail().is_some());
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    events.iter().for_each(|event| *kinds.entry(event.kind.word()).or_default() += 1);
    let conns = || events.iter().filter_map(|event| event.conn);
    let comms: BTreeSet<Comm> = events.iter().filter_map(|event| Some(event.owner?.comm)).collect();
    let monos = || events.iter().map(|event| event.mono_ns);
    json!({
        "rows": events.len(),
        "events": kinds,
        "sports": conns().map(|conn| u64::from(conn.sport)).sum::<u64>(),
        "cookies": events.iter().filter(|event| event.cookie.is_some()).count(),
        "lost": events.iter().filter_map(|event| event.loss.as_ref()).map(|loss| loss.events()).sum::<u64>(),
        "comms": comms.len(),
        "saddrs": conns().map(|conn| conn.saddr).collect::<BTreeSet<_>>().len(),
        "first_ns": monos().map(|mono_ns| clock.wall_ns(mono_ns)).min(),
        "last_mono_ns": monos().max(),
    })
}

#[test]
fn pyarrow_and_duckdb_see_what_twtrace_sees() {
    let Some(python) = std::env::var_os("TWTRACE_PYTHON") else {
        eprintln!(
            "skipped: TWTRACE_PYTHON names no Python with pyarrow and duckdb (see `cargo xtask install`)"
        );
        return;
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.twt");
    std::fs::write(&large, recorded()).unwrap();
    for stream in [large, data.join("recording-v1.twt")] {
        let parquet = dir.path().join("export.parquet");
        let mut file = std::fs::File::create(&parquet).unwrap();
        let recording = Recording::open(&stream).unwrap();
        export(recording, &Filter::default(), Format::Parquet, &mut file).unwrap();
        let output =
            Command::new(&python).arg(data.join("totals.py")).arg(&stream).arg(&parquet).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told.len(), 4);
        for (way, told) in told {
            assert_eq!(told, totals(&stream), "{way}, {}", stream.display());
        }
    }
}
