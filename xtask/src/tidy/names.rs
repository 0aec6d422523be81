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

/// What a file names: types, modules, functions, constants, fields and variables. Names of tests are sentences.
struct Names {
    found: Vec<(String, usize)>,
}

impl Names {
    fn add(&mut self, name: &syn::Ident) {
        self.found.push((name.to_string(), name.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !item.attrs.iter().any(|attribute| attribute.path().is_ident("test")) {
            self.add(&item.sig.ident);
        }
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.add(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident);
        visit::visit_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.add(&item.ident);
        visit::visit_item_static(self, item);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.add(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.add(&item.ident);
        visit::visit_item_mod(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|name| self.add(name));
        visit::visit_field(self, field);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.add(&pattern.ident);
        visit::visit_pat_ident(self, pattern);
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
