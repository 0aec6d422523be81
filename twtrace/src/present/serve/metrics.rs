//! Owns: metrics as such: families of samples with labels, a unit and words for people.
//! Must not know: what is measured, in which format it goes out.

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, from 0 when its series begins.
    Counter,
    /// May be anything at any time.
    Gauge,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// Exact.
    Count(u64),
    /// A measure.
    Real(f64),
}

/// One series, now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Names and values; no two samples of a family have the same.
    pub(super) labels: Vec<(&'static str, String)>,
    /// The value.
    pub(super) value: Value,
}

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family {
    /// Its name, without the `_total` that a counter has.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) kind: Kind,
    /// In words.
    pub(super) help: &'static str,
    /// Its series.
    pub(super) samples: Vec<Sample>,
}

impl Family {
    /// One that only grows.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, help, samples: Vec::new() }
    }

    /// One that goes up and down.
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { kind: Kind::Gauge, ..Self::counter(name, help) }
    }

    /// Adds a series without labels.
    #[must_use]
    pub(super) fn of(mut self, value: impl Into<Value>) -> Self {
        self.put(&[], value);
        self
    }

    /// Adds a series.
    pub(super) fn put(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value: value.into() });
    }

    /// The unit: the last word of the name, where that is one (OpenMetrics 1.0, "Units and Base Units").
    pub(super) fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| self.name.strip_suffix(unit).is_some_and(|before| before.ends_with('_')))
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
        Self::Real(value)
    }
}
