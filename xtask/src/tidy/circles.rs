//! No circles among modules.
//!
//! Owns: which module uses which, and the circles in that. Of two modules it looks at where their ways from the crate's root part: what
//! `host::net::netns` uses of `host::identity::pids` is a use of `identity` by its sibling `net`. A module and what it contains may use one
//! another, for a child is a part of its parent. What only tests use does not count. What came into a module by `use` is looked for
//! where it came from, so that a re-export hides nothing. Must not know: which layer is above which (`layers` does).

use super::Complaint;
use super::paths::Paths;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// How often a name is looked for where it came from: what re-exports itself has no end.
const FOLLOWED: usize = 8;

/// The modules of all crates, by their full names, which begin with that of the crate's folder.
#[derive(Default)]
pub(super) struct Modules {
    all: BTreeMap<String, Module>,
    for_tests: BTreeSet<String>,
}

/// A path that a file names, the file, and the line.
type Mention = (String, String, usize);

#[derive(Default)]
struct Module {
    named: Vec<Mention>,
    /// The paths that its `use` items gave a name.
    bound: HashMap<String, String>,
}

/// Who uses whom among the children of one module, each with the first place where it does.
type Uses<'a> = BTreeMap<(String, String), &'a Mention>;

impl Modules {
    /// Takes in what a file names; what is no module of a crate is left out.
    pub(super) fn add(&mut self, file: &str, paths: &Paths) {
        let Some(name) = module_of(file) else { return };
        let tests = paths.test_modules.iter().map(|child| format!("{name}::{child}"));
        self.for_tests.extend(tests);
        let module = self.all.entry(name).or_default();
        for named in paths.found.iter().filter(|named| !named.in_test) {
            module.named.push((named.path.clone(), file.to_owned(), named.line));
            module.bound.extend(named.bound.iter().map(|name| (name.clone(), named.path.clone())));
        }
    }

    /// Complaints about circles, each at the first place where one of its modules uses the next.
    pub(super) fn complaints(&self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (parent, uses) in self.uses() {
            for circle in circles(&uses) {
                complaints.push(complain(&parent, &circle, &uses));
            }
        }
        complaints
    }

    /// Who uses whom among the children of each module.
    fn uses(&self) -> BTreeMap<String, Uses<'_>> {
        let mut all: BTreeMap<String, Uses> = BTreeMap::new();
        for (from, module) in &self.all {
            if self.is_for_tests(from) {
                continue;
            }
            for mention in &module.named {
                let to = self.target(from, &mention.0, FOLLOWED);
                if let Some((parent, user, used)) = to.and_then(|to| parted(from, &to)) {
                    all.entry(parent).or_default().entry((user, used)).or_insert(mention);
                }
            }
        }
        all
    }

    fn is_for_tests(&self, module: &str) -> bool {
        self.for_tests.iter().any(|test| {
            module.strip_prefix(test.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
    }

    /// The module in which what a path names is at home; `None` where the path is none of this crate.
    fn target(&self, from: &str, path: &str, followed: usize) -> Option<String> {
        let mut at = from.to_owned();
        let mut names = path.split("::");
        let mut found = false;
        while let Some(name) = names.next() {
            match name {
                "crate" => at.truncate(at.find("::").unwrap_or(at.len())),
                "self" => {}
                "super" => at.truncate(at.rfind("::")?),
                _ => {
                    let child = format!("{at}::{name}");
                    if self.all.contains_key(&child) {
                        at = child;
                    } else if let Some(origin) = self.origin(&at, name)
                        && followed > 0
                    {
                        let path: Vec<&str> = std::iter::once(origin).chain(names).collect();
                        return self.target(&at, &path.join("::"), followed - 1);
                    } else {
                        return found.then_some(at);
                    }
                }
            }
            found = true;
        }
        Some(at)
    }

    fn origin(&self, module: &str, name: &str) -> Option<&str> {
        self.all.get(module)?.bound.get(name).map(String::as_str)
    }
}

/// The name of the module that a file is; `None` where it is in no crate's `src`.
fn module_of(path: &str) -> Option<String> {
    let (name, file) = path.strip_suffix(".rs")?.split_once("/src/")?;
    Some(match file {
        "lib" | "main" => name.to_owned(),
        _ => format!("{name}::{}", file.replace('/', "::")),
    })
}

/// The module in which the ways to two others part, and which of its children lead there; `None` where one contains the other.
fn parted(from: &str, to: &str) -> Option<(String, String, String)> {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split("::").collect(), to.split("::").collect());
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    Some((from[..shared].join("::"), (*from.get(shared)?).to_owned(), (*to.get(shared)?).to_owned()))
}

/// The shortest circles of which each use is a part; each begins with the first of its modules by name.
fn circles(uses: &Uses) -> BTreeSet<Vec<String>> {
    let mut circles = BTreeSet::new();
    for (user, used) in uses.keys() {
        if let Some(mut circle) = way(uses, used, user) {
            let first = circle.iter().enumerate().min_by_key(|(_, name)| *name).map_or(0, |(at, _)| at);
            circle.rotate_left(first);
            circles.insert(circle);
        }
    }
    circles
}

/// The shortest way from a module to another along what they use.
fn way(uses: &Uses, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = VecDeque::from([vec![from]]);
    while let Some(way) = ways.pop_front() {
        let end = *way.last()?;
        if end == to {
            return Some(way.into_iter().map(str::to_owned).collect());
        }
        for (_, next) in uses.keys().filter(|(user, _)| user == end) {
            if seen.insert(next) {
                ways.push_back([way.clone(), vec![next]].concat());
            }
        }
    }
    None
}

fn complain(parent: &str, circle: &[String], uses: &Uses) -> Complaint {
    // Where the module at this place of the circle uses the next.
    let mention = |at: usize| {
        let pair = (circle[at].clone(), circle[(at + 1) % circle.len()].clone());
        uses[&pair]
    };
    let names = circle.iter().chain(circle.first()).map(String::as_str).collect::<Vec<_>>().join(" → ");
    let mentions: Vec<String> = (0..circle.len())
        .map(mention)
        .map(|(path, file, line)| format!("{file}:{line} (`{path}`)"))
        .collect();
    let (_, file, line) = mention(0);
    let text = format!(
        "a circle in {parent}: {names}, by {}; move what both need below both, or to their parent",
        mentions.join(" and ")
    );
    Complaint { path: file.clone(), line: *line, text }
}

#[cfg(test)]
mod tests {
    use super::super::{Complaint, paths::Paths, source::Source};
    use super::Modules;

    fn complaints(files: &[(&str, &str)]) -> Vec<Complaint> {
        let mut modules = Modules::default();
        for (path, text) in files {
            modules.add(path, &Paths::of(&Source::parse(path, text).unwrap()));
        }
        modules.complaints()
    }

    /// The circles of modules in the folder `twtrace/src/host`, in words.
    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let paths: Vec<String> = files.iter().map(|(name, _)| format!("twtrace/src/{name}.rs")).collect();
        let files: Vec<_> = paths.iter().zip(files).map(|(path, (_, text))| (path.as_str(), *text)).collect();
        let circle = |complaint: Complaint| {
            let circle = complaint.text.strip_prefix("a circle in ").unwrap();
            circle.split_once(", by ").unwrap().0.to_owned()
        };
        complaints(&files).into_iter().map(circle).collect()
    }

    #[test]
    fn two_that_use_one_another_are_told_with_both_places() {
        let found = complaints(&[
            ("twtrace/src/host.rs", "mod a;\nmod b;\n"),
            ("twtrace/src/host/a.rs", "\nuse super::b::B;\nuse super::b::C;\n"),
            ("twtrace/src/host/b.rs", "\n\nfn f() {\n    crate::host::a::g();\n}\n"),
        ]);
        let [Complaint { path, line, text }] = &found[..] else { panic!("{found:?}") };
        assert_eq!((path.as_str(), *line), ("twtrace/src/host/a.rs", 2));
        let circle = "a circle in twtrace::host: a → b → a, by twtrace/src/host/a.rs:2 (`super::b::B`) \
            and twtrace/src/host/b.rs:4 (`crate::host::a::g`); ";
        assert!(text.starts_with(circle), "{text}");
    }

    #[test]
    fn what_is_in_two_modules_is_a_use_of_the_modules() {
        let (host, lib) = (("host", "mod identity;\nmod net;\n"), ("lib", "mod host;\n"));
        let (net, identity) =
            (("host/net", "mod mounts;\nmod netns;\n"), ("host/identity", "mod cgroup;\nmod pids;\n"));
        let netns = ("host/net/netns", "use crate::host::identity::pids::are_the_kernels;\n");
        let cgroup = ("host/identity/cgroup", "fn f() { super::super::net::mounts::parse() }\n");
        let rest = [("host/net/mounts", ""), ("host/identity/pids", "")];
        let files = [lib, host, net, identity, netns, cgroup, rest[0], rest[1]];
        assert_eq!(circles(&files), ["twtrace::host: identity → net → identity"]);
        // The same without one of the two.
        assert!(circles(&[lib, host, net, identity, netns, rest[0], rest[1]]).is_empty());
    }

    #[test]
    fn no_re_export_macro_or_third_hides_one() {
        let host = ("host", "mod a;\nmod b;\nmod c;\npub use b::B as Other;\n");
        let (b, c) = (
            ("host/b", "use super::c;\nfn f() { c::g() }\n"),
            ("host/c", "fn f() { assert!(!super::a::g()) }\n"),
        );
        for a in
            ["use super::Other;\n", "use crate::host;\nfn f(b: host::Other) {}\n", "use super::b as own;\n"]
        {
            assert_eq!(circles(&[host, ("host/a", a), b, c]), ["twtrace::host: a → b → c → a"], "{a}");
        }
        assert!(circles(&[host, ("host/a", "use super::Else;\n"), b, c]).is_empty());
    }

    #[test]
    fn each_circle_is_told_once() {
        let host = ("host", "mod a;\nmod b;\nmod c;\n");
        let (a, b) = (("host/a", "use super::b;\n"), ("host/b", "use super::{a, c};\n"));
        let c = ("host/c", "use super::b;\n");
        assert_eq!(circles(&[host, a, b, c]), ["twtrace::host: a → b → a", "twtrace::host: b → c → b"]);
    }

    #[test]
    fn parents_children_tests_and_other_crates_are_no_circle() {
        let host =
            ("host", "mod a;\nmod b;\n#[cfg(test)]\nmod script;\nuse a::A;\nuse b::B;\nstruct Host;\n");
        let a = ("host/a", "use super::Host;\nuse super::b::B;\n");
        let b = ("host/b", "use super::Host;\n#[cfg(test)]\nmod tests {\n    use crate::host::a::A;\n}\n");
        let script = ("host/script", "use super::a::A;\n");
        let user = ("host/a/user", "use crate::host::script;\nuse tokio::a::b;\n");
        assert!(circles(&[host, a, b, script, user]).is_empty());
        let elsewhere =
            [("twtrace/tests/a.rs", "use super::b;\n"), ("twtrace/tests/b.rs", "use super::a;\n")];
        assert!(complaints(&elsewhere).is_empty());
    }

    #[test]
    fn every_crate_is_looked_at() {
        for name in ["twtrace-bench", "another"] {
            let paths = ["a", "b"].map(|module| format!("{name}/src/{module}.rs"));
            let found = complaints(&[(&paths[0], "use crate::b;\n"), (&paths[1], "use crate::a;\n")]);
            let circle = format!("a circle in {name}: a → b → a, by ");
            assert!(matches!(&found[..], [only] if only.text.starts_with(&circle)), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_name_that_leads_to_itself_leads_nowhere() {
        assert!(circles(&[("lib", "mod a;\n"), ("a", "use b::c as b;\nfn f() { b::d() }\n")]).is_empty());
    }
}
