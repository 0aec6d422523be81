//! The paths that a source file names.
//!
//! Owns: finding them, in `use` items, in code and in the arguments of macros, and telling what only tests see.
//! Must not know: where a path leads, or whether it may.

use super::source::{Source, Token, flatten};
use proc_macro2::TokenStream;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// One path, as the file names it; those of `use` items in full.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// The name that a `use` gives it here.
    pub(super) bound: Option<String>,
    /// Whether it is compiled for tests only.
    pub(super) in_test: bool,
}

/// What a file names.
#[derive(Default)]
pub(super) struct Paths {
    pub(super) found: Vec<Named>,
    /// The modules in files of their own that are compiled for tests only.
    pub(super) test_modules: Vec<String>,
    in_test: bool,
}

impl Paths {
    /// Those of a file.
    pub(super) fn of(source: &Source) -> Paths {
        let mut paths = Paths::default();
        paths.visit_file(&source.tree);
        paths
    }

    fn add(&mut self, path: String, line: usize, bound: Option<&str>) {
        self.found.push(Named { path, line, bound: bound.map(str::to_owned), in_test: self.in_test });
    }

    fn add_use(&mut self, tree: &syn::UseTree, before: &str) {
        let joined = |name: &syn::Ident| {
            if before.is_empty() { name.to_string() } else { format!("{before}::{name}") }
        };
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(path) => self.add_use(&path.tree, &joined(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.add(before.to_owned(), line, before.rsplit("::").next());
            }
            syn::UseTree::Name(name) => self.add(joined(&name.ident), line, Some(&name.ident.to_string())),
            syn::UseTree::Rename(name) => self.add(joined(&name.ident), line, Some(&name.rename.to_string())),
            syn::UseTree::Glob(_) => self.add(before.to_owned(), line, None),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, before)),
        }
    }

    /// What a macro is given is no syntax tree: names with `::` between them are taken for a path.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut flat = Vec::new();
        flatten(tokens, &mut flat);
        let mut rest = flat.as_slice();
        while let [Token { line, text }, behind @ ..] = rest {
            let mut path = text.clone();
            rest = behind;
            while let [first, second, name, behind @ ..] = rest
                && first.text == ":"
                && second.text == ":"
                && is_name(&name.text)
            {
                path = format!("{path}::{}", name.text);
                rest = behind;
            }
            if is_name(text) && path != *text {
                self.add(path, *line, None);
            }
        }
    }

    fn within(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= for_tests(attributes);
        visit(self);
        self.in_test = before;
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.within(attributes(item), |paths| visit::visit_item(paths, item));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.within(&function.attrs, |paths| visit::visit_impl_item_fn(paths, function));
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if self.in_test && module.content.is_none() {
            self.test_modules.push(module.ident.to_string());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, "");
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.add(item.ident.to_string(), item.span().start().line, None);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A single segment is a local name, unless it came in by a `use`, which is seen itself.
        if segments.len() > 1 {
            self.add(segments.join("::"), path.span().start().line, None);
        }
        visit::visit_path(self, path);
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |name: syn::Ident| name == "test";
    attributes.iter().any(|one| one.path().is_ident("cfg") && one.parse_args().is_ok_and(is_test))
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::Paths;

    fn paths(text: &str) -> Paths {
        Paths::of(&Source::parse("a.rs", text).unwrap())
    }

    #[test]
    fn uses_are_in_full_with_the_name_that_they_give() {
        let text = "use a::{self, b::C, d as e};\nuse f::*;\nfn g() { h::i(j) }\n";
        let found = paths(text).found;
        let found: Vec<_> =
            found.iter().map(|one| (one.path.as_str(), one.bound.as_deref(), one.line)).collect();
        let uses = [("a", Some("a"), 1), ("a::b::C", Some("C"), 1), ("a::d", Some("e"), 1), ("f", None, 2)];
        assert_eq!(found, [&uses[..], &[("h::i", None, 3)]].concat());
    }

    #[test]
    fn what_macros_are_given_is_looked_at() {
        let text = "fn f() {\n    assert_eq!(\n        a::b(c::d::E { x: y }, \"g::h\"),\n        <i::J as K>::L,\n    );\n}\n";
        let found: Vec<_> = paths(text).found.into_iter().map(|one| (one.path, one.line)).collect();
        assert_eq!(
            found,
            [("a::b", 3), ("c::d::E", 3), ("i::J", 4)].map(|(path, line)| (path.to_owned(), line))
        );
    }

    #[test]
    fn what_only_tests_see_is_told() {
        let text = "use a::b;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nuse c::d;\nmod e;\nimpl F {\n    #[cfg(test)]\n    fn g() { h::i() }\n}\n";
        let paths = paths(text);
        let found: Vec<_> = paths.found.iter().map(|one| (one.path.as_str(), one.in_test)).collect();
        assert_eq!(found, [("a::b", false), ("c::d", true), ("h::i", true)]);
        assert_eq!(paths.test_modules, ["tests"]);
    }
}
