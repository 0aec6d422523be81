//! Where this machine's own apt gets Debian from, and how other suites are had from there.
//!
//! Owns: reading apt's sources in both of their formats. Must not know: which suites are wanted, and what for.
//!
//! No host is named here: what the machine is set up with is taken over with its options (signed-by and others); proxies and
//! credentials are in apt's configuration, which stays in force.

use crate::arch::Arch;
use crate::sh;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// All of Debian's keys, where the package is installed: a source may name those of its own suite alone.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Options of the format with one line a source that have another name in the format with fields.
const RENAMED: [(&str, &str); 3] = [("arch", "Architectures"), ("lang", "Languages"), ("target", "Targets")];

/// Names that suites of Debian have had, or are called by.
const SUITES: [&str; 11] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// One source of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Source {
    uris: String,
    suites: Vec<String>,
    /// Fields beside those of the archive's place and parts, such as `Signed-By`; values may have several lines.
    options: Vec<(String, String)>,
}

/// The archives that may hold Debian. Others give their suites the same names, so that each has to be tried.
pub(crate) struct Mirror {
    main: Vec<Source>,
    security: Vec<Source>,
}

impl Mirror {
    /// Reads what apt is set up with.
    ///
    /// # Errors
    /// Where there is no apt, or no Debian among its sources.
    pub(crate) fn of_this_machine() -> Result<Mirror> {
        let mut sources = Vec::new();
        for file in files()? {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            sources.extend(read(&text, file.extension().is_some_and(|ext| ext == "sources")));
        }
        Mirror::among(&sources)
    }

    fn among(sources: &[Source]) -> Result<Mirror> {
        let serving = |is_wanted: fn(&str) -> bool| {
            let with = |source: &&Source| source.suites.iter().any(|suite| is_wanted(suite));
            sources.iter().filter(with).cloned().collect::<Vec<_>>()
        };
        let mirror = Mirror { main: serving(is_main), security: serving(is_security) };
        if mirror.main.is_empty() {
            bail!(
                "apt's sources on this machine name no archive of Debian; add one to /etc/apt/sources.list.d"
            );
        }
        Ok(mirror)
    }

    /// For programs that take one place and one file of keys: both of each archive. The file is missing where a source names none.
    pub(crate) fn sources(&self) -> Vec<(String, Option<PathBuf>)> {
        let all_keys = Some(PathBuf::from(KEYRING)).filter(|keys| keys.exists());
        let own_keys = |source: &Source| {
            let mut named = source.options.iter().filter(|(name, _)| name.eq_ignore_ascii_case("signed-by"));
            named.next().map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
        };
        let uris = |source: &Source| source.uris.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let both = |source: &Source| {
            let keys = own_keys(source).or_else(|| all_keys.clone());
            uris(source).into_iter().map(move |uri| (uri, keys.clone())).collect::<Vec<_>>()
        };
        self.main.iter().flat_map(both).collect()
    }

    /// Contents of files of sources, in the format with fields, each of which may serve `suite` and, where one is given, `security`.
    /// The likeliest come first.
    pub(super) fn candidates(&self, suite: &str, security: Option<&str>, arch: Arch) -> Vec<String> {
        let mut candidates = Vec::new();
        let with_security = || security.iter().flat_map(|name| self.security.iter().map(move |s| (s, *name)));
        for only_main in [false, true] {
            for has_all_keys in [false, true] {
                for main in &self.main {
                    let rest = with_security().filter(|_| !only_main);
                    let parts = std::iter::once((main, suite)).chain(rest);
                    let text =
                        parts.map(|(source, suite)| source.derived(suite, has_all_keys, arch)).collect();
                    if !candidates.contains(&text) {
                        candidates.push(text);
                    }
                }
            }
        }
        candidates
    }
}

impl Source {
    /// The same archive with another suite, as a paragraph.
    fn derived(&self, suite: &str, has_all_keys: bool, arch: Arch) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: {}\n",
            self.uris,
            arch.debian()
        );
        let has_all_keys = has_all_keys && Path::new(KEYRING).exists();
        for (name, value) in &self.options {
            let is_replaced = match name.to_ascii_lowercase().as_str() {
                "architectures" => true,
                "signed-by" => has_all_keys,
                _ => false,
            };
            if !is_replaced {
                text += &format!("{name}: {value}\n");
            }
        }
        if has_all_keys {
            text += &format!("Signed-By: {KEYRING}\n");
        }
        text + "\n"
    }
}

/// `bookworm`, also where only its updates or backports are named.
fn is_main(suite: &str) -> bool {
    let base = ["-updates", "-backports"].iter().find_map(|part| suite.strip_suffix(part));
    SUITES.contains(&base.unwrap_or(suite))
}

fn is_security(suite: &str) -> bool {
    let base = ["-security", "/updates"].iter().find_map(|part| suite.strip_suffix(part));
    base.is_some_and(|base| SUITES.contains(&base))
}

/// The files that apt reads its sources from.
fn files() -> Result<Vec<PathBuf>> {
    let mut ask = Command::new("apt-config");
    ask.args(["shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d"]);
    let answer =
        sh::read(&mut ask).context("kernels come from Debian's archive, by way of this machine's apt")?;
    let (list, parts) = (unquoted(&answer, "LIST"), unquoted(&answer, "PARTS"));
    let mut files: Vec<PathBuf> = parts
        .and_then(|folder| std::fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "list" || ext == "sources"))
        .collect();
    files.sort();
    Ok(list.map(PathBuf::from).filter(|path| path.is_file()).into_iter().chain(files).collect())
}

/// The value in a line `NAME='value'`.
fn unquoted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("='"));
    lines.next()?.strip_suffix('\'')
}

fn read(text: &str, has_fields: bool) -> Vec<Source> {
    if has_fields {
        paragraphs(text).iter().filter_map(|fields| from_fields(fields)).collect()
    } else {
        text.lines().filter_map(from_line).collect()
    }
}

/// `deb [signed-by=/x arch=amd64] URI suite main …`
fn from_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let renamed = |name: &str| {
        let known = RENAMED.iter().find(|(old, _)| *old == name);
        known.map_or(name, |(_, new)| new).to_owned()
    };
    let options = options.split_whitespace().filter_map(|option| option.split_once('='));
    words.any(|component| component == "main").then(|| Source {
        uris: uri.to_owned(),
        suites: vec![suite.to_owned()],
        options: options.map(|(name, value)| (renamed(name), value.to_owned())).collect(),
    })
}

/// The fields of each paragraph; what goes on in the next line keeps its line break.
fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut paragraphs = vec![Vec::<(String, String)>::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            paragraphs.push(Vec::new());
        } else if let Some(fields) = paragraphs.last_mut() {
            match (line.starts_with(char::is_whitespace), fields.last_mut(), line.split_once(':')) {
                (true, Some((_, value)), _) => *value += &format!("\n{line}"),
                (false, _, Some((name, value))) => fields.push((name.to_owned(), value.trim().to_owned())),
                _ => {}
            }
        }
    }
    paragraphs
}

fn from_fields(fields: &[(String, String)]) -> Option<Source> {
    let field = |wanted: &str| {
        let mut named = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.next().map(|(_, value)| value.as_str())
    };
    let has =
        |name: &str, word: &str| field(name).is_some_and(|text| text.split_whitespace().any(|w| w == word));
    let is_off = field("Enabled").is_some_and(|value| ["no", "false", "off", "0"].contains(&value));
    if is_off || !has("Types", "deb") || !has("Components", "main") {
        return None;
    }
    let own = ["Types", "URIs", "Suites", "Components", "Enabled"];
    let options = fields.iter().filter(|(name, _)| !own.iter().any(|own| name.eq_ignore_ascii_case(own)));
    Some(Source {
        uris: field("URIs")?.to_owned(),
        suites: field("Suites")?.split_whitespace().map(str::to_owned).collect(),
        options: options.cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "# a comment\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main\nSigned-By:\n -----BEGIN\n .\n abc\n\nTypes: deb\nURIs: http://mirror.example/security\n\
        Suites: bookworm-security\nComponents: main contrib\nSigned-By: /keys/x.gpg\n\nEnabled: no\nTypes: deb\n\
        URIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn fields_are_taken_over_with_their_options() {
        let mirror = Mirror::among(&read(FIELDS, true)).unwrap();
        let first = mirror.candidates("bullseye", Some("bullseye-security"), Arch::Amd64).swap_remove(0);
        assert_eq!(
            first,
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bullseye\nComponents: main\nArchitectures: amd64\n\
             Signed-By: \n -----BEGIN\n .\n abc\n\nTypes: deb\nURIs: http://mirror.example/security\n\
             Suites: bullseye-security\nComponents: main\nArchitectures: amd64\nSigned-By: /keys/x.gpg\n\n"
        );
    }

    #[test]
    fn lines_are_taken_over_with_their_options() {
        let text = "deb [arch=arm64 signed-by=/keys/x.gpg check-valid-until=no] file:/srv/debian stable main # mine\n\
            deb http://other.example/apt bookworm stable\n#deb http://off.example/debian bookworm main\n\
            deb-src http://src.example/debian bookworm main\n";
        let mirror = Mirror::among(&read(text, false)).unwrap();
        let candidates = mirror.candidates("trixie-backports", None, Arch::Amd64);
        assert!(
            candidates[0].contains("URIs: file:/srv/debian\nSuites: trixie-backports\n"),
            "{candidates:?}"
        );
        assert!(candidates[0].contains("signed-by: /keys/x.gpg\ncheck-valid-until: no\n"), "{candidates:?}");
        assert!(!candidates.iter().any(|text| text.contains("arm64") || text.contains(".example")));
    }

    #[test]
    fn every_archive_that_may_be_debians_is_tried_and_at_last_without_security() {
        let text = "deb http://browser.example/apt stable main\ndeb http://mirror.example/debian bookworm main\n\
            deb http://mirror.example/security bookworm-security main\n";
        let candidates = Mirror::among(&read(text, false)).unwrap().candidates(
            "trixie",
            Some("trixie-security"),
            Arch::Amd64,
        );
        assert!(candidates[0].contains("browser.example") && candidates[1].contains("mirror.example/debian"));
        assert!(candidates.last().unwrap().matches("URIs").count() == 1, "{candidates:?}");
        assert!(Mirror::among(&read("deb http://mirror.example/ubuntu noble main\n", false)).is_err());
    }

    #[test]
    fn places_have_the_keys_that_their_source_names() {
        let text = "deb [signed-by=/keys/x.gpg] http://mirror.example/debian bookworm main\n";
        let sources = Mirror::among(&read(text, false)).unwrap().sources();
        assert_eq!(
            sources,
            [("http://mirror.example/debian".to_owned(), Some(PathBuf::from("/keys/x.gpg")))]
        );
    }

    #[test]
    fn apts_answer_is_unquoted() {
        let answer = "LIST='/etc/apt/sources.list'\nPARTS='/etc/apt/sources.list.d/'\n";
        assert_eq!(unquoted(answer, "PARTS"), Some("/etc/apt/sources.list.d/"));
        assert_eq!(unquoted(answer, "OTHER"), None);
    }
}
