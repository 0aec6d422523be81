//! Reports of a scripted recording: against the events one by one, against the live view's tracker, and as they are shown.

mod browser;
mod columns;
mod count;
mod findings;
pub(crate) mod hosts;
mod named;
mod page;
mod same;
mod shown;
mod totals;

use super::sample::sample;
use super::{By, Options, Report, read};
use crate::model::filter::Filter;

/// The report of the sample, with every table.
fn whole() -> Report {
    let filters = vec!["--dport 5432".to_owned()];
    let options = Options {
        file: "/tmp/sample.twt".to_owned(),
        filters,
        filter: Filter::default(),
        by: By::ALL.to_vec(),
        ..Options::default()
    };
    read(sample(701).recording(), &options).unwrap()
}
