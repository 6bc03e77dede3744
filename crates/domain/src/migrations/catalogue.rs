//! What a schema consists of, in words, so that two states of it can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Everything that is in a schema: for each object the lines that describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, BTreeSet<String>>);

/// What differs in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which, such as `table orders`.
    pub object: String,
    /// How it differs as a whole.
    pub change: Change,
    /// Lines that should be there and are not.
    pub missing: Vec<String>,
    /// Lines that are there and should not be.
    pub unexpected: Vec<String>,
}

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It should be there and is not.
    Missing,
    /// It is there and should not be.
    Unexpected,
    /// It is there, and is not as it should be.
    Changed,
}

impl Catalogue {
    /// From pairs of an object and a line that describes it; an object without lines has an empty one.
    pub fn new(lines: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut objects: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (object, line) in lines {
            let lines = objects.entry(object).or_default();
            if !line.is_empty() {
                lines.insert(line);
            }
        }
        Self(objects)
    }

    /// SHA-256 of all of it, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (object, lines) in &self.0 {
            hash.update(object);
            for line in lines {
                hash.update(b"\0");
                hash.update(line);
            }
            hash.update(b"\0\0");
        }
        hex::encode(hash.finalize())
    }

    /// What of `actual` is not as it is here.
    pub fn differences(&self, actual: &Self) -> Vec<Difference> {
        let none = BTreeSet::new();
        let objects: BTreeSet<&String> = self.0.keys().chain(actual.0.keys()).collect();
        let mut found = Vec::new();
        for object in objects {
            let (expected, there) = (self.0.get(object), actual.0.get(object));
            if expected == there {
                continue;
            }
            let change = match (expected, there) {
                (Some(_), Some(_)) => Change::Changed,
                (Some(_), None) => Change::Missing,
                _ => Change::Unexpected,
            };
            let (expected, there) = (expected.unwrap_or(&none), there.unwrap_or(&none));
            found.push(Difference {
                object: object.clone(),
                change,
                missing: expected.difference(there).cloned().collect(),
                unexpected: there.difference(expected).cloned().collect(),
            });
        }
        found
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(lines: &[(&str, &str)]) -> Catalogue {
        Catalogue::new(lines.iter().map(|(object, line)| ((*object).into(), (*line).into())))
    }

    #[test]
    fn differences_name_what_is_missing_and_what_is_too_much() {
        let expected = catalogue(&[
            ("table a", "b integer"),
            ("table a", "c text"),
            ("view v", "SELECT 1"),
            ("type t", ""),
        ]);
        let actual = catalogue(&[
            ("table a", "c text"),
            ("table a", "b bigint"),
            ("table x", "y text"),
            ("type t", ""),
        ]);
        let found = expected.differences(&actual);
        let lines: Vec<String> = found
            .iter()
            .map(|d| format!("{:?} {} -{:?} +{:?}", d.change, d.object, d.missing, d.unexpected))
            .collect();
        assert_eq!(
            lines,
            [
                r#"Changed table a -["b integer"] +["b bigint"]"#,
                r#"Unexpected table x -[] +["y text"]"#,
                r#"Missing view v -["SELECT 1"] +[]"#,
            ]
        );
        assert_ne!(expected.fingerprint(), actual.fingerprint());
        assert_eq!(expected.differences(&expected.clone()), []);
        let again: Catalogue = serde_json::from_str(&serde_json::to_string(&expected).unwrap()).unwrap();
        assert_eq!(again.fingerprint(), expected.fingerprint());
    }
}
