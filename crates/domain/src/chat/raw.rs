//! A JSON object whose members keep their order and their very bytes, so that a relayed `1.50` stays `1.50`.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// More members than any request has; looking one up walks over all of them.
const MAX_MEMBERS: usize = 1000;

/// An object with its members in order, each value as the bytes it came in.
#[derive(Debug, Clone, Default)]
pub struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

/// Why bytes are no such object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidObject(String);

impl RawObject {
    /// Reads an object. A repeated key is an error: two readers could disagree about which one counts.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidObject> {
        serde_json::from_slice(bytes).map_err(|e| InvalidObject(e.to_string()))
    }

    /// The members' names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(key, _)| key.as_str())
    }

    /// A member's bytes.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.members.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    /// A member read as `T`: absent and `null` are `None`.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, InvalidObject> {
        self.get(key).map_or(Ok(None), |raw| {
            serde_json::from_str(raw.get()).map_err(|e| InvalidObject(e.to_string()))
        })
    }

    /// Replaces a member where it stands, or adds it at the end.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), InvalidObject> {
        let raw = to_raw_value(value).map_err(|e| InvalidObject(e.to_string()))?;
        match self.members.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = raw,
            None => self.members.push((key.to_owned(), raw)),
        }
        Ok(())
    }

    /// The same members in the order of their names.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.members.sort_by(|(one, _), (other, _)| one.cmp(other));
        self
    }

    /// Drops a member.
    pub fn remove(&mut self, key: &str) {
        self.members.retain(|(k, _)| k != key);
    }

    /// The object's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let size = self
            .members
            .iter()
            .map(|(k, v)| k.len() + v.get().len() + 6)
            .sum::<usize>()
            + 2;
        let mut out = Vec::with_capacity(size);
        // Writing strings and raw values to memory cannot fail.
        let _ = serde_json::to_writer(&mut out, self);
        out
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (key, value) in &self.members {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(serde::de::Error::custom(format_args!("the key `{key}` stands twice")));
                    }
                    if members.len() == MAX_MEMBERS {
                        return Err(serde::de::Error::custom(format_args!(
                            "it has more than {MAX_MEMBERS} members"
                        )));
                    }
                    members.push((key, value));
                }
                Ok(RawObject { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_bytes_survive() {
        let text = r#"{"z":1.50,"model":"a","x":{"b":1e3,"a":[ 1 , 2 ]},"big":12345678901234567890}"#;
        let mut object = RawObject::parse(text.as_bytes()).unwrap();
        assert_eq!(object.to_vec(), text.as_bytes());
        object.set("model", "b").unwrap();
        object.set("new", &1).unwrap();
        object.remove("z");
        let expected = r#"{"model":"b","x":{"b":1e3,"a":[ 1 , 2 ]},"big":12345678901234567890,"new":1}"#;
        assert_eq!(object.to_vec(), expected.as_bytes());
    }

    #[test]
    fn members_are_read_with_null_as_absent() {
        let object = RawObject::parse(br#"{"a":null,"b":3,"c":"x"}"#).unwrap();
        assert_eq!(object.read::<i64>("a").unwrap(), None);
        assert_eq!(object.read::<i64>("b").unwrap(), Some(3));
        assert_eq!(object.read::<i64>("none").unwrap(), None);
        assert!(object.read::<i64>("c").is_err());
    }

    #[test]
    fn a_flood_of_members_is_refused() {
        let members = |n: usize| (0..n).map(|i| format!("\"k{i}\":1")).collect::<Vec<_>>().join(",");
        assert!(RawObject::parse(format!("{{{}}}", members(1000)).as_bytes()).is_ok());
        assert!(RawObject::parse(format!("{{{}}}", members(1001)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_ambiguous_or_no_object_is_refused() {
        for bad in [
            &b"[]"[..],
            b"",
            b"{",
            b"{\"a\":1,\"a\":2}",
            b"{\"a\":\xff}",
            b"{} {}",
            b"1",
        ] {
            assert!(RawObject::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
