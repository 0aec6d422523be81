//! Rules that hold for every file and every folder.
//!
//! Owns: sizes, forbidden words, notes that must be there. Must not know: which part may use which (`layers` does).

use std::collections::BTreeMap;

use super::Complaint;
use super::source::Source;
use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// Lines of a file, at most.
const FILE_LINES: usize = 400;

/// Lines of a module that has little to itself. In a folder of several most have more, or they would be fewer modules with one purpose each.
const FEW_LINES: usize = 80;

/// Modules of a folder in which most may not be short.
const SEVERAL: usize = 4;

/// Lines of a module and its only child, from which on they may be two files.
const TWO_FILES: usize = 200;

/// Lines of a function from `fn` to its closing brace, at most.
const FUNCTION_LINES: usize = 60;

/// How many lines above an `unsafe` its SAFETY note may begin.
const SAFETY_ABOVE: usize = 6;

/// How many lines above a sleep its reason may stand.
const REASON_ABOVE: usize = 3;

/// Complaints of all rules.
pub(super) fn all(source: &Source) -> Vec<Complaint> {
    let rules = [
        opens_with_its_purpose,
        is_short,
        functions_are_short,
        is_finished,
        super::names::are_of_the_field,
        keeps_lints,
        says_why_safe,
        polls,
    ];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// Complaints about folders that are scattered, of all files and their lines. A test, and a module that has children, may be as short as it is.
pub(super) fn folders(files: &BTreeMap<String, usize>) -> Vec<Complaint> {
    let mut folders: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for (path, lines) in files.iter().filter(|(path, _)| !is_test(path)) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            folders.entry(folder).or_default().push((path, *lines));
        }
    }
    let complaint = |(folder, modules): (&&str, &Vec<(&str, usize)>)| {
        let has_children = |path: &str| folders.contains_key(path.trim_end_matches(".rs"));
        let lines = modules.iter().filter(|(path, _)| !has_children(path)).map(|(_, lines)| *lines);
        let lines: Vec<usize> = lines.collect();
        let short = lines.iter().filter(|lines| **lines < FEW_LINES).count();
        let parent = format!("{folder}.rs");
        if lines.len() >= SEVERAL && short * 2 > lines.len() {
            let text =
                format!("{short} of {} modules have less than {FEW_LINES} lines: join some", lines.len());
            return Some(Complaint { path: (*folder).to_owned(), line: 1, text });
        }
        let together = files.get(&parent)? + lines.first()?;
        (modules.len() == 1 && together < TWO_FILES).then(|| {
            let text = format!("it and its only child have {together} lines: one file does");
            Complaint { path: parent, line: 1, text }
        })
    };
    folders.iter().filter_map(complaint).collect()
}

/// Whether a file has tests and nothing else.
pub(super) fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn opens_with_its_purpose(source: &Source) -> Vec<Complaint> {
    if source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.complain(1, "a file opens with `//!`: what it owns and what it must not know")]
}

fn is_short(source: &Source) -> Vec<Complaint> {
    let lines = source.lines.len();
    if lines <= FILE_LINES {
        return Vec::new();
    }
    vec![
        source.complain(FILE_LINES, format!("{lines} lines; split the file by topic (at most {FILE_LINES})")),
    ]
}

fn functions_are_short(source: &Source) -> Vec<Complaint> {
    let mut functions = Functions { found: Vec::new() };
    functions.visit_file(&source.tree);
    let long = functions.found.into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES);
    long.map(|(name, line, lines)| {
        source.complain(line, format!("`{name}` has {lines} lines; split it (at most {FUNCTION_LINES})"))
    })
    .collect()
}

/// Name, first line and length of each function with a body.
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: Span) {
        let (first, last) = (signature.span().start().line, body.end().line);
        self.found.push((signature.ident.to_string(), first, last + 1 - first));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, function.block.span());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, function.block.span());
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body.span());
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn is_finished(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for word in ["todo", "unimplemented"] {
        let lines = source.sequences(&[word, "!"]);
        complaints
            .extend(lines.into_iter().map(|line| source.complain(line, format!("`{word}!` is no code"))));
    }
    let ignored = source.sequences(&["#", "[", "ignore"]);
    complaints.extend(ignored.into_iter().map(|line| {
        source.complain(
            line,
            "an ignored test tests nothing; let it find out at run time and say why it is skipped",
        )
    }));
    complaints
}

fn keeps_lints(source: &Source) -> Vec<Complaint> {
    let mut lines = source.sequences(&["#", "[", "allow", "("]);
    lines.extend(source.sequences(&["#", "!", "[", "allow", "("]));
    let text = "use `#[expect(…, reason = \"…\")]`, which speaks up when it is needed no longer";
    lines.into_iter().map(|line| source.complain(line, text)).collect()
}

fn says_why_safe(source: &Source) -> Vec<Complaint> {
    let mut lines = source.sequences(&["unsafe", "{"]);
    lines.extend(source.sequences(&["unsafe", "impl"]));
    lines.retain(|line| !source.has_comment_near(*line, SAFETY_ABOVE, "SAFETY:"));
    lines.into_iter().map(|line| source.complain(line, "`unsafe` without a `// SAFETY:` note")).collect()
}

fn polls(source: &Source) -> Vec<Complaint> {
    // Scenarios wait for the kernel's own timers.
    if source.path.starts_with("twtrace-scenarios/") {
        return Vec::new();
    }
    let mut lines = source.sequences(&["thread", ":", ":", "sleep"]);
    lines.retain(|line| !source.has_comment_near(*line, REASON_ABOVE, "poll: "));
    let text = "wait for a condition; a helper that polls one says `// poll: ` and why it cannot be told";
    lines.into_iter().map(|line| source.complain(line, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Complaint, source::Source};
    use super::{all, folders};

    fn complaints(path: &str, text: &str) -> Vec<Complaint> {
        all(&Source::parse(path, text).unwrap())
    }

    /// The lines complained of, with `//!` put in front of the sample (so its own first line is 2).
    fn lines(path: &str, sample: &str) -> Vec<usize> {
        let text = format!("//! Sample.\n{sample}");
        complaints(path, &text).into_iter().map(|complaint| complaint.line).collect()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(complaints("a.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(complaints("a.rs", "\n//! Late.\n").len(), 1);
        assert!(complaints("a.rs", "//! Fine.\n").is_empty());
    }

    #[test]
    fn files_and_functions_have_an_end() {
        assert_eq!(lines("a.rs", &"// x\n".repeat(400)), [400]);
        assert!(lines("a.rs", &"// x\n".repeat(399)).is_empty());
        let body = |n: usize| {
            format!("struct A;\nimpl A {{\n    fn f() {{\n{}    }}\n}}\n", "        g();\n".repeat(n))
        };
        assert_eq!(lines("a.rs", &body(59)), [4]);
        assert!(lines("a.rs", &body(58)).is_empty());
    }

    /// What is complained of in a crate with these files.
    fn scattered(files: &[(&str, usize)]) -> Vec<String> {
        let files = files.iter().map(|(path, lines)| ((*path).to_owned(), *lines)).collect();
        folders(&files).into_iter().map(|complaint| complaint.path).collect()
    }

    #[test]
    fn most_modules_of_a_folder_are_no_scraps() {
        let folder = |lines: [usize; 4]| {
            let [b, c, d, e] = lines;
            scattered(&[("a.rs", 9), ("a/b.rs", b), ("a/c.rs", c), ("a/d.rs", d), ("a/e.rs", e)])
        };
        assert_eq!(folder([79, 79, 79, 300]), ["a"]);
        assert!(folder([79, 79, 80, 300]).is_empty());
        assert!(scattered(&[("a/b.rs", 30), ("a/c.rs", 30), ("a/d.rs", 30)]).is_empty());
        let tests = [("a/b.rs", 90), ("a/tests/b.rs", 9), ("a/tests/c.rs", 9), ("a/tests/d.rs", 9)];
        assert!(scattered(&[&tests[..], &[("a/tests/e.rs", 9), ("a/tests.rs", 9)]].concat()).is_empty());
        // Those that have children say what is in them.
        let parents = [("a/b.rs", 9), ("a/c.rs", 9), ("a/d.rs", 9), ("a/e.rs", 90), ("a/f.rs", 90)];
        let children = [("a/b/x.rs", 300), ("a/c/x.rs", 300), ("a/d/x.rs", 300)];
        assert!(scattered(&[&parents[..], &children].concat()).is_empty());
    }

    #[test]
    fn an_only_child_has_something_to_itself() {
        assert_eq!(scattered(&[("a/b.rs", 100), ("a/b/c.rs", 99)]), ["a/b.rs"]);
        assert!(scattered(&[("a/b.rs", 100), ("a/b/c.rs", 100)]).is_empty());
        assert!(scattered(&[("a/b.rs", 10), ("a/b/c.rs", 10), ("a/b/d.rs", 10)]).is_empty());
        assert!(scattered(&[("a/b.rs", 10), ("a/b/tests.rs", 10)]).is_empty());
    }

    #[test]
    fn nothing_is_left_for_later() {
        assert_eq!(lines("a.rs", "fn f() {\n    todo!()\n}\n"), [3]);
        assert_eq!(lines("a.rs", "fn f() { unimplemented!(\"x\") }\n"), [2]);
        assert_eq!(lines("a.rs", "#[ignore = \"slow\"]\nfn f() {}\n"), [2]);
        assert!(lines("a.rs", "/// todo!() in words\nconst A: &str = \"todo!()\";\n").is_empty());
    }

    #[test]
    fn lints_are_expected_and_not_allowed() {
        assert_eq!(lines("a.rs", "#[allow(dead_code)]\nfn f() {}\n"), [2]);
        assert_eq!(lines("a.rs", "#![allow(dead_code)]\n"), [2]);
        assert!(lines("a.rs", "#[expect(dead_code, reason = \"x\")]\nfn f() {}\n").is_empty());
    }

    #[test]
    fn unsafe_code_says_why_it_is_safe() {
        assert_eq!(lines("a.rs", "fn f() {\n    unsafe { g() }\n}\n"), [3]);
        assert_eq!(lines("a.rs", "unsafe impl A for B {}\n"), [2]);
        assert!(lines("a.rs", "fn f() {\n    // SAFETY: fine.\n    unsafe { g() }\n}\n").is_empty());
        assert_eq!(lines("a.rs", "const S: &str = \"SAFETY:\";\nunsafe impl A for B {}\n"), [3]);
        assert!(lines("a.rs", "unsafe fn f() {}\n").is_empty());
    }

    #[test]
    fn nobody_sleeps_without_a_reason() {
        let sleep = "fn f() {\n    std::thread::sleep(TICK);\n}\n";
        assert_eq!(lines("a.rs", sleep), [3]);
        assert!(lines("twtrace-scenarios/src/a.rs", sleep).is_empty());
        let reason = "fn f() {\n    // poll: the kernel tells nobody.\n    std::thread::sleep(TICK);\n}\n";
        assert!(lines("a.rs", reason).is_empty());
    }
}
