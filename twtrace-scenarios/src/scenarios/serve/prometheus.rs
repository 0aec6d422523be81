//! Owns: a real Prometheus that scrapes a real `serve`: what it takes for good metrics, each query of the dashboard, an alert that fires.
//! Must not know: how metrics are counted.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use twtrace_kit::child::{Guarded, end_with_us};
use twtrace_kit::command::{feed, said};
use twtrace_kit::http::{get, percent};
use twtrace_kit::wait::until_every;

use super::{AT, CREATED, FAILED, Serving};
use crate::sandbox::Sandbox;

const RULES: &str = include_str!("../../../../contrib/prometheus/twtrace.rules.yml");
const TESTS: &str = include_str!("../../../../contrib/prometheus/twtrace.rules.test.yml");
const DASHBOARD: &str = include_str!("../../../../contrib/grafana/twtrace.json");
const PROMETHEUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
/// How long it may take to start, to scrape, to evaluate.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(200);

const CONFIG: &str = "
global: { scrape_interval: 500ms, evaluation_interval: 500ms }
rule_files: [ twtrace.rules.yml ]
scrape_configs: [ { job_name: twtrace, static_configs: [ { targets: [ '127.0.0.1:9478' ] } ] } ]
";

/// One that runs, and ends with this.
struct Server {
    _process: Guarded,
}

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        fs::write(dir.join("twtrace.rules.yml"), RULES)?;
        fs::write(dir.join("prometheus.yml"), CONFIG)?;
        let mut command = Command::new("prometheus");
        let config = format!("--config.file={}", dir.join("prometheus.yml").display());
        let data = format!("--storage.tsdb.path={}", dir.join("data").display());
        command.args([config, data, format!("--web.listen-address={PROMETHEUS}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(dir.join("stderr"))?);
        end_with_us(&mut command, Signal::SIGKILL);
        Ok(Self { _process: Guarded::spawn(&mut command)? })
    }

    /// What a query comes to: labels and values.
    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = get(PROMETHEUS, &format!("/api/v1/query?query={}", percent(query)), "")?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a query comes to exactly this value.
    fn await_value(&self, query: &str, want: f64) -> Result<()> {
        let mut last = Vec::new();
        let came = until_every(STEP, query, PATIENCE, || {
            // It may not listen yet.
            last = self.query(query).unwrap_or_default();
            let value =
                |result: &Value| result["value"][1].as_str().and_then(|text| text.parse::<f64>().ok());
            Ok((last.iter().filter_map(value).collect::<Vec<_>>() == [want]).then_some(()))
        });
        came.with_context(|| format!("{query} is {last:?}, meant {want}"))
    }
}

fn promtool(args: &[&str], dir: &Path, input: &str) -> Result<()> {
    let mut command = Command::new("promtool");
    let output = feed(command.args(args).current_dir(dir), input.as_bytes())?;
    let said = said(&output);
    ensure!(output.status.success(), "promtool {args:?}: {}: {said}", output.status);
    // What it only advises counts as well.
    ensure!(args != ["check", "metrics"] || said.trim().is_empty(), "promtool {args:?}: {said}");
    Ok(())
}

/// The queries of the dashboard's panels, its variables filled in.
fn queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("panels")?.iter();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (title.clone(), target["expr"].as_str().unwrap_or_default().to_owned()))
    };
    let filled = |expr: String| expr.replace("$__rate_interval", "1m").replace("$instance", ".*");
    Ok(panels.flat_map(of_panel).map(|(title, expr)| (title, filled(expr))).collect())
}

/// Prometheus takes the metrics, has what was made, answers each query of the dashboard with data, and fires an alert when ports are out.
pub(in crate::scenarios) fn prometheus(sandbox: &mut Sandbox) -> Result<()> {
    let dir = TempDir::with_prefix("twtrace-scenarios-")?;
    fs::write(dir.path().join("twtrace.rules.yml"), RULES)?;
    fs::write(dir.path().join("twtrace.rules.test.yml"), TESTS)?;
    promtool(&["check", "rules", "twtrace.rules.yml"], dir.path(), "")?;
    promtool(&["test", "rules", "twtrace.rules.test.yml"], dir.path(), "")?;
    let serving = Serving::begin(sandbox, &[])?;
    let server = Server::start(dir.path())?;
    // All is 0 before it begins: a rate wants to see it rise.
    server.await_value("sum(twtrace_sockets_created_total{job=\"twtrace\"})", 0.0)?;
    serving.act(sandbox)?;
    let created = CREATED as f64;
    for (query, want) in [
        ("twtrace_sockets_created_total", created),
        ("sum(twtrace_owner_sockets_created_total)", created),
        ("sum(twtrace_destination_sockets_live)", created),
        ("sum(twtrace_connect_failures_total)", FAILED as f64),
        ("up{job=\"twtrace\"}", 1.0),
        ("count(ALERTS{alertname=\"TwtracePortsFull\",alertstate=\"firing\"})", 1.0),
        ("count(ALERTS{alertname=\"TwtraceConnectFailures\",alertstate=\"firing\"})", 1.0),
        ("count(ALERTS{alertname=~\"TwtraceGone|TwtraceEventsLost\"}) or vector(0)", 0.0),
    ] {
        server.await_value(query, want)?;
    }
    promtool(&["check", "metrics"], dir.path(), &get(AT, "/metrics", "")?)?;
    for (title, query) in queries()? {
        let came =
            until_every(STEP, &query, PATIENCE, || Ok((!server.query(&query)?.is_empty()).then_some(())));
        came.with_context(|| format!("the panel '{title}' has no data"))?;
    }
    drop(server);
    serving.end().map(drop)
}
