//! Owns: the form of what the doctor says: findings, their evidence, remedies and what will not help.
//! Must not know: any particular finding, how it is shown.

use std::net::IpAddr;

use serde::Serialize;

use super::facts::Share;
use super::words::{culprit, grouped, number};
use crate::output::paint::Meaning;

/// How bad it is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Calls fail now, or will within a minute.
    Critical,
    /// Something is lost or will run out.
    Warning,
    /// Worth knowing; nothing is at stake.
    Notice,
    /// All is well.
    Fine,
}

crate::model::words!(Severity, ALL, {
    Critical => "critical", Warning => "warning", Notice => "notice", Fine => "fine",
});

impl From<Severity> for Meaning {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::Warning => Self::Warning,
            Severity::Notice => Self::Label,
            Severity::Fine => Self::Good,
        }
    }
}

/// A number or a word that speaks for a finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A measured or computed number.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => f.pad(&grouped(*count)),
            Self::Number(value) => f.pad(&number(*value)),
            Self::Text(text) => f.pad(text),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What it is.
    pub what: &'static str,
    /// Its value.
    pub value: Value,
    /// Where the value comes from.
    pub source: &'static str,
}

/// Whether a remedy's condition holds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It does.
    Yes,
    /// What it depends on could not be seen.
    Unknown,
    /// It does not: the remedy is not offered.
    No,
}

/// A predicted change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// What changes, such as `limit`.
    pub what: &'static str,
    /// Its unit, such as `connections/s`.
    pub unit: &'static str,
    /// Now.
    pub before: f64,
    /// With the remedy.
    pub after: f64,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, unit, before, after } = self;
        write!(f, "{what} {} -> {} {unit}", number(*before), number(*after))
    }
}

/// Something to do about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remedy {
    /// Its name for good.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: String,
    /// When it works.
    pub condition: &'static str,
    /// Whether it does so here.
    pub holds: Holds,
    /// Why it does, or does not, or why nobody knows.
    pub because: String,
    /// What to type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What to change in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// What it will come to.
    pub effects: Vec<Effect>,
    /// What it breaks or costs.
    pub risk: &'static str,
}

/// A popular remedy that does not help here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotHere {
    /// Its name for good.
    pub id: &'static str,
    /// What it is, in a few words.
    pub title: String,
    /// Why not.
    pub why: String,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Inode of the network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// Local address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saddr: Option<IpAddr>,
    /// Local port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Remote address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daddr: Option<IpAddr>,
    /// Remote port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One thing that the doctor found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Its name for good.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one sentence.
    pub what: String,
    /// The same in a few words, who first: what a line of a screen has room for. Empty where a finding has no such words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub headline: String,
    /// How many more there are like it: by the same program in the same namespace, or more of a kind than are told.
    #[serde(skip_serializing_if = "is_zero")]
    pub alike: u64,
    /// Where.
    #[serde(flatten)]
    pub subject: Subject,
    /// How that is known.
    pub evidence: Vec<Evidence>,
    /// Who does it, most first.
    pub who: Vec<Share>,
    /// What to do about it, best first. Only such as hold, or may.
    pub remedies: Vec<Remedy>,
    /// What is often tried and does not help here.
    pub not_here: Vec<NotHere>,
}

impl Finding {
    /// A finding without evidence, people or remedies yet.
    pub fn new(id: &'static str, severity: Severity, what: String) -> Self {
        Self {
            id,
            severity,
            what,
            headline: String::new(),
            alike: 0,
            subject: Subject::default(),
            evidence: Vec::new(),
            who: Vec::new(),
            remedies: Vec::new(),
            not_here: Vec::new(),
        }
    }

    /// Says the same in a few words that go behind whoever it is about: `cannot connect to …`. Comes after [`Self::by`].
    #[must_use]
    pub fn in_short(mut self, words: &str) -> Self {
        self.headline = format!("{} {words}", culprit(&self.who));
        self
    }

    /// Says the same in a few words that name nobody.
    #[must_use]
    pub fn in_short_alone(mut self, words: String) -> Self {
        self.headline = words;
        self
    }

    /// As [`Self::in_short`] where [`Self::by`] named anybody, else `alone`.
    #[must_use]
    pub fn in_short_or(self, words: &str, alone: String) -> Self {
        let is_known = self.who.iter().any(|share| share.process.pid.is_some());
        if is_known { self.in_short(words) } else { self.in_short_alone(alone) }
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// Adds a piece of evidence.
    #[must_use]
    pub fn because(mut self, what: &'static str, value: impl Into<Value>, source: &'static str) -> Self {
        self.evidence.push(Evidence { what, value: value.into(), source });
        self
    }

    /// As [`Self::because`], where the value is known.
    #[must_use]
    pub fn because_known(
        self,
        what: &'static str,
        value: Option<impl Into<Value>>,
        source: &'static str,
    ) -> Self {
        match value {
            Some(value) => self.because(what, value, source),
            None => self.because(what, "unknown", source),
        }
    }

    /// Says who, in this order; each process once.
    #[must_use]
    pub fn by(mut self, who: impl IntoIterator<Item = Share>) -> Self {
        self.who = Share::by_process(who);
        self
    }

    /// Offers remedies; one whose condition does not hold becomes something that does not help here.
    #[must_use]
    pub fn remedied(mut self, remedies: impl IntoIterator<Item = Remedy>) -> Self {
        for mut remedy in remedies {
            // From nothing to nothing is no effect, and what has no other is no help.
            let predicted = !remedy.effects.is_empty();
            remedy.effects.retain(|effect| effect.before != 0.0 || effect.after != 0.0);
            if predicted && remedy.effects.is_empty() && remedy.holds != Holds::No {
                remedy.holds = Holds::No;
                "there is nothing that it could change here".clone_into(&mut remedy.because);
            }
            if remedy.holds == Holds::No {
                let Remedy { id, title, because, .. } = remedy;
                self.not_here.push(NotHere { id, title, why: because });
            } else {
                self.remedies.push(remedy);
            }
        }
        self
    }

    /// Says what does not help here.
    #[must_use]
    pub fn but_not(mut self, not_here: impl IntoIterator<Item = NotHere>) -> Self {
        self.not_here.extend(not_here);
        self
    }
}
