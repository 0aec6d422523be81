//! Owns: what the value of `--netns` means: `self|INODE|NAME|PATH`.
//! Must not know: who filters by it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{discover, inode_of, open_harmlessly, own_inode};
use crate::host::net::Error;
use crate::model::filter::Glob;

/// The largest pid there can be (PID_MAX_LIMIT, include/linux/threads.h, 5.10 to 7.3). Inodes of namespaces are far
/// above it: they count up from 0xF0000000 (PROC_DYNAMIC_FIRST, fs/proc/generic.c, 5.10 to 7.3), a few fixed ones lie
/// just below.
const PID_MAX: u32 = 4_194_304;

/// The inode of the network namespace that a `--netns` value means: `self`; a number, taken as an inode without
/// asking whether there is such a namespace now (a recording may speak of one that is gone); a name, as in
/// `ip netns` or as docker's bind mounts have it; or, if it has a slash, a file such as `/proc/PID/ns/net`.
///
/// # Errors
/// [`Error::Spec`], which says what can be given instead.
pub fn resolve_spec(value: &str) -> Result<u32, Error> {
    if value == "self" {
        return own_inode();
    }
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_number(value);
    }
    if value.contains('/') {
        return from_path(value);
    }
    let mounted = discover::mounted(Path::new("/proc"));
    let named = mounted.iter().filter(|(_, point)| point.file_name().is_some_and(|name| name == value));
    from_named(value, named.map(|(inode, point)| (*inode, point.as_path())))
}

/// As [`resolve_spec`], but a name may have wildcards and so mean several namespaces: those that have such a name now.
///
/// # Errors
/// [`Error::Spec`], also where none has.
pub fn resolve_all(value: &str) -> Result<Vec<u32>, Error> {
    let pattern = Glob::from(value);
    if !pattern.is_pattern() || value.contains('/') {
        return Ok(vec![resolve_spec(value)?]);
    }
    let mut found: Vec<u32> = matching(&pattern, discover::mounted(Path::new("/proc")));
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(wrong(value, "no network namespace has such a name; `ip netns` lists names"));
    }
    Ok(found)
}

fn matching(pattern: &Glob, mounted: Vec<(u32, PathBuf)>) -> Vec<u32> {
    let is_it = |point: &Path| point.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy()));
    mounted.into_iter().filter(|(_, point)| is_it(point)).map(|(inode, _)| inode).collect()
}

fn wrong(value: &str, why: impl Into<String>) -> Error {
    Error::Spec { value: value.into(), why: why.into() }
}

fn from_number(value: &str) -> Result<u32, Error> {
    match value.parse::<u32>() {
        Ok(number) if number > PID_MAX => Ok(number),
        Ok(_) => Err(wrong(
            value,
            format!(
                "too small for the inode of a namespace; for the one of process {value} give /proc/{value}/ns/net"
            ),
        )),
        Err(_) => Err(wrong(value, "too large for the inode of a namespace; `lsns -t net` lists inodes")),
    }
}

fn from_path(value: &str) -> Result<u32, Error> {
    let file = open_harmlessly(Path::new(value)).map_err(|source| {
        wrong(value, format!("{source}; give a file such as /run/netns/NAME or /proc/PID/ns/net"))
    })?;
    inode_of(&file)?.ok_or_else(|| {
        wrong(value, "not a network namespace; give a file such as /run/netns/NAME or /proc/PID/ns/net")
    })
}

fn from_named<'a>(value: &str, named: impl Iterator<Item = (u32, &'a Path)>) -> Result<u32, Error> {
    let named: BTreeSet<(u32, &Path)> = named.collect();
    let inodes: BTreeSet<u32> = named.iter().map(|(inode, _)| *inode).collect();
    match inodes.iter().collect::<Vec<_>>()[..] {
        [one] => Ok(*one),
        [] => Err(wrong(
            value,
            "no network namespace of that name; `ip netns` lists names, `lsns -t net` lists inodes, and \
             `self` or a file such as /proc/PID/ns/net will do as well",
        )),
        _ => {
            let paths: Vec<_> = named.iter().map(|(_, point)| crate::model::escape::path(point)).collect();
            Err(wrong(
                value,
                format!("more than one namespace has that name; give one of {}", paths.join(", ")),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(value: &str) -> String {
        resolve_spec(value).unwrap_err().to_string()
    }

    #[test]
    fn self_and_its_path_mean_the_same() {
        let own = own_inode().unwrap();
        assert_eq!(resolve_spec("self").unwrap(), own);
        assert_eq!(resolve_spec("/proc/thread-self/ns/net").unwrap(), own);
        assert_eq!(resolve_spec(&own.to_string()).unwrap(), own);
    }

    #[test]
    fn numbers_are_inodes_even_of_namespaces_that_are_gone() {
        assert_eq!(resolve_spec("4026532999").unwrap(), 4_026_532_999);
        assert_eq!(resolve_spec("4194305").unwrap(), 4_194_305);
        assert!(refusal("1234").contains("give /proc/1234/ns/net"));
        assert!(refusal("4194304").contains("/proc/4194304/ns/net"));
        assert!(refusal("4294967296").contains("too large"));
    }

    #[test]
    fn a_refusal_names_the_value_and_a_remedy() {
        for value in [
            "",
            "no-such-name",
            "-1",
            "../etc\x1b[2J",
            "/nowhere/at/all",
            "/proc/self/ns/uts",
            "/proc/version",
        ] {
            let text = refusal(value);
            assert!(text.starts_with("--netns "), "{text}");
            assert!(text.contains(&*crate::model::escape::printable(value)), "{text}");
            assert!(text.contains("/proc/PID/ns/net"), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn a_pattern_means_all_namespaces_of_such_a_name() {
        let mounted =
            |names: &[(u32, &str)]| names.iter().map(|(inode, path)| (*inode, path.into())).collect();
        let all = mounted(&[(7, "/run/netns/he1"), (11, "/run/netns/he2"), (13, "/run/netns/web")]);
        assert_eq!(matching(&"he*".into(), all), [7, 11]);
        let refused = resolve_all("no-such-*").unwrap_err().to_string();
        assert!(refused.contains("--netns no-such-*") && refused.contains("`ip netns`"), "{refused}");
        assert_eq!(resolve_all("self").unwrap(), [own_inode().unwrap()]);
    }

    #[test]
    fn one_name_for_two_namespaces_is_refused_with_both_paths() {
        let (a, b) = (Path::new("/run/netns/web"), Path::new("/run/docker/netns/web"));
        assert_eq!(from_named("web", [(7, a), (7, b)].into_iter()).unwrap(), 7);
        let text = from_named("web", [(7, a), (11, b)].into_iter()).unwrap_err().to_string();
        assert!(text.contains("/run/netns/web") && text.contains("/run/docker/netns/web"), "{text}");
    }
}
