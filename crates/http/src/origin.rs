//! Which pages may call: cross-site request forgery stops here (OWASP ASVS 5.0 V3.5).

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode, header};

use crate::problem::Problem;

fn changes_state(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The request's `Origin`: `None` if absent, `Some("")` if it cannot be read.
pub(crate) fn origin(request: &HttpRequest) -> Option<&str> {
    request
        .headers()
        .get(header::ORIGIN)
        .map(|v| v.to_str().unwrap_or_default())
}

pub(crate) fn allowed(origin: &str, list: &[String]) -> bool {
    list.iter().any(|a| a == origin)
}

fn refused() -> Problem {
    let detail = "a request that changes something must come from the product's own pages; set FRONTEND_URL to the frontend's address";
    Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail)
}

/// A state-changing request that rides on a cookie must prove that it comes from an allowed page.
pub(crate) fn check_cookie(request: &HttpRequest, list: &[String]) -> Result<(), Problem> {
    if !changes_state(request.method()) {
        return Ok(());
    }
    let site = request
        .headers()
        .get(HeaderName::from_static("sec-fetch-site"))
        .and_then(|v| v.to_str().ok());
    let proven = match origin(request) {
        Some(origin) => allowed(origin, list),
        None => matches!(site, Some("same-origin" | "none")),
    };
    if proven { Ok(()) } else { Err(refused()) }
}

/// A state-changing request without a session must not come from a foreign page. Programs send no `Origin`.
pub(crate) fn check_anonymous(request: &HttpRequest, list: &[String]) -> Result<(), Problem> {
    match origin(request) {
        Some(origin) if changes_state(request.method()) && !allowed(origin, list) => Err(refused()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_allowed_pages_change_something() {
        let list = ["https://app.example".to_owned()];
        // method, origin, sec-fetch-site, with a cookie, without a session
        let table = [
            (Method::GET, Some("https://evil.example"), None, true, true),
            (Method::POST, Some("https://app.example"), None, true, true),
            (
                Method::POST,
                Some("https://app.example"),
                Some("cross-site"),
                true,
                true,
            ),
            (Method::POST, Some("https://evil.example"), None, false, false),
            (
                Method::POST,
                Some("https://evil.example"),
                Some("same-origin"),
                false,
                false,
            ),
            (
                Method::POST,
                Some("https://app.example.evil.example"),
                None,
                false,
                false,
            ),
            (Method::POST, Some("http://app.example"), None, false, false),
            (Method::POST, Some("null"), None, false, false),
            (Method::POST, None, Some("same-origin"), true, true),
            (Method::POST, None, Some("none"), true, true),
            (Method::POST, None, Some("same-site"), false, true),
            (Method::POST, None, Some("cross-site"), false, true),
            (Method::DELETE, None, None, false, true),
            (Method::PATCH, Some("https://evil.example"), None, false, false),
        ];
        for (method, origin, site, cookie, anonymous) in table {
            let mut request = TestRequest::default().method(method.clone());
            if let Some(origin) = origin {
                request = request.insert_header(("origin", origin));
            }
            if let Some(site) = site {
                request = request.insert_header(("sec-fetch-site", site));
            }
            let request = request.to_http_request();
            let case = format!("{method} {origin:?} {site:?}");
            assert_eq!(check_cookie(&request, &list).is_ok(), cookie, "cookie: {case}");
            assert_eq!(check_anonymous(&request, &list).is_ok(), anonymous, "anonymous: {case}");
        }
    }
}
