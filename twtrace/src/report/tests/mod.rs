//! Reports of a scripted recording: against the events one by one, against the live view's tracker, and as they are shown.

mod totals;
