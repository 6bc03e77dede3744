//! The parameters of a request that were not passed on, and the header that names them.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header that names what a provider could not be told.
const HEADER: HeaderName = HeaderName::from_static("anteroom-dropped-parameters");

/// Names that are told; more than this is no mistake but an attack.
const MOST: usize = 32;

/// What is told of a name, in bytes.
const LONGEST: usize = 64;

/// The parameters that were not passed on, as the header names them: each once, and as a word that breaks no header,
/// since names are the caller's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dropped(Vec<String>);

impl Dropped {
    /// Notes a parameter.
    pub(crate) fn note(&mut self, name: &str) {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "_-.".contains(c) {
                c
            } else {
                '?'
            }
        };
        let word: String = name.chars().take(LONGEST).map(plain).collect();
        if !word.is_empty() && self.0.len() < MOST && !self.0.contains(&word) {
            self.0.push(word);
        }
    }

    /// The names, as the header lists them.
    pub(crate) fn header(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join(", "))
    }

    /// The names.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.0
    }

    /// Names them in an answer, if there are any, and those that the provider could not be told.
    pub(crate) fn name_in(mut self, mut answer: HttpResponse, by_the_provider: &[String]) -> HttpResponse {
        for name in by_the_provider {
            self.note(name);
        }
        let value = self.header().and_then(|list| HeaderValue::from_str(&list).ok());
        if let Some(value) = value {
            answer.headers_mut().insert(HEADER, value);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_named_in_one_short_line_whatever_the_caller_calls_it() {
        let named = |own: &[&str], theirs: &[&str]| {
            let mut dropped = Dropped::default();
            for name in own {
                dropped.note(name);
            }
            let theirs: Vec<String> = theirs.iter().map(|&name| name.to_owned()).collect();
            let answer = dropped.name_in(HttpResponse::Ok().finish(), &theirs);
            answer.headers().get(HEADER).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(named(&[], &[]), None);
        assert_eq!(named(&["top_k", "a.b"], &["top_k", "x-1"]).unwrap(), "top_k, a.b, x-1");
        let odd = ["a,b", "", "\r\nx: y", "gr\u{fc}n"];
        for (own, theirs) in [(&odd[..], &[][..]), (&[], &odd[..])] {
            assert_eq!(named(own, theirs).unwrap(), "a?b, ??x??y, gr?n");
        }
        assert_eq!(named(&["\u{fc}".repeat(1000).as_str()], &[]).unwrap(), "?".repeat(64));
        let flood: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
        let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
        assert_eq!(named(&flood[..20], &flood[20..]).unwrap().split(", ").count(), MOST);
    }
}
