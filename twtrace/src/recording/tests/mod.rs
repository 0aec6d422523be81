//! Owns: what must hold of a recording that is written and read again, cut off, or no recording at all.
//! Must not know: files on a disk, other programs.

mod samples;

use std::io::Cursor;

use super::*;
use samples::{events, head, namespace, recorded, seeds, tail};

fn read(bytes: &[u8]) -> Result<Recording, OpenError> {
    Recording::read(Cursor::new(bytes.to_vec()), "sample")
}

#[test]
fn every_event_and_all_around_it_comes_back() {
    let events = events(97);
    let (bytes, ends) = recorded(&events, 13);
    assert_eq!(ends.len(), 8);
    let mut recording = read(&bytes).unwrap();
    assert_eq!(*recording.head(), Head { seed_notes: 1, ..head() });
    assert_eq!(recording.seeds(), seeds(3));
    let back: Vec<_> = recording.events().collect();
    for (one, other) in events.iter().zip(&back) {
        assert_eq!(one, other);
    }
    assert_eq!(back.len(), events.len());
    assert_eq!(recording.met(), [Namespace { netns: 5, ..Namespace::default() }]);
    assert_eq!(recording.end(), Ended::Complete(Box::new(Tail { events: 97, ..tail() })));
    assert_eq!(namespace().netns, 4_026_531_840);
}
