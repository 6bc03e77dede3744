//! Where the server is and how Anteroom shows itself there.

use async_openai::config::Config;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::InvalidOptions;

/// The server's address and key. async-openai's own `OpenAIConfig` is not used: it reads organization and project
/// from the environment, sends `Bearer ` without a key and panics on a key that no header can carry.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: Url,
    key: SecretString,
    authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Takes a base URL up to and including the API's version (`https://api.openai.com/v1`). A query stays on every
    /// request.
    pub(super) fn new(base: Url, key: SecretString) -> Result<Self, InvalidOptions> {
        let plain = base.username().is_empty() && base.password().is_none() && base.fragment().is_none();
        if !plain || !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(InvalidOptions::BaseUrl);
        }
        let authorization = match key.expose_secret() {
            "" => None,
            text => {
                let bearer = format!("Bearer {text}");
                let mut value = HeaderValue::from_str(&bearer).map_err(|_| InvalidOptions::ApiKey)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            base,
            key,
            authorization,
        })
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        let authorization = self.authorization.iter().map(|v| (AUTHORIZATION, v.clone()));
        authorization.collect()
    }

    fn url(&self, path: &str) -> String {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.into()
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.base.as_str()
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base: &str, key: &str) -> Result<Endpoint, InvalidOptions> {
        Endpoint::new(base.parse().unwrap(), key.into())
    }

    #[test]
    fn paths_are_appended_and_a_query_stays() {
        for (base, url) in [
            ("https://a.example/v1", "https://a.example/v1/models"),
            ("https://a.example/v1/", "https://a.example/v1/models"),
            ("http://a.example:8000", "http://a.example:8000/models"),
            ("http://a.example/v1?version=3", "http://a.example/v1/models?version=3"),
        ] {
            assert_eq!(endpoint(base, "").unwrap().url("/models"), url);
        }
    }

    #[test]
    fn the_key_travels_as_a_bearer_or_not_at_all() {
        let with = endpoint("http://a.example:8000", "sk-1").unwrap();
        assert_eq!(with.headers()["authorization"], "Bearer sk-1");
        assert!(!format!("{with:?} {:?}", with.headers()).contains("sk-1"));
        assert!(endpoint("http://a.example", "").unwrap().headers().is_empty());
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        for base in [
            "ftp://a.example",
            "http://me:secret@a.example",
            "http://a.example/#x",
            "data:x",
        ] {
            let error = endpoint(base, "k").unwrap_err();
            assert!(matches!(error, InvalidOptions::BaseUrl) && !error.to_string().contains("secret"));
        }
        let error = endpoint("http://a.example", "sk-\n1").unwrap_err();
        assert!(matches!(error, InvalidOptions::ApiKey) && !format!("{error:?} {error}").contains("sk-"));
    }
}
