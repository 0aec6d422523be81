//! One source file, taken apart once for all rules.
//!
//! Owns: its lines, its tokens (no comments, no strings to mistake for code) and its syntax tree.
//! Must not know: any rule.

use super::Complaint;
use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One token that rules look at, with its line, counted from 1.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    /// An identifier, a single punctuation character, or an opening bracket: `(`, `[`, `{`.
    pub(super) text: String,
}

/// A parsed file.
pub(super) struct Source<'a> {
    /// Relative to the repository's root.
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) lines: Vec<&'a str>,
    pub(super) tokens: Vec<Token>,
    pub(super) tree: syn::File,
}

impl<'a> Source<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// Where it is not Rust.
    pub(super) fn parse(path: &'a str, text: &'a str) -> Result<Source<'a>> {
        let wrong = |error: &dyn std::fmt::Display| anyhow!("{path} cannot be parsed: {error}");
        let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| wrong(&error))?;
        let tree = syn::parse2(stream.clone()).map_err(|error| wrong(&error))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Ok(Source { path, text, lines: text.lines().collect(), tokens, tree })
    }

    /// A complaint about this file.
    pub(super) fn complain(&self, line: usize, text: impl Into<String>) -> Complaint {
        Complaint { path: self.path.to_owned(), line, text: text.into() }
    }

    /// The lines at which these tokens follow one another.
    pub(super) fn sequences(&self, wanted: &[&str]) -> Vec<usize> {
        let windows = self.tokens.windows(wanted.len());
        let hits =
            windows.filter(|window| window.iter().zip(wanted).all(|(token, text)| token.text == *text));
        hits.map(|window| window[0].line).collect()
    }

    /// Whether `word` stands in a comment on that line or on one of the `above` lines before it.
    pub(super) fn has_comment_near(&self, line: usize, above: usize, word: &str) -> bool {
        let end = line.min(self.lines.len());
        let start = end.saturating_sub(above + 1);
        self.lines[start..end]
            .iter()
            .any(|text| text.split_once("//").is_some_and(|(_, comment)| comment.contains(word)))
    }
}

/// The tokens of a stream, those in brackets behind the opening one.
pub(super) fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(ident) => tokens.push(Token { line, text: ident.to_string() }),
            TokenTree::Punct(punct) => tokens.push(Token { line, text: punct.as_char().to_string() }),
            TokenTree::Literal(_) => tokens.push(Token { line, text: "\"".to_owned() }),
            TokenTree::Group(group) => {
                let open = match group.delimiter() {
                    Delimiter::Parenthesis => "(",
                    Delimiter::Bracket => "[",
                    Delimiter::Brace => "{",
                    Delimiter::None => "",
                };
                tokens.push(Token { line, text: open.to_owned() });
                flatten(group.stream(), tokens);
            }
        }
    }
}
