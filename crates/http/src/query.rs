//! Reading what stands in the URL.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The query of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many things at most: 1 to 100, 20 if absent.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The things.
    pub data: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A query that cannot be meant.
pub fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
}

/// Reads the query.
pub fn read<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    serde_urlencoded::from_str(request.query_string()).map_err(|e| invalid(format!("the query is invalid: {e}")))
}

impl PageQuery {
    /// Out of a query that has more members than these.
    pub fn of(limit: Option<i64>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// How many things at most.
    pub fn limit(&self) -> Result<i64, Problem> {
        match self.limit.unwrap_or(20) {
            n @ 1..=100 => Ok(n),
            _ => Err(invalid("`limit` is 1 to 100".to_owned())),
        }
    }

    /// The identifier that the page before ended with.
    pub fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let read = |text: &String| {
            text.parse()
                .map_err(|_| invalid("`cursor` is not one that this list handed out".to_owned()))
        };
        self.cursor.as_ref().map(read).transpose()
    }
}

/// An identifier in the path. One that is none names nothing.
pub fn id<T: std::str::FromStr>(request: &HttpRequest, what: &str) -> Result<T, Problem> {
    named(request, "id", what)
}

/// The same, under another name.
pub fn named<T: std::str::FromStr>(request: &HttpRequest, name: &str, what: &str) -> Result<T, Problem> {
    request
        .match_info()
        .get(name)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Problem::not_found(what))
}
