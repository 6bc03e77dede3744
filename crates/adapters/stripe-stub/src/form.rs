//! Form-encoded parameters with brackets, `items[0][price]=price_1`, read as Stripe reads them: what is not asked for
//! is refused.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// Parameters of a request at most; Stripe's own limit is not published.
const MOST: usize = 1000;
/// The most of anything that is counted.
const MANY: i64 = 100_000;
/// The largest number either way: twelve digits are Stripe's longest amount, and a time is shorter.
const LARGEST: i64 = 999_999_999_999;
/// How deep brackets may go.
const DEEPEST: usize = 8;

/// Parameters that have not been taken yet. Whoever has taken all they know calls [`Params::finish`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    /// Where these stand in the request: `items[0]`; empty at the top.
    path: String,
    members: Map<String, Value>,
}

impl Params {
    /// Reads a query or a body.
    pub(crate) fn parse(encoded: &[&str]) -> Result<Self, ApiError> {
        let mut members = Map::new();
        let pairs = encoded
            .iter()
            .flat_map(|part| url::form_urlencoded::parse(part.as_bytes()));
        for (count, (key, value)) in pairs.enumerate() {
            if count >= MOST {
                return Err(ApiError::invalid("", "parameters_exclusive", "Too many parameters."));
            }
            insert(&mut members, &key, &value)?;
        }
        Ok(Self {
            path: String::new(),
            members,
        })
    }

    /// All of it in one text, the same for the same parameters in any order.
    pub(crate) fn canonical(&self) -> String {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by(|a, b| a.0.cmp(b.0));
        let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
        members.join("\n")
    }

    /// The parameter's name as the request has it.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}[{key}]", self.path)
        }
    }

    /// Whether it is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// A text, empty where the request unsets it.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.not(key, "parameter_invalid_string", "a string")),
        }
    }

    /// A text that is not empty.
    pub(crate) fn opt(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        Ok(self.text(key)?.filter(|text| !text.is_empty()))
    }

    /// A text that has to be there.
    pub(crate) fn required(&mut self, key: &str) -> Result<String, ApiError> {
        self.opt(key)?.ok_or_else(|| ApiError::missing(&self.name(key)))
    }

    /// A whole number, small enough to be counted with.
    pub(crate) fn int(&mut self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.opt(key)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (-LARGEST..=LARGEST).contains(number));
        let invalid = || {
            let message = format!("Invalid integer: {text}");
            ApiError::invalid(&self.name(key), "parameter_invalid_integer", message)
        };
        number.map(Some).ok_or_else(invalid)
    }

    /// How many: from `least` to a hundred thousand.
    pub(crate) fn count(&mut self, key: &str, least: i64) -> Result<Option<i64>, ApiError> {
        match self.int_from(key, least)? {
            Some(number) if number > MANY => {
                let message = format!("This value must be less than or equal to {MANY}.");
                Err(ApiError::invalid(&self.name(key), "parameter_invalid_integer", message))
            }
            number => Ok(number),
        }
    }

    /// A whole number from `least` on.
    pub(crate) fn int_from(&mut self, key: &str, least: i64) -> Result<Option<i64>, ApiError> {
        match self.int(key)? {
            Some(number) if number < least => {
                let message = format!("This value must be greater than or equal to {least}.");
                Err(ApiError::invalid(&self.name(key), "parameter_invalid_integer", message))
            }
            number => Ok(number),
        }
    }

    /// A truth.
    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.opt(key)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => {
                let message = format!("Invalid boolean: {text}");
                Err(ApiError::invalid(&self.name(key), "parameter_invalid_boolean", message))
            }
        }
    }

    /// One of these words.
    pub(crate) fn one_of(&mut self, key: &str, words: &[&str]) -> Result<Option<String>, ApiError> {
        let Some(text) = self.opt(key)? else { return Ok(None) };
        if words.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        let name = self.name(key);
        let message = format!("Invalid {name}: must be one of {}", words.join(", "));
        Err(ApiError::invalid(&name, "parameter_invalid_value", message))
    }

    /// What stands in its brackets; `None` where it is not there or unset.
    pub(crate) fn sub(&mut self, key: &str) -> Result<Option<Self>, ApiError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self {
                path: self.name(key),
                members,
            })),
            Some(_) => Err(self.not(key, "parameter_invalid_object", "an object")),
        }
    }

    /// A list whose elements are objects; `None` where it is not there.
    pub(crate) fn list(&mut self, key: &str) -> Result<Option<Vec<Self>>, ApiError> {
        let Some(inner) = self.sub(key)? else { return Ok(None) };
        let mut list = Vec::new();
        for (index, value) in ordered(inner.members) {
            let path = format!("{}[{index}]", inner.path);
            match value {
                Value::Object(members) => list.push(Self { path, members }),
                _ => return Err(ApiError::invalid(&path, "parameter_invalid_object", "Invalid object")),
            }
        }
        Ok(Some(list))
    }

    /// A list of texts; empty where it is not there.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>, ApiError> {
        let Some(inner) = self.sub(key)? else {
            return Ok(Vec::new());
        };
        let texts = ordered(inner.members).into_iter().map(|(index, value)| match value {
            Value::String(text) => Ok(text),
            _ => Err(ApiError::invalid(
                &format!("{}[{index}]", inner.path),
                "parameter_invalid_string",
                "Invalid string",
            )),
        });
        texts.collect()
    }

    /// Metadata as given, with empty texts where a key is to go; `None` where there are none. Unsetting them all is an
    /// empty text, which reads as `Some(None)`.
    pub(crate) fn metadata(&mut self, key: &str) -> Result<Option<Option<Map<String, Value>>>, ApiError> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(Some(None)),
            Some(Value::Object(members)) if members.values().all(Value::is_string) => {
                if members.len() > 50 {
                    let message = "Metadata can have up to 50 keys.";
                    return Err(ApiError::invalid(&self.name(key), "metadata_too_many_keys", message));
                }
                Ok(Some(Some(members)))
            }
            Some(_) => Err(self.not(key, "parameter_invalid_object", "metadata")),
        }
    }

    /// Takes parameters that change nothing here, so that a real caller's request is not refused for them.
    pub(crate) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.members.remove(*key);
        }
    }

    /// Everything known has been taken: what is left is unknown.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(key) => Err(ApiError::unknown(&self.name(key))),
        }
    }

    fn not(&self, key: &str, code: &'static str, what: &str) -> ApiError {
        let name = self.name(key);
        ApiError::invalid(&name, code, format!("Invalid {name}: must be {what}"))
    }
}

/// Elements in the order of their indices.
fn ordered(members: Map<String, Value>) -> Vec<(String, Value)> {
    let mut list: Vec<_> = members.into_iter().collect();
    list.sort_by_key(|(index, _)| index.parse::<u64>().unwrap_or(u64::MAX));
    list
}

fn insert(members: &mut Map<String, Value>, key: &str, value: &str) -> Result<(), ApiError> {
    let malformed = || ApiError::invalid(key, "parameter_invalid_string", "Invalid parameter name");
    let (first, rest) = key
        .split_once('[')
        .map_or((key, None), |(first, rest)| (first, Some(rest)));
    let mut segments = vec![first];
    if let Some(rest) = rest {
        segments.extend(rest.strip_suffix(']').ok_or_else(malformed)?.split("]["));
    }
    if first.is_empty() || segments.len() > DEEPEST {
        return Err(malformed());
    }
    place(members, &segments, value).ok_or_else(malformed)
}

/// `None` where a name is both a value and has brackets.
fn place(members: &mut Map<String, Value>, segments: &[&str], value: &str) -> Option<()> {
    let (first, rest) = segments.split_first()?;
    // `expand[]=a&expand[]=b`: the next index.
    let name = if first.is_empty() {
        members.len().to_string()
    } else {
        (*first).to_owned()
    };
    if rest.is_empty() {
        members.insert(name, value.into());
        return Some(());
    }
    let inner = members.entry(name).or_insert_with(|| Value::Object(Map::new()));
    place(inner.as_object_mut()?, rest, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Params {
        Params::parse(&[text]).unwrap()
    }

    #[test]
    fn brackets_are_objects_and_lists() {
        let mut params =
            parse("items[1][price]=b&items[0][price]=a&items[0][quantity]=2&expand[]=x&expand[]=y&m%5Bk%5D=v+w");
        let mut items = params.list("items").unwrap().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].text("price").unwrap().unwrap(), "a");
        assert_eq!(items[0].int("quantity").unwrap(), Some(2));
        assert_eq!(items[1].text("price").unwrap().unwrap(), "b");
        assert_eq!(params.texts("expand").unwrap(), ["x", "y"]);
        assert_eq!(params.metadata("m").unwrap().unwrap().unwrap()["k"], "v w");
        params.finish().unwrap();
    }

    #[test]
    fn what_is_left_is_unknown_by_its_whole_name() {
        let mut params = parse("a[b][c]=1&d=2");
        let mut inner = params.sub("a").unwrap().unwrap();
        let deep = inner.sub("b").unwrap().unwrap();
        let error = deep.finish().unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (Some("parameter_unknown"), Some("a[b][c]"))
        );
        assert_eq!(params.finish().unwrap_err().param.as_deref(), Some("d"));
    }

    #[test]
    fn empty_means_unset() {
        let mut params = parse("a=&b=&m=");
        assert_eq!(params.text("a").unwrap().as_deref(), Some(""));
        assert_eq!(params.opt("b").unwrap(), None);
        assert_eq!(params.metadata("m").unwrap(), Some(None));
    }

    #[test]
    fn nonsense_is_refused_not_believed() {
        for bad in ["a=1&a[b]=2", "[a]=1", "a[b=1", "a[b][c][d][e][f][g][h][i]=1"] {
            assert!(Params::parse(&[bad]).is_err(), "{bad}");
        }
        let long = (0..1001).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
        assert!(Params::parse(&[&long]).is_err());
        let mut params = parse("n=1.5&b=yes&o=x&w=z");
        assert_eq!(params.int("n").unwrap_err().code, Some("parameter_invalid_integer"));
        assert_eq!(params.boolean("b").unwrap_err().code, Some("parameter_invalid_boolean"));
        assert_eq!(params.sub("o").unwrap_err().code, Some("parameter_invalid_object"));
        assert_eq!(params.one_of("w", &["a"]).unwrap_err().param.as_deref(), Some("w"));
        assert_eq!(params.required("gone").unwrap_err().code, Some("parameter_missing"));
    }

    #[test]
    fn the_same_parameters_are_the_same_text() {
        assert_eq!(parse("a=1&b=2").canonical(), parse("b=2&a=1").canonical());
        assert_ne!(parse("a=1&b=2").canonical(), parse("a=1&b=3").canonical());
    }
}
