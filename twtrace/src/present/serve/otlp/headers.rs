//! Owns: headers that go with what is exported, such as a token: a file has them, and is read again when it changes.
//! Must not know: what is exported.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::model::escape;
use crate::present::serve::watch::Watched;

/// Longest file of headers, in bytes.
const LONGEST: u64 = 64 << 10;

/// See the head of the file. None, unless they were read.
#[derive(Debug, Default)]
pub struct Headers(Option<(PathBuf, Watched<HeaderMap>)>);

impl Headers {
    /// From a file with a line each, NAME: VALUE.
    ///
    /// # Errors
    /// If it cannot be read, or has something else in it than headers; they name it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let map = Watched::read("the headers", vec![path.to_owned()], || of_file(path))?;
        Ok(Self(Some((path.to_owned(), map))))
    }

    /// As they are now.
    pub(super) fn current(&mut self) -> HeaderMap {
        let map = self.0.as_mut().map(|(path, map)| map.current(|| of_file(path)).clone());
        map.unwrap_or_default()
    }
}

fn of_file(path: &Path) -> io::Result<HeaderMap> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    if let Err(error) = read {
        let said = format!("cannot read --otlp-headers-file {}: {error}", escape::path(path));
        return Err(io::Error::new(error.kind(), said));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let numbered = |(at, line): (usize, &str)| {
        header(line).map_err(|why| {
            let said = format!("line {} of --otlp-headers-file {} {why}", at + 1, escape::path(path));
            io::Error::other(said)
        })
    };
    lines.map(numbered).collect()
}

/// What is wrong with a line is said without it: it may be a secret.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("is not NAME: VALUE")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "begins with what is no name of a header")?;
    let mut value = HeaderValue::try_from(value.trim()).map_err(|_| "has a value that no header may have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(headers: &mut Headers) -> String {
        let map = headers.current();
        assert!(map["x-token"].is_sensitive());
        map["x-token"].to_str().unwrap().to_owned()
    }

    #[test]
    fn headers_are_lines_and_errors_name_them_without_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        std::fs::write(&path, "X-Token: s3cret \r\n\n  x-more :a: b\n").unwrap();
        let mut headers = Headers::read(&path).unwrap();
        assert_eq!(token(&mut headers), "s3cret");
        let map = headers.current();
        assert_eq!((map["x-more"].to_str().unwrap(), map.len()), ("a: b", 2));
        for (text, said) in [
            ("x-a: 1\ns3cret", "line 2 of --otlp-headers-file "),
            ("s3 cret: 1", "no name of a header"),
            ("x: s3\u{7f}cret", "no header may have"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Headers::read(&path).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3"), "{error}");
        }
        let error = Headers::read(&dir.path().join("none")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot read --otlp-headers-file /"), "{error}");
        assert!(Headers::default().current().is_empty());
    }

    #[test]
    fn a_file_that_changes_is_taken_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        std::fs::write(&path, "x-token: old").unwrap();
        let mut headers = Headers::read(&path).unwrap();
        for broken in ["x-token", "x-token: \u{7f}"] {
            std::fs::write(&path, broken).unwrap();
            headers.0.as_mut().unwrap().1.expire();
            assert_eq!(token(&mut headers), "old", "{broken}");
        }
        std::fs::write(&path, "x-token: newer").unwrap();
        headers.0.as_mut().unwrap().1.expire();
        assert_eq!(token(&mut headers), "newer");
    }
}
