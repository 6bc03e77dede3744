//! Limits that an operator writes: which requests, by whom, how many, and what happens to more.

use super::Limit;

/// A limit of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// How many, under which name.
    pub limit: Limit,
    /// Of which requests.
    pub route: RoutePattern,
    /// What is counted apart.
    pub per: RuleKey,
    /// What happens to those beyond.
    pub action: RuleAction,
}

/// By what requests are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKey {
    /// By account, its keys included. Who is not signed in is not counted.
    User,
    /// By API key. What comes without one is not counted.
    ApiKey,
    /// By client address; IPv6 by its /64.
    Address,
}

/// What happens to a request beyond a rule's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// It is refused.
    Refuse,
    /// It is let go, and logged: for trying a rule.
    Log,
}

/// Requests by method and path: `POST /v1/chat/completions`, `/v1/auth/*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    method: Option<String>,
    path: String,
    open: bool,
}

/// Why a text is no pattern of routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no route: write a path of the API, `*` at its end for all below it, with or without a method before it"
)]
pub struct InvalidRoute(String);

impl RoutePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidRoute> {
        let wrong = || InvalidRoute(text.to_owned());
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, text),
        };
        let is_method = |method: &str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let (path, open) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
        let is_path = path.starts_with('/') || (path.is_empty() && open);
        if !is_path || path.contains(['*', ' ']) || !method.is_none_or(is_method) {
            return Err(wrong());
        }
        Ok(Self {
            method: method.map(str::to_owned),
            path: path.to_owned(),
            open,
        })
    }

    /// Whether a request of this method to a route of this path is one of them. The path has its `{names}`.
    pub fn covers(&self, method: &str, path: &str) -> bool {
        // What answers GET answers HEAD.
        let method = if method == "HEAD" { "GET" } else { method };
        let same = self.method.as_ref().is_none_or(|own| own == method);
        same && if self.open {
            path.starts_with(&self.path)
        } else {
            path == self.path
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_says() {
        let covers =
            |pattern: &str, method: &str, path: &str| RoutePattern::parse(pattern).unwrap().covers(method, path);
        assert!(covers("POST /v1/chat/completions", "POST", "/v1/chat/completions"));
        assert!(!covers("POST /v1/chat/completions", "GET", "/v1/chat/completions"));
        assert!(!covers("/v1/me", "GET", "/v1/me/usage"));
        assert!(covers("/v1/me", "PATCH", "/v1/me"));
        assert!(covers("GET /v1/me", "HEAD", "/v1/me"));
        assert!(covers("/v1/auth/*", "POST", "/v1/auth/login"));
        assert!(!covers("/v1/auth/*", "POST", "/v1/authx"));
        assert!(covers("*", "GET", "/"));
        assert!(covers("DELETE *", "DELETE", "/v1/me/api-keys/{id}"));
        assert!(covers("/v1/me/api-keys/{id}", "GET", "/v1/me/api-keys/{id}"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "v1/me",
            "post /v1/me",
            "POST",
            "POST  /v1/me",
            "/v1/*/keys",
            " /v1",
            "POST v1/*",
        ] {
            assert_eq!(RoutePattern::parse(text), Err(InvalidRoute(text.to_owned())));
        }
    }
}
