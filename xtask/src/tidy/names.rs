//! Owns: which words names are not made of.
//! Must not know: other rules.

use syn::visit::{self, Visit};

use super::Complaint;
use super::source::Source;

/// Words that say nothing to somebody who knows ss, perf or bpftool, or too many things: they are in no name.
const OTHER_WORDS: [&str; 18] = [
    "world", "desk", "visitor", "look", "looks", "place", "places", "people", "scene", "ink", "face",
    "faces", "brood", "loose", "play", "plays", "played", "player",
];

/// Terms of the field that have one of them in them.
const TERMS: [&str; 2] = ["look_up", "in_place"];

/// No name has one of [`OTHER_WORDS`] in it.
pub(super) fn are_of_the_field(source: &Source) -> Vec<Complaint> {
    let mut names = Names { found: Vec::new() };
    names.visit_file(&source.tree);
    let is_other = |name: &str| {
        let words = TERMS.iter().fold(snake(name), |words, term| words.replace(term, ""));
        words.split('_').any(|word| OTHER_WORDS.contains(&word))
    };
    let others = names.found.into_iter().filter(|(name, _)| is_other(name));
    others
        .map(|(name, line)| source.complain(line, format!("`{name}`: see the glossary in ARCHITECTURE.md")))
        .collect()
}

/// `SomeName` and `SOME_NAME` as `some_name`.
fn snake(name: &str) -> String {
    let mut words = String::new();
    let mut was_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && was_lower {
            words.push('_');
        }
        was_lower = letter.is_lowercase();
        words.extend(letter.to_lowercase());
    }
    words
}

/// The names in a file, of what it defines and of what it uses. Names of tests are sentences.
struct Names {
    found: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, name: &'ast syn::Ident) {
        self.found.push((name.to_string(), name.span().start().line));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            visit::visit_block(self, &item.block);
        } else {
            visit::visit_item_fn(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::are_of_the_field;

    fn lines(sample: &str) -> Vec<usize> {
        let source = Source::parse("a.rs", sample).unwrap();
        are_of_the_field(&source).into_iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn names_are_those_of_the_field() {
        let sample = "struct World { desk: u8 }\nmod face {}\nfn f(look: u8) {\n    let people = 1;\n}\n";
        assert_eq!(lines(sample), [1, 1, 2, 3, 4]);
        let sample = "fn look() {}\nconst A_PLACE: u8 = 1;\nenum A { FirstPlayer }\ntype Scene = u8;\ntrait OnDesk {}\n";
        assert_eq!(lines(sample), [1, 2, 3, 4, 5]);
        let sample = "impl A {\n    fn play(&self) {}\n}\ntrait B {\n    fn places(&self);\n}\n";
        assert_eq!(lines(sample), [2, 5]);
        let sample = "struct Tracker { owner: u8 }\nfn look_up(surface: u8) {}\nstruct LookUp;\nfn drop_in_place() {}\n";
        assert!(lines(sample).is_empty());
        assert!(lines("#[test]\nfn it_looks_like_a_place() {}\nfn replay() {}\n").is_empty());
    }
}
