//! Reading a request part by part, with the place of every fault: `messages.0.content.1.source`, as the surfaces that
//! are spoken here name places themselves.

use actix_web::http::StatusCode;
use anteroom_domain::chat::RawObject;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Why a request is not taken, and which parameter is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `invalid_request` or `unsupported_parameter`.
    pub(crate) code: &'static str,
    /// The parameter.
    pub(crate) param: Option<String>,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Refusal {
    /// It cannot be understood.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: "invalid_request",
            param: Some(param.into()),
            message: message.into(),
        }
    }

    /// It cannot be said in a chat completion, and leaving it out would change what is asked for.
    pub(crate) fn unsupported(param: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let param = param.into();
        Self {
            code: "unsupported_parameter",
            message: format!("`{param}` is not supported here: {why}"),
            param: Some(param),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refusal.code, refusal.message).param(refusal.param.as_deref())
    }
}

/// An object of a request, and where it stands.
#[derive(Debug)]
pub(super) struct Part {
    members: RawObject,
    at: String,
}

impl Part {
    /// The request itself.
    pub(super) fn root(bytes: &[u8]) -> Result<Self, Refusal> {
        let members = RawObject::parse(bytes).map_err(|e| Refusal {
            code: "invalid_request",
            param: None,
            message: format!("the body is not a JSON object: {e}"),
        })?;
        Ok(Self {
            members,
            at: String::new(),
        })
    }

    fn of(raw: &RawValue, at: String) -> Result<Self, Refusal> {
        match RawObject::parse(raw.get().as_bytes()) {
            Ok(members) => Ok(Self { members, at }),
            Err(_) => Err(Refusal::invalid(at.as_str(), format!("`{at}` must be an object"))),
        }
    }

    /// The objects of a list that stands at a place.
    pub(super) fn list(raw: &RawValue, at: &str) -> Result<Vec<Self>, Refusal> {
        let items: Vec<Box<RawValue>> = serde_json::from_str(raw.get())
            .map_err(|_| Refusal::invalid(at, format!("`{at}` must be an array of objects")))?;
        let numbered = items.iter().enumerate();
        numbered
            .map(|(number, item)| Self::of(item, format!("{at}.{number}")))
            .collect()
    }

    /// Its members.
    pub(super) fn members(&self) -> &RawObject {
        &self.members
    }

    /// Where a member of it stands.
    pub(super) fn place(&self, key: &str) -> String {
        if self.at.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.at)
        }
    }

    /// A member's bytes; `null` is absent.
    pub(super) fn raw(&self, key: &str) -> Option<&RawValue> {
        self.members.get(key).filter(|raw| raw.get() != "null")
    }

    /// A member that may be absent.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<Option<T>, Refusal> {
        self.members.read(key).map_err(|_| {
            let place = self.place(key);
            Refusal::invalid(place.as_str(), format!("`{place}` must be {what}"))
        })
    }

    /// A member that may not.
    pub(super) fn required<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<T, Refusal> {
        self.read(key, what)?.ok_or_else(|| {
            let place = self.place(key);
            Refusal::invalid(place.as_str(), format!("`{place}` is missing: it must be {what}"))
        })
    }

    /// A text that may not be absent.
    pub(super) fn text(&self, key: &str) -> Result<String, Refusal> {
        self.required(key, "a string")
    }

    /// An object that may be absent.
    pub(super) fn part(&self, key: &str) -> Result<Option<Self>, Refusal> {
        self.raw(key).map(|raw| Self::of(raw, self.place(key))).transpose()
    }

    /// A list of objects; empty if absent.
    pub(super) fn parts(&self, key: &str) -> Result<Vec<Self>, Refusal> {
        self.raw(key)
            .map_or(Ok(Vec::new()), |raw| Self::list(raw, &self.place(key)))
    }

    /// A number's bytes as they came, so that `1.50` stays `1.50`.
    pub(super) fn number(&self, key: &str) -> Result<Option<&RawValue>, Refusal> {
        self.read::<f64>(key, "a number")?;
        Ok(self.raw(key))
    }

    /// A whole number of at least one.
    pub(super) fn positive(&self, key: &str) -> Result<Option<i64>, Refusal> {
        match self.read::<i64>(key, "a whole number")? {
            Some(n) if n < 1 => {
                let place = self.place(key);
                Err(Refusal::invalid(
                    place.as_str(),
                    format!("`{place}` must be at least 1"),
                ))
            }
            n => Ok(n),
        }
    }

    /// That a member's value is none that is known.
    pub(super) fn unknown(&self, key: &str, known: &str) -> Refusal {
        let place = self.place(key);
        Refusal::unsupported(place, format_args!("only {known}"))
    }
}
