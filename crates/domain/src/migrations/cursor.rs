//! A place in a statement, from which it is read on.

use super::name::{Name, fold};
use super::token::{Dialect, Token, TokenKind};

/// What is left of a statement. Tokens without white space and comments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [Token<'a>],
    pub dialect: Dialect,
}

impl<'a> Cursor<'a> {
    pub fn new(tokens: &'a [Token<'a>], dialect: Dialect) -> Self {
        Self { rest: tokens, dialect }
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [Token<'a>] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn first(&self) -> Option<&'a Token<'a>> {
        self.rest.first()
    }

    /// Whether this word is next.
    pub fn is(&self, word: &str) -> bool {
        self.first().is_some_and(|token| token.is(word))
    }

    /// Whether one of these words is next.
    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.first().is_some_and(|token| token.is_symbol(symbol))
    }

    /// The next token, and over it.
    pub fn take(&mut self) -> Option<&'a Token<'a>> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Over these words, if all of them are next.
    pub fn eat(&mut self, words: &str) -> bool {
        let mut ahead = *self;
        for word in words.split(' ') {
            if !ahead.is(word) {
                return false;
            }
            ahead.take();
        }
        *self = ahead;
        true
    }

    /// Over whichever of these words is next.
    pub fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(word))
    }

    pub fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.take();
        }
        found
    }

    /// A name, with what it is qualified by.
    pub fn name(&mut self) -> Option<Name> {
        let mut parts = vec![self.name_part()?];
        while self.is_symbol(".") {
            self.take();
            match self.name_part() {
                Some(part) => parts.push(part),
                None => break,
            }
        }
        Name::from_parts(&parts, self.dialect)
    }

    fn name_part(&mut self) -> Option<&'a Token<'a>> {
        self.first()
            .filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted))?;
        self.take()
    }

    /// Names with commas between them.
    pub fn names(&mut self) -> Vec<Name> {
        let mut found = Vec::new();
        loop {
            self.eat("ONLY");
            let Some(name) = self.name() else { break };
            found.push(name);
            self.eat_symbol("*");
            if !self.eat_symbol(",") {
                break;
            }
        }
        found
    }

    /// What stands between the parentheses that are next, and over them.
    pub fn group(&mut self) -> Option<Self> {
        if !self.is_symbol("(") {
            return None;
        }
        let end = self.closing();
        let inside = self.rest.get(1..end).unwrap_or_default();
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(Self::new(inside, self.dialect))
    }

    /// Where the parenthesis closes that is next.
    fn closing(&self) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.rest.iter().enumerate() {
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
        }
        self.rest.len()
    }

    /// Over the next token, and all that stands in it if it opens a parenthesis.
    pub fn skip(&mut self) {
        if self.group().is_none() {
            self.take();
        }
    }

    /// The parts between commas, but for commas within parentheses and brackets.
    pub fn items(self) -> Vec<Self> {
        self.split(|token| token.is_symbol(","))
    }

    /// The statements of a body.
    pub fn statements(self) -> Vec<Self> {
        self.split(|token| token.is_symbol(";"))
    }

    fn split(self, ends: impl Fn(&Token<'_>) -> bool) -> Vec<Self> {
        let (mut found, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
        for (at, token) in self.rest.iter().enumerate() {
            if token.is_symbol("(") || token.is_symbol("[") {
                depth += 1;
            } else if token.is_symbol(")") || token.is_symbol("]") {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && ends(token) {
                found.push(Self::new(&self.rest[begin..at], self.dialect));
                begin = at + 1;
            }
        }
        found.push(Self::new(&self.rest[begin..], self.dialect));
        found.retain(|item| !item.is_empty());
        found
    }

    /// What follows these words where they first stand, outside of parentheses.
    pub fn after(mut self, words: &str) -> Option<Self> {
        while !self.is_empty() {
            if self.eat(words) {
                return Some(self);
            }
            self.skip();
        }
        None
    }

    /// Whether these words stand anywhere outside of parentheses.
    pub fn has(self, words: &str) -> bool {
        self.after(words).is_some()
    }

    /// Up to the first of these words outside of parentheses, but at least one token; and over it.
    pub fn until(&mut self, words: &[&str]) -> Self {
        let all = self.rest;
        self.skip();
        while !self.is_empty() && !self.is_any(words) {
            self.skip();
        }
        Self::new(&all[..all.len() - self.rest.len()], self.dialect)
    }

    /// The columns that a list begins with, up to the first expression.
    pub fn columns(self) -> Vec<Name> {
        self.items()
            .into_iter()
            .map_while(|mut item| {
                let name = item.name()?;
                // An index's column may have a collation, an operator class and an order after it.
                let plain = item.first().is_none_or(|next| next.kind == TokenKind::Word);
                plain.then_some(name)
            })
            .collect()
    }

    /// Every name and word in it, parentheses included, as the database compares them.
    pub fn mentions(&self) -> Vec<String> {
        let words = self.rest.iter();
        words
            .filter(|token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted))
            .map(|token| fold(token, self.dialect))
            .collect()
    }

    /// Whether one of these is among its names and words.
    pub fn mentions_any(&self, names: &[&str]) -> bool {
        self.mentions().iter().any(|name| names.contains(&name.as_str()))
    }
}
