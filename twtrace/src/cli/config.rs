//! Owns: options from a TOML file: the same as the flags, by their names.
//! Must not know: any particular option.
//!
//! There is one definition of each option, the flag's. What a file says is put before what was typed, as if it had been typed; where both
//! name an option, what was typed counts.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::Usage;
use crate::model::escape::{self, printable};
use crate::model::ordering::Ordered as _;

/// Longest file, in bytes.
const LONGEST: u64 = 1 << 20;
/// The option that names the file.
const ITSELF: &str = "config";

/// What was typed for the command `name`, with what the file at `path` says before it.
pub(super) fn with_file(
    command: &Command,
    name: &str,
    path: &Path,
    typed: &[OsString],
) -> Result<Vec<OsString>, Usage> {
    let shown = escape::path(path);
    let text = read(path).map_err(|error| Usage(format!("cannot read --config {shown}: {error}")))?;
    let Some(of_name) = command.find_subcommand(name) else { return Ok(typed.to_vec()) };
    let matches = command.clone().get_matches_from(typed);
    let was_typed = |option: &Arg| {
        let sources =
            matches.subcommand_matches(name).map(|matches| matches.value_source(option.get_id().as_str()));
        sources.flatten() == Some(ValueSource::CommandLine)
    };
    let mut words = options(&text, of_name, was_typed).map_err(|error| Usage(format!("{shown}: {error}")))?;
    let at = typed.iter().position(|word| word == name).map_or(typed.len(), |at| at + 1);
    words.splice(0..0, typed[..at].iter().cloned());
    words.extend_from_slice(&typed[at..]);
    Ok(words)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// A file's options as words of a command line, but for those that were typed. Each is tried by itself, so that an error names its line.
fn options(text: &str, command: &Command, was_typed: impl Fn(&Arg) -> bool) -> Result<Vec<OsString>, String> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        format!("line {line}: {}", printable(error.message()))
    })?;
    let mut entries: Vec<(&Spanned<_>, &Spanned<DeValue<'_>>)> = table.get_ref().iter().collect();
    entries.order_by_key(|(key, _)| key.span().start);
    let mut words = Vec::new();
    for (key, value) in entries {
        let (line, name): (usize, &str) = (line_of(key.span().start), key.get_ref());
        let shown = printable(name);
        let option = command.get_arguments().find(|option| option.get_long() == Some(name) && name != ITSELF);
        let option =
            option.filter(|option| !matches!(option.get_action(), ArgAction::Help | ArgAction::HelpLong));
        let Some(option) = option else {
            return Err(format!(
                "line {line}: there is no option '{shown}'; `twtrace {} --help` lists them",
                command.get_name()
            ));
        };
        let of_option =
            typed_as(option, name, value.get_ref()).map_err(|why| format!("line {line}: {shown}: {why}"))?;
        let tried = command
            .clone()
            .try_get_matches_from(std::iter::once(command.get_name().to_owned()).chain(of_option.clone()));
        if let Err(error) = tried {
            let said = error.to_string();
            let said = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            return Err(format!("line {line}: {shown}: {said}"));
        }
        if !was_typed(option) {
            words.extend(of_option.into_iter().map(OsString::from));
        }
    }
    Ok(words)
}

/// A value as it would be typed.
fn typed_as(option: &Arg, name: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let is_flag = !option.get_action().takes_values();
    match value {
        DeValue::Boolean(is_on) if is_flag => Ok(is_on.then(|| format!("--{name}")).into_iter().collect()),
        _ if is_flag => Err("true or false is wanted".to_owned()),
        DeValue::Array(values) if matches!(option.get_action(), ArgAction::Append) => {
            values.iter().map(|value| Ok(format!("--{name}={}", plain(value.get_ref())?))).collect()
        }
        value => Ok(vec![format!("--{name}={}", plain(value)?)]),
    }
}

fn plain(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Float(number) => Ok(number.to_string()),
        _ => Err("a text or a number is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        let command = command();
        let serve = command.find_subcommand("serve").unwrap();
        let words = options(text, serve, |option| option.get_long() == Some("keep"))?;
        Ok(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn what_a_file_says_is_as_if_it_was_typed() {
        let text = "# why\nlisten = \"127.0.0.1:9479\"\ntop = 17\nipv4 = true\nverbose = false\n\
                    comm = [\"nginx\", \"php-fpm\"]\nrotate-every = \"30m\"\n";
        let want = [
            "--listen=127.0.0.1:9479",
            "--top=17",
            "--ipv4",
            "--comm=nginx",
            "--comm=php-fpm",
            "--rotate-every=30m",
        ];
        assert_eq!(words(text).unwrap(), want);
    }

    #[test]
    fn what_was_typed_counts() {
        assert_eq!(words("keep = 7\ntop = 3\n").unwrap(), ["--top=3"]);
    }

    #[test]
    fn errors_name_the_key_and_the_line() {
        for (text, want) in [
            ("top = 3\n\nlisten_ = 1\n", "line 3: there is no option 'listen_'"),
            ("config = \"x\"\n", "line 1: there is no option 'config'"),
            ("help = true\n", "line 1: there is no option 'help'"),
            ("[serve]\ntop = 3\n", "line 1: there is no option 'serve'"),
            ("top = 3\nkeep = \"many\"\n", "line 2: keep: invalid value 'many' for '--keep <N>'"),
            ("verbose = 1\n", "line 1: verbose: true or false is wanted"),
            ("top = [1, 2]\n", "line 1: top: a text or a number is wanted"),
            ("top = { a = 1 }\n", "line 1: top: a text or a number is wanted"),
            ("top = 3\ntop = 5\n", "line 2: duplicate key"),
            ("top = \n", "line 1: "),
            ("\"\\u001b[31m\" = 1\n", "line 1: there is no option '\\x1b[31m'"),
        ] {
            let said = words(text).unwrap_err();
            assert!(said.starts_with(want), "{text:?}: {said}");
        }
    }

    #[test]
    fn the_command_line_is_made_of_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("twtrace.toml");
        std::fs::write(&path, "top = 17\nkeep = 3\n").unwrap();
        let typed = ["twtrace", "serve", "--keep=5", "--config=x"].map(OsString::from);
        let all = with_file(&command(), "serve", &path, &typed).unwrap();
        assert_eq!(all, ["twtrace", "serve", "--top=17", "--keep=5", "--config=x"].map(OsString::from));
        let said = with_file(&command(), "serve", &dir.path().join("none"), &typed).unwrap_err().to_string();
        assert!(said.contains("none") && said.contains("--config"), "{said}");
    }
}
