//! Owns: a headless Chromium without a network, spoken to over a pipe (`--remote-debugging-pipe`, the DevTools protocol).
//! Must not know: what is shown in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Where Debian and others put it.
const PROGRAMS: [&str; 5] =
    ["chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome"];
/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. It ends with this value.
pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// What the browser told without being asked, less what is of no interest.
    pub(super) told: Vec<Value>,
    _profile: tempfile::TempDir,
}

fn program() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    PROGRAMS.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|program| program.is_file()))
}

impl Browser {
    /// Starts one, where there is one. `TWTRACE_NEEDS_BROWSER` makes it an error if there is none.
    pub(super) fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert!(
                std::env::var_os("TWTRACE_NEEDS_BROWSER").is_none(),
                "none of {PROGRAMS:?} is on PATH: `cargo xtask install` installs the first"
            );
            println!("skipped: there is no Chromium here; `cargo xtask install` installs one");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        // Descriptors 3 and 4 are what the protocol goes over. The rest: no sandbox, for root has none; and no way out.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 >&2", "sh"]).arg(program).args([
            "--headless",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--window-size=1280,1000",
            "--force-device-scale-factor=1",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                if send.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let told = Vec::new();
        let mut browser = Self { child, input, messages, session: None, sent: 0, told, _profile: profile };
        browser.open();
        Some(browser)
    }

    fn open(&mut self) {
        let target = self.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        self.session = self.ask("Target.attachToTarget", attach)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
        let offline =
            json!({ "offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0 });
        self.ask("Network.emulateNetworkConditions", offline);
    }

    /// Calls a method and waits for what it returns.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        let id = json!(self.sent);
        let mut answer = self.wait(method, |message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The next message that is `wanted`. All others are kept.
    fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|error| panic!("{what}: {error}"));
            if wanted(&message) {
                return message;
            }
            if message.get("method").is_some() {
                self.told.push(message);
            }
        }
    }

    /// Goes to a file and waits until all of it is there.
    pub(super) fn visit(&mut self, file: &Path) {
        self.ask("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        if !self.told.iter().any(|message| message["method"] == "Page.loadEventFired") {
            self.wait("the page to load", |message| message["method"] == "Page.loadEventFired");
        }
    }

    /// What an expression comes to.
    pub(super) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.ask("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Takes a picture, if `TWTRACE_SCREENSHOTS` names a folder to put it in.
    pub(super) fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("TWTRACE_SCREENSHOTS") else { return };
        let shot =
            self.ask("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "format": "png" }));
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), decoded(&shot)).unwrap();
    }

    /// The page on paper: a PDF.
    pub(super) fn print(&mut self) -> Vec<u8> {
        let printed = self.ask("Page.printToPDF", json!({ "printBackground": false }));
        decoded(&printed)
    }

    /// What was told under one of these names.
    pub(super) fn heard(&self, methods: &[&str]) -> Vec<&Value> {
        self.told.iter().filter(|message| methods.iter().any(|method| message["method"] == *method)).collect()
    }
}

fn decoded(answer: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
