//! Reading and writing members of JSON objects: what Stripe's objects are kept as.

use serde_json::{Map, Value};

/// The member that holds what the stub knows of an object and Stripe would not show.
pub(crate) const HIDDEN: &str = "_stub";

/// A member as text; empty where it is none.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A member as text that is not empty.
pub(crate) fn some_text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    Some(text(object, key)).filter(|text| !text.is_empty())
}

/// A member as a number, if it is one.
pub(crate) fn some_int(object: &Value, key: &str) -> Option<i64> {
    object.get(key).and_then(Value::as_i64)
}

/// A member as a number; zero where it is none.
pub(crate) fn int(object: &Value, key: &str) -> i64 {
    some_int(object, key).unwrap_or_default()
}

/// A member as a truth; false where it is none.
pub(crate) fn truth(object: &Value, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// What stands at a path like `recurring/interval`, `Null` where nothing does.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('/')
        .try_fold(object, |inner, key| match inner {
            Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => inner.get(key),
        })
        .unwrap_or(&Value::Null)
}

/// The elements of a list at a path; none where there is no list.
pub(crate) fn items<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path).as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Sets a member. What is no object becomes one.
pub(crate) fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(members) = object.as_object_mut() {
        members.insert(key.to_owned(), value.into());
    }
}

/// The list at a path, to change; `None` where there is none.
pub(crate) fn items_mut<'a>(object: &'a mut Value, path: &str) -> Option<&'a mut Vec<Value>> {
    let mut inner = object;
    for key in path.split('/') {
        inner = inner.get_mut(key)?;
    }
    inner.as_array_mut()
}

/// What the stub knows of an object beside what it shows.
pub(crate) fn hidden<'a>(object: &'a Value, key: &str) -> &'a Value {
    object
        .get(HIDDEN)
        .and_then(|inner| inner.get(key))
        .unwrap_or(&Value::Null)
}

/// Sets that.
pub(crate) fn set_hidden(object: &mut Value, key: &str, value: impl Into<Value>) {
    let mut inner = object.get(HIDDEN).cloned().unwrap_or_else(|| Value::Object(Map::new()));
    set(&mut inner, key, value);
    set(object, HIDDEN, inner);
}

/// The object without what it does not show, however deep that lies.
pub(crate) fn shown(mut object: Value) -> Value {
    strip(&mut object);
    object
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove(HIDDEN);
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => (),
    }
}

/// What was in `old` where `new` says something else: an event's `previous_attributes`. `None` if nothing changed.
pub(crate) fn previous(old: &Value, new: &Value) -> Option<Value> {
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else {
        return (old != new).then(|| old.clone());
    };
    let mut changed = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(was) if was == value => (),
            Some(was) if was.is_object() && value.is_object() => {
                if let Some(inner) = previous(was, value) {
                    changed.insert(key.clone(), inner);
                }
            }
            was => {
                changed.insert(key.clone(), was.cloned().unwrap_or_default());
            }
        }
    }
    for (key, was) in before {
        if !after.contains_key(key) {
            changed.insert(key.clone(), was.clone());
        }
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn previous_attributes_are_what_changed() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "list": [1], "gone": 4, "same": {"x": 1}});
        let new = json!({"a": 2, "b": {"c": 1, "d": 3}, "list": [1, 2], "same": {"x": 1}, "fresh": 1});
        let expected = json!({"a": 1, "b": {"d": 2}, "list": [1], "gone": 4, "fresh": null});
        assert_eq!(previous(&old, &new), Some(expected));
        assert_eq!(previous(&old, &old), None);
    }

    #[test]
    fn hidden_members_are_not_shown() {
        let mut object = json!({"id": "x", "list": [{"_stub": 1, "y": 2}]});
        set_hidden(&mut object, "k", 3);
        assert_eq!(hidden(&object, "k"), &json!(3));
        assert_eq!(shown(object), json!({"id": "x", "list": [{"y": 2}]}));
    }
}
