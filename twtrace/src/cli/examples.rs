//! Owns: the examples that stand in each command's `--help` and man page.
//! Must not know: what the commands do.

use clap::Command;

/// A command (none: `twtrace` alone; one below another has both names), and lines of what it is for and how it is typed.
pub(super) const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            ("who makes TIME_WAIT sockets now (q quits)", "sudo twtrace"),
            (
                "whose sockets a reset ends, as JSON, for 10 seconds",
                "sudo twtrace --reason reset --json --duration 10s",
            ),
            (
                "all PHP workers, but not what they do with the local machine",
                "sudo twtrace --comm 'php-fpm*' --not-peer 127.0.0.0/8",
            ),
            ("commit and BPF object of this program", "twtrace --version --verbose"),
        ],
    ),
    (
        "events",
        &[
            (
                "who uses ports towards a network, for 10 seconds",
                "sudo twtrace events --role client --peer 10.0.0.0/8 --duration 10s",
            ),
            (
                "the first 100 failures and closes of a group of services",
                "sudo twtrace events --count 100 --cgroup 'system.slice/web*'",
            ),
            (
                "a minute of nginx and haproxy, for jq",
                "sudo twtrace events --comm nginx,haproxy --duration 1m --json",
            ),
        ],
    ),
    (
        "list",
        &[
            ("the sockets of this network namespace", "twtrace list"),
            ("sockets per TCP state, and free ports", "twtrace list --summary --all-netns"),
        ],
    ),
    (
        "record",
        &[
            ("a load test", "sudo twtrace record -o load.twt -- ab -n 10000 http://127.0.0.1/"),
            (
                "for a week, at most 16 files of 64 MiB",
                "sudo twtrace record -o load.twt --rotate-size 64M --keep 16 --duration 7d",
            ),
        ],
    ),
    (
        "report",
        &[
            ("what a recording holds", "twtrace report load.twt --by process,peer"),
            ("as a page for a browser", "twtrace report load.twt --html load.html"),
            ("which of many hosts", "twtrace report day/*.twt --by host"),
        ],
    ),
    (
        "diff",
        &[
            ("what a change has changed", "twtrace diff before.twt after.twt"),
            ("all hosts of two days", "twtrace diff monday/ tuesday/"),
            ("as a gate in CI", "twtrace diff before.twt after.twt --fail-if 'created/s > +10%'"),
        ],
    ),
    ("replay", &[("ten times slower than recorded", "twtrace replay load.twt --speed 0.1x")]),
    (
        "drain",
        &[("until at most 100 sockets of the last run are left", "twtrace drain --below 100 --timeout 2m")],
    ),
    (
        "export",
        &[
            ("for DuckDB and pandas", "twtrace export load.twt --to parquet -o load.parquet"),
            ("for a spreadsheet", "twtrace export load.twt --to csv -o load.csv --reason reset"),
        ],
    ),
    ("check", &[("can twtrace work on this machine, and if not, why", "sudo twtrace check")]),
    (
        "doctor",
        &[
            ("why do ports run out", "sudo twtrace doctor --duration 30s"),
            ("of a recording", "twtrace doctor load.twt"),
            ("what a finding means", "twtrace doctor explain ports_exhausted"),
        ],
    ),
    (
        "doctor explain",
        &[
            ("all findings, remedies and advice that does not help", "twtrace doctor explain"),
            ("one of them", "twtrace doctor explain tw_reuse"),
        ],
    ),
    (
        "serve",
        &[
            ("metrics for a Prometheus on this machine", "sudo twtrace serve"),
            (
                "for one elsewhere, and the last day as recordings",
                "sudo twtrace serve --listen 0.0.0.0:9478 --token-file /etc/twtrace/token --record /var/lib/twtrace",
            ),
        ],
    ),
    ("demo", &[("see how it works, in a namespace of its own", "sudo twtrace demo")]),
];

/// Adds the examples to what `--help` says of each command.
pub(super) fn add(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (names, examples)| {
        let names: Vec<&str> = names.split_whitespace().collect();
        below(command, &names, examples)
    })
}

fn below(command: Command, names: &[&str], examples: &[(&str, &str)]) -> Command {
    match names.split_first() {
        None => told(command, examples),
        Some((name, names)) => command.mut_subcommand(name, |command| below(command, names, examples)),
    }
}

fn told(command: Command, examples: &[(&str, &str)]) -> Command {
    let mut text = String::from("Examples:\n");
    for (what, words) in examples {
        text.push_str(&format!("  # {what}\n  {words}\n"));
    }
    let before = command.get_after_help().map(|before| format!("\n{before}"));
    let text = format!("{text}{}", before.unwrap_or_default());
    command.after_help(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    #[test]
    fn every_command_has_examples() {
        fn check(command: &Command, above: &str) {
            for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                let name = format!("{above} {}", command.get_name());
                assert!(EXAMPLES.iter().any(|(known, _)| *known == name.trim()), "{name} has none");
                check(command, &name);
            }
        }
        check(&command(), "");
    }

    #[test]
    fn every_example_can_be_typed() {
        for (_, words) in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let words = words.strip_prefix("sudo ").unwrap_or(words);
            // What stands between two quotes is one word.
            let words = words.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            });
            let words: Vec<_> = words.collect();
            let parsed = command().try_get_matches_from(&words);
            assert!(
                parsed.is_ok(),
                "{words:?}: {}",
                parsed.err().map_or_else(String::new, |error| error.to_string())
            );
        }
    }

    #[test]
    fn what_help_said_before_is_still_said() {
        let record = command().find_subcommand("record").cloned().unwrap_or_default();
        let text = record.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            text.contains("Examples:") && text.contains("Arrow IPC") && text.contains("Exit status"),
            "{text}"
        );
    }
}
