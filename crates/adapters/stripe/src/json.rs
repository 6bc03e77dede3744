//! Reads Stripe's objects leniently: what is missing or of another shape is absent, and one odd field spoils nothing
//! else. Paths are JSON pointers (RFC 6901).

use serde_json::Value;

use anteroom_domain::Timestamp;

pub(crate) fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path)?.as_str()
}

pub(crate) fn int(object: &Value, path: &str) -> Option<i64> {
    object.pointer(path)?.as_i64()
}

/// Whether it is there and true.
pub(crate) fn flag(object: &Value, path: &str) -> bool {
    object.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}

/// A time in Unix seconds.
pub(crate) fn time(object: &Value, path: &str) -> Option<Timestamp> {
    Timestamp::from_second(int(object, path)?).ok()
}

/// An identifier, also where Stripe put the whole object in its place.
pub(crate) fn id<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    let found = object.pointer(path)?;
    found.as_str().or_else(|| found.get("id")?.as_str())
}

/// A list; empty where there is none.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// An object that was expanded; `None` where only its identifier stands.
pub(crate) fn expanded<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(path).filter(|found| found.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_another_shape_is_absent() {
        let object = json!({
            "a": {"id": "x", "n": 7, "far": i64::MAX},
            "b": "y",
            "l": [1],
            "f": "true",
        });
        assert_eq!(
            (id(&object, "/a"), id(&object, "/b"), id(&object, "/l")),
            (Some("x"), Some("y"), None)
        );
        assert_eq!((int(&object, "/a/n"), int(&object, "/b")), (Some(7), None));
        assert_eq!(time(&object, "/a/n"), Timestamp::from_second(7).ok());
        assert_eq!(time(&object, "/a/far"), None);
        assert!(!flag(&object, "/f") && text(&object, "/none").is_none());
        assert_eq!((list(&object, "/l").len(), list(&object, "/a").len()), (1, 0));
        assert!(expanded(&object, "/a").is_some() && expanded(&object, "/b").is_none());
    }
}
