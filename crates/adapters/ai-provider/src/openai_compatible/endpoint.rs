//! Where the server is and how Anteroom shows itself there.

use async_openai::config::Config;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use secrecy::SecretString;
use url::Url;

use super::AzureOptions;
use crate::shared::InvalidOptions;
use crate::shared::transport::{below, check_base, key_header};

/// Azure's name of the key's header.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The server's address and key. async-openai's own `OpenAIConfig` is not used: it reads organization and project
/// from the environment, sends `Bearer ` without a key and panics on a key that no header can carry.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: Url,
    key: SecretString,
    headers: HeaderMap,
    by_deployment: bool,
}

impl Endpoint {
    /// Takes a base URL up to and including the API's version (`https://api.openai.com/v1`). A query stays on every
    /// request.
    pub(super) fn new(mut base: Url, key: SecretString, azure: Option<AzureOptions>) -> Result<Self, InvalidOptions> {
        check_base(&base)?;
        let headers = match azure {
            None => key_header(AUTHORIZATION, "Bearer ", &key)?,
            Some(_) => key_header(API_KEY, "", &key)?,
        };
        if let Some(version) = azure.as_ref().and_then(|azure| azure.api_version.as_deref()) {
            base.query_pairs_mut().append_pair("api-version", version);
        }
        let by_deployment = azure.is_some_and(|azure| azure.api_version.is_some());
        Ok(Self {
            base,
            key,
            headers,
            by_deployment,
        })
    }

    /// Where calls to this model go. Azure's older addresses name it in the path.
    pub(super) fn of_model(&self, model: &str, path: &str) -> Url {
        if !self.by_deployment {
            return below(&self.base, path);
        }
        let mut url = below(&self.base, "/deployments");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(model).extend(path.split('/').filter(|s| !s.is_empty()));
        }
        url
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        below(&self.base, path).into()
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
        Endpoint::new(base.parse().unwrap(), key.into(), None)
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
