//! Owns: what `twtrace doctor` said: reading it, holding it against what must be found, applying its commands, and comparing what it predicted
//! with what was measured.
//! Must not know: how the doctor was run, any particular scenario.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use twtrace_kit::netns::set_ipv4;

use crate::sandbox::Sandbox;
use crate::tracer::Told;

/// How far a measurement may be from the prediction.
const TOLERANCE: f64 = 0.1;

/// A diagnosis.
#[derive(Debug)]
pub(super) struct Diagnosis(Value);

/// One finding of it.
#[derive(Clone, Debug)]
pub(super) struct Finding(Value);

impl Diagnosis {
    /// As [`Self::only`], but for one more that may be told.
    pub(super) fn only_beside(&self, id: &str, other: &str) -> Result<Finding> {
        let strangers =
            self.findings()?.iter().filter(|finding| finding["id"] != id && finding["id"] != other);
        ensure!(strangers.count() == 0, "meant {id} and perhaps {other}, found {}", self.said());
        self.has(id)
    }

    /// What cannot be seen must be told, with its reason and what would help, to programs and to people.
    pub(super) fn limits(&self, what: &str) -> Result<&Self> {
        let limits = |one: &&Value| one["what"] == what && one["why"] != "" && one["remedy"] != "";
        let all = self.0["limitations"].as_array().into_iter().flatten();
        ensure!(all.filter(limits).count() == 1, "{what} is not among {}", self.0["limitations"]);
        let mut unknown = self.0["unknown"].as_array().into_iter().flatten().filter_map(Value::as_str);
        ensure!(unknown.any(|line| line.starts_with("not seen: ")), "unknown is {}", self.0["unknown"]);
        ensure!(self.0["severity"] != "fine", "all is said to be well: {}", self.said());
        Ok(self)
    }

    /// It must not.
    pub(super) fn does_not_limit(&self, what: &str) -> Result<&Self> {
        let mut all = self.0["limitations"].as_array().into_iter().flatten();
        ensure!(all.all(|one| one["what"] != what), "{what} is among {}", self.0["limitations"]);
        Ok(self)
    }

    /// The one finding of this name; there may be others.
    pub(super) fn has(&self, id: &str) -> Result<Finding> {
        let findings = self.findings()?;
        let mut named = findings.iter().filter(|finding| finding["id"] == id);
        match (named.next(), named.next()) {
            (Some(finding), None) => Ok(Finding(finding.clone())),
            (None, _) => bail!("no {id}: {}", self.said()),
            _ => bail!("{id} twice: {}", self.said()),
        }
    }

    /// Nothing of this name may be told.
    pub(super) fn has_no(&self, id: &str) -> Result<&Self> {
        let findings = self.findings()?;
        ensure!(findings.iter().all(|finding| finding["id"] != id), "{id} is told: {}", self.said());
        Ok(self)
    }

    /// How many findings were left out as those of others.
    pub(super) fn of_others(&self) -> u64 {
        self.0["of_others"].as_u64().unwrap_or(0)
    }

    /// What told the events.
    pub(super) fn backend(&self) -> Result<&str> {
        self.0["backend"].as_str().context("no backend")
    }

    /// Whether the case was clear before the time was over.
    pub(super) fn stopped_early(&self) -> Result<bool> {
        self.0["stopped_early"].as_bool().context("no stopped_early")
    }

    /// How long was looked.
    pub(super) fn observed_ms(&self) -> Result<u64> {
        self.0["observed_ms"].as_u64().context("no observed_ms")
    }

    fn findings(&self) -> Result<&[Value]> {
        Ok(self.0["findings"].as_array().context("no findings")?)
    }

    pub(super) fn said(&self) -> String {
        let findings = self.0["findings"].as_array().into_iter().flatten();
        let lines = findings.map(|finding| format!("{}: {}", text(finding, "id"), text(finding, "what")));
        format!("{:#?}; facts {}", lines.collect::<Vec<_>>(), self.0["facts"])
    }

    /// What a doctor told that has ended well.
    pub(super) fn of(told: &Told) -> Result<Self> {
        ensure!(told.status.success(), "doctor ended with {}: {}", told.status, told.stderr);
        Self::read(&told.stdout)
    }

    /// From the JSON that the doctor writes.
    pub(super) fn read(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text).with_context(|| format!("no diagnosis: {text:?}"))?))
    }

    /// The one finding, which must have this name.
    pub(super) fn only(&self, id: &str) -> Result<Finding> {
        let findings = self.findings()?;
        match findings {
            [finding] if finding["id"] == id => Ok(Finding(finding.clone())),
            _ => bail!("meant {id} and nothing else, found {}", self.said()),
        }
    }

    /// What a recording says of a case must be what the live doctor says; and it may not print a command: that would change the machine of
    /// whoever reads it.
    pub(super) fn agrees_with(&self, live: &Self) -> Result<()> {
        let (told, seen) = (self.findings()?, live.findings()?);
        for finding in told {
            let remedies = finding["remedies"].as_array().into_iter().flatten();
            let commands: Vec<&Value> = remedies.filter_map(|remedy| remedy.get("command")).collect();
            ensure!(commands.is_empty(), "a recording's reader is told to type {commands:?}");
            let is_known = seen.iter().any(|other| about(other) == about(finding));
            ensure!(
                is_known,
                "of the recording alone: {}; {} live: {}",
                finding["what"],
                self.said(),
                live.said()
            );
        }
        for finding in seen {
            let is_told = told.iter().any(|other| about(other) == about(finding));
            ensure!(is_told, "not of the recording: {}; the recording: {}", finding["what"], self.said());
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What a finding is, where, and whose. The file of a program that ends at once is read in time by one of the two and not by the other.
fn about(finding: &Value) -> [Value; 8] {
    let [id, severity, netns, sport, daddr, dport] =
        ["id", "severity", "netns", "sport", "daddr", "dport"].map(|key| finding[key].clone());
    let process = &finding["who"][0]["process"];
    [id, severity, netns, sport, daddr, dport, process["comm"].clone(), process["pid"].clone()]
}

impl Finding {
    /// How bad it is must be so.
    pub(super) fn is(&self, severity: &str) -> Result<&Self> {
        ensure!(text(&self.0, "severity") == severity, "not {severity}: {}", self.0);
        Ok(self)
    }

    /// This process must be named first.
    pub(super) fn blames(&self, comm: &str, pid: u32) -> Result<&Self> {
        let who = &self.0["who"][0]["process"];
        ensure!(who["comm"] == comm && who["pid"] == pid, "not {comm} ({pid}): {}", self.0["who"]);
        Ok(self)
    }

    /// So many processes of this name are named: one.
    pub(super) fn names_once(&self, comm: &str) -> Result<&Self> {
        let who = self.0["who"].as_array().into_iter().flatten();
        let named = who.filter(|share| share["process"]["comm"] == comm).count();
        ensure!(named == 1, "{comm} is named {named} times: {}", self.0["who"]);
        Ok(self)
    }

    /// What it says must have these words in it.
    pub(super) fn says(&self, words: &str) -> Result<&Self> {
        ensure!(
            text(&self.0, "what").contains(words),
            "it does not say {words:?}: {}",
            text(&self.0, "what")
        );
        Ok(self)
    }

    /// It must not.
    pub(super) fn does_not_say(&self, words: &str) -> Result<&Self> {
        ensure!(!text(&self.0, "what").contains(words), "it says {words:?}: {}", text(&self.0, "what"));
        Ok(self)
    }

    /// What a line of a screen says must begin with this program.
    pub(super) fn headlines(&self, comm: &str) -> Result<&Self> {
        let headline = text(&self.0, "headline");
        ensure!(headline.starts_with(comm), "the headline does not begin with {comm}: {headline:?}");
        Ok(self)
    }

    /// Of which remedies it must be said that this is the first to try.
    pub(super) fn first(&self, diagnosis: &Diagnosis, id: &str) -> Result<&Self> {
        let first = &diagnosis.0["first"];
        ensure!(first["finding"] == self.0["id"] && first["remedy"] == id, "first is {first}");
        Ok(self)
    }

    /// No remedy may be offered.
    pub(super) fn offers_nothing(&self) -> Result<&Self> {
        ensure!(self.remedies().is_empty(), "remedies: {}", self.0["remedies"]);
        Ok(self)
    }

    /// There may be no such evidence.
    pub(super) fn lacks(&self, what: &str) -> Result<&Self> {
        let all = self.0["evidence"].as_array().context("no evidence")?;
        ensure!(all.iter().all(|evidence| evidence["what"] != what), "{what:?} is told in {all:#?}");
        Ok(self)
    }

    /// A piece of evidence must have this value.
    pub(super) fn shows(&self, what: &str, value: u64) -> Result<&Self> {
        let all = self.0["evidence"].as_array().context("no evidence")?;
        let found = all.iter().find(|evidence| evidence["what"] == what);
        let found = found.with_context(|| format!("no evidence {what:?} in {all:#?}"))?;
        ensure!(found["value"] == value, "{what}: {} where {value} was made", found["value"]);
        Ok(self)
    }

    fn remedy(&self, id: &str) -> Result<&Value> {
        let all = self.0["remedies"].as_array().context("no remedies")?;
        let found = all.iter().find(|remedy| remedy["id"] == id);
        found.with_context(|| format!("no remedy {id} among {all:#?}"))
    }

    /// The remedy must be offered, with its condition known to hold.
    pub(super) fn offers(&self, id: &str) -> Result<&Self> {
        let remedy = self.remedy(id)?;
        ensure!(remedy["holds"] == "yes", "{id} is not certain: {remedy}");
        Ok(self)
    }

    /// It must be said of it that it does not help here.
    pub(super) fn refuses(&self, id: &str) -> Result<&Self> {
        let all = self.0["not_here"].as_array().context("no not_here")?;
        ensure!(all.iter().any(|one| one["id"] == id), "{id} is not among {all:#?}");
        let offered = self.0["remedies"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == id));
        ensure!(!offered, "{id} is both offered and refused");
        Ok(self)
    }

    /// The remedies that are offered.
    pub(super) fn remedies(&self) -> Vec<String> {
        let all = self.0["remedies"].as_array().into_iter().flatten();
        all.map(|remedy| text(remedy, "id").to_owned()).collect()
    }

    /// Does what the remedy says to type, in the calling process's network namespace.
    pub(super) fn apply(&self, id: &str) -> Result<()> {
        let command = text(self.remedy(id)?, "command");
        let (_, setting) = command
            .split_once("sysctl -w net.ipv4.")
            .with_context(|| format!("{id} has no sysctl to set: {command:?}"))?;
        let (name, value) = setting.split_once('=').with_context(|| format!("no value in {command:?}"))?;
        set_ipv4(name, value.trim_matches('"')).with_context(|| format!("{id}: {command}"))
    }

    /// What the remedy's effect called `what`, in `unit`, is to be before and after.
    pub(super) fn predicts(&self, id: &str, what: &str, unit: &str) -> Result<(f64, f64)> {
        let remedy = self.remedy(id)?;
        let all = remedy["effects"].as_array().context("no effects")?;
        let found = all.iter().find(|effect| effect["what"] == what && effect["unit"] == unit);
        let found = found.with_context(|| format!("{id}: no effect {what} in {unit}: {all:#?}"))?;
        let number = |key: &str| found[key].as_f64().with_context(|| format!("{id}: {key} of {found}"));
        Ok((number("before")?, number("after")?))
    }

    /// Compares a prediction with what was measured with the remedy, and without it where that could be measured too.
    pub(super) fn measured(
        &self,
        sandbox: &mut Sandbox,
        (id, what, unit): (&str, &str, &str),
        (before, after): (Option<f64>, f64),
    ) -> Result<()> {
        let (said_before, said_after) = self.predicts(id, what, unit)?;
        for (when, said, measured) in [("before", said_before, before), ("after", said_after, Some(after))] {
            if let Some(measured) = measured.filter(|measured| !is_close(said, *measured)) {
                sandbox
                    .fail(format!("{id}: {what} {when}: predicted {said:.2} {unit}, measured {measured:.2}"));
            }
        }
        let before = before.map_or_else(|| "?".to_owned(), |before| format!("{before:.2}"));
        println!(
            "    {}: {id}: {what} predicted {said_before:.2} -> {said_after:.2}, measured {before} -> {after:.2} {unit}",
            text(&self.0, "id")
        );
        Ok(())
    }

    /// As [`Self::measured`], where what the remedy does cannot be measured, for this reason.
    pub(super) fn not_measured(
        &self,
        sandbox: &mut Sandbox,
        (id, what, unit): (&str, &str, &str),
        before: Option<f64>,
        why: &str,
    ) -> Result<()> {
        let (said, after) = self.predicts(id, what, unit)?;
        if let Some(before) = before.filter(|before| !is_close(said, *before)) {
            sandbox.fail(format!("{id}: {what} before: predicted {said:.2} {unit}, measured {before:.2}"));
        }
        println!(
            "    {}: {id}: {what} predicted {said:.2} -> {after:.2} {unit}, not measured: {why}",
            text(&self.0, "id")
        );
        Ok(())
    }

    /// As [`Self::measured`], where the prediction is for a longer time than was measured: only the ratio can be compared.
    pub(super) fn measured_ratio(
        &self,
        sandbox: &mut Sandbox,
        (id, what, unit): (&str, &str, &str),
        (before, after): (f64, f64),
    ) -> Result<()> {
        let (said_before, said_after) = self.predicts(id, what, unit)?;
        let (said, measured) = (said_after / said_before, after / before);
        if !is_close(said, measured) {
            sandbox.fail(format!("{id}: {what}: predicted {said:.3} of what it was, measured {measured:.3}"));
        }
        println!("    {}: {id}: {what} predicted x {said:.3}, measured x {measured:.3}", text(&self.0, "id"));
        Ok(())
    }
}

/// Within ten in a hundred.
pub(super) fn is_close(said: f64, measured: f64) -> bool {
    (said - measured).abs() <= TOLERANCE * said.abs().max(measured.abs())
}
