//! `-- lint:allow <rule>[, <rule>…]: <reason>` before a statement or within it, and `-- lint:allow-file …` anywhere in the
//! file. What stands after a semicolon belongs to the next statement; at the file's end, to the last.

use super::super::statement::Statement;
use super::rules::RULES;

/// One finding that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed {
    pub rule: String,
    pub reason: String,
    /// In the whole file.
    pub everywhere: bool,
}

/// What a statement's comments allow, and what is wrong with those that allow nothing.
pub(super) fn allowed(statement: &Statement) -> (Vec<Allowed>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for line in statement.comments.iter().flat_map(|comment| comment.lines()) {
        let line = line.trim().trim_start_matches('*').trim();
        let Some(text) = line.strip_prefix("lint:") else {
            continue;
        };
        match read(text) {
            Ok(allowed) => found.extend(allowed),
            Err(reason) => wrong.push(format!("`{line}`: {reason}")),
        }
    }
    (found, wrong)
}

fn read(text: &str) -> Result<Vec<Allowed>, String> {
    let (everywhere, rest) = if let Some(rest) = text.strip_prefix("allow-file ") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("allow ") {
        (false, rest)
    } else {
        return Err("it is either `lint:allow` or `lint:allow-file`".into());
    };
    let (names, reason) = rest.split_once(':').unwrap_or((rest, ""));
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("say why, after a colon".into());
    }
    names
        .split(',')
        .map(str::trim)
        .map(|name| match RULES.iter().find(|rule| rule.name == name) {
            Some(rule) => Ok(Allowed {
                rule: rule.name.into(),
                reason: reason.into(),
                everywhere,
            }),
            None => Err(format!("there is no rule \"{name}\"")),
        })
        .collect()
}
