//! What answers about usage have in common: how it is asked for, and its two forms.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use anteroom_domain::billing::{NanoUsd, UsageGroup};
use anteroom_ports::billing::UsageSum;
use anteroom_services::billing::ListUsageError;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::problem::Problem;
use crate::query::{self, List};

/// In which form an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageFormat {
    /// `application/json`
    Json,
    /// `text/csv`
    Csv,
}

/// Which usage is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// The first day, in UTC; 30 days before `until` if absent.
    #[param(example = "2026-11-01", format = "date")]
    from: Option<String>,
    /// The day after the last one, in UTC; tomorrow if absent. At most 366 days after `from`.
    #[param(example = "2026-12-01", format = "date")]
    until: Option<String>,
    /// What is told apart, with commas between; `day` if absent, one sum of it all if empty.
    #[param(example = "day,model")]
    group_by: Option<String>,
    /// The form of the answer; if absent, that which `Accept` prefers.
    #[param(inline)]
    format: Option<UsageFormat>,
}

/// What was used, of one kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = UsageSum)]
pub struct UsageResponse {
    /// The day in UTC, if grouped by `day`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date", example = "2026-11-26", nullable = false)]
    day: Option<Date>,
    /// The account, if grouped by `account`; `null` for what is no account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    account_id: Option<Option<Uuid>>,
    /// The model that was asked for, if grouped by `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    model: Option<String>,
    /// The plan that was in force, if grouped by `plan`; `unknown` where nobody knows it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    plan: Option<String>,
    /// The API key, if grouped by `api_key`; `null` for what was used without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    api_key_id: Option<Option<Uuid>>,
    /// How many calls there were.
    calls: i64,
    /// Of these, how many brought no answer.
    failed_calls: i64,
    /// Tokens sent.
    prompt_tokens: i64,
    /// Of these, those that the provider had cached.
    cached_tokens: i64,
    /// Tokens received.
    completion_tokens: i64,
    /// Of these, those spent on reasoning.
    reasoning_tokens: i64,
    /// Tokens sent and received.
    total_tokens: i64,
    /// US dollars, of the calls whose price is known; `null` if that of none is.
    cost_usd: Option<f64>,
    /// How many calls have no known price.
    unpriced_calls: i64,
}

impl UsageResponse {
    pub(super) fn new(sum: UsageSum, by: &[UsageGroup]) -> Self {
        let (totals, tokens) = (sum.totals, sum.totals.tokens);
        let with = |group| by.contains(&group);
        Self {
            day: sum.day.map(|began| began.to_zoned(TimeZone::UTC).date()),
            account_id: with(UsageGroup::Account).then_some(sum.account.map(|id| id.0)),
            model: sum.model,
            plan: sum.plan,
            api_key_id: with(UsageGroup::ApiKey).then_some(sum.api_key.map(|id| id.0)),
            calls: totals.calls,
            failed_calls: totals.failed_calls,
            prompt_tokens: tokens.prompt_tokens,
            cached_tokens: tokens.cached_tokens,
            completion_tokens: tokens.completion_tokens,
            reasoning_tokens: tokens.reasoning_tokens,
            total_tokens: tokens.prompt_tokens.saturating_add(tokens.completion_tokens),
            cost_usd: totals.known_cost().map(NanoUsd::usd),
            unpriced_calls: totals.unpriced_calls,
        }
    }
}

/// A query that has been understood.
pub(super) struct UsageRequest {
    pub(super) from: Option<Date>,
    pub(super) until: Option<Date>,
    pub(super) by: Vec<UsageGroup>,
    csv: bool,
}

impl UsageRequest {
    /// Reads the query. `open` are the groups that may be asked for.
    pub(super) fn read(request: &HttpRequest, open: &[UsageGroup]) -> Result<Self, Problem> {
        let ask: UsageQuery = query::read(request)?;
        let accept = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok());
        let csv = match ask.format {
            Some(format) => format == UsageFormat::Csv,
            None => prefers_csv(accept.unwrap_or_default()),
        };
        Ok(Self {
            from: ask.from.map(|text| date("from", &text)).transpose()?,
            until: ask.until.map(|text| date("until", &text)).transpose()?,
            by: groups(ask.group_by.as_deref().unwrap_or("day"), open)?,
            csv,
        })
    }

    /// The answer, in the form that was asked for.
    pub(super) fn answer(&self, sums: Vec<UsageSum>) -> HttpResponse {
        if self.csv {
            return HttpResponse::Ok()
                .content_type("text/csv; charset=utf-8; header=present")
                .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\""))
                .body(csv(&sums, &self.by));
        }
        HttpResponse::Ok().json(List {
            data: sums.into_iter().map(|sum| UsageResponse::new(sum, &self.by)).collect(),
            next_cursor: None,
        })
    }
}

impl From<ListUsageError> for Problem {
    fn from(error: ListUsageError) -> Self {
        match error {
            ListUsageError::InvalidSpan(fault) => query::invalid(fault.to_string()),
            ListUsageError::TooManyRows => Self::new(StatusCode::BAD_REQUEST, "too_many_rows", error.to_string()),
            ListUsageError::Store(e) => e.into(),
        }
    }
}

/// A day in a query.
pub(super) fn date(name: &str, text: &str) -> Result<Date, Problem> {
    // Not also a time, of which nobody would say what becomes.
    let day = text.parse().ok().filter(|day: &Date| day.to_string() == text);
    day.ok_or_else(|| query::invalid(format!("`{name}` is a day as 2026-11-26, not `{text}`")))
}

fn groups(text: &str, open: &[UsageGroup]) -> Result<Vec<UsageGroup>, Problem> {
    let words = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    words
        .map(|word| {
            let group = UsageGroup::parse(word).filter(|group| open.contains(group));
            group.ok_or_else(|| {
                let open: Vec<&str> = open.iter().map(|group| group.as_str()).collect();
                query::invalid(format!("`group_by` takes {}, not `{word}`", open.join(", ")))
            })
        })
        .collect()
}

/// Whether a header says that CSV is liked, and JSON less (RFC 9110 section 12.5.1). What is not named is not liked.
fn prefers_csv(accept: &str) -> bool {
    let liked = |kind: &str| {
        let ranges = accept.split(',').map(|range| range.split(';').map(str::trim));
        let named = ranges.filter_map(|mut parts| {
            let range = parts.next()?;
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            range.eq_ignore_ascii_case(kind).then_some(quality.unwrap_or(1.0))
        });
        named.fold(0.0, f32::max)
    };
    let csv = liked("text/csv");
    csv > 0.0 && csv >= liked("application/json")
}

/// The rows as CSV (RFC 4180), with a line of names.
fn csv(sums: &[UsageSum], by: &[UsageGroup]) -> String {
    let groups = UsageGroup::ALL.into_iter().filter(|group| by.contains(group));
    let groups: Vec<UsageGroup> = groups.collect();
    let names = groups.iter().map(|group| match group {
        UsageGroup::Account => "account_id",
        UsageGroup::ApiKey => "api_key_id",
        other => other.as_str(),
    });
    let counts = [
        "calls",
        "failed_calls",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
        "total_tokens",
        "cost_usd",
        "unpriced_calls",
    ];
    let mut lines = vec![names.chain(counts).collect::<Vec<_>>().join(",")];
    lines.extend(sums.iter().map(|sum| line(sum, &groups)));
    lines.push(String::new());
    lines.join("\r\n")
}

fn line(sum: &UsageSum, groups: &[UsageGroup]) -> String {
    let (totals, tokens) = (&sum.totals, &sum.totals.tokens);
    let groups = groups.iter().map(|group| match group {
        UsageGroup::Day => sum.day.map(|began| began.to_zoned(TimeZone::UTC).date().to_string()),
        UsageGroup::Account => sum.account.map(|id| id.to_string()),
        UsageGroup::Model => sum.model.as_deref().map(cell),
        UsageGroup::Plan => sum.plan.as_deref().map(cell),
        UsageGroup::ApiKey => sum.api_key.map(|id| id.to_string()),
    });
    let before = [
        totals.calls,
        totals.failed_calls,
        tokens.prompt_tokens,
        tokens.cached_tokens,
        tokens.completion_tokens,
        tokens.reasoning_tokens,
        tokens.prompt_tokens.saturating_add(tokens.completion_tokens),
    ];
    let cells = groups
        .map(Option::unwrap_or_default)
        .chain(before.map(|count| count.to_string()))
        .chain([
            totals.known_cost().map(dollars).unwrap_or_default(),
            totals.unpriced_calls.to_string(),
        ]);
    cells.collect::<Vec<_>>().join(",")
}

/// A cell with somebody's text. Spreadsheets run what begins like a formula, so that gets an apostrophe before it, which
/// they read as "this is text" (OWASP, CSV Injection).
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n', ';', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// Dollars to the last billionth, without the rounding of a float.
fn dollars(cost: NanoUsd) -> String {
    let (whole, part) = (cost.0 / 1_000_000_000, (cost.0 % 1_000_000_000).unsigned_abs());
    let text = format!("{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use anteroom_domain::billing::UsageTotals;

    use super::*;

    #[test]
    fn nothing_in_a_cell_is_a_formula_or_a_second_cell() {
        for (text, written) in [
            ("gpt-4o", "gpt-4o"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            (
                "=HYPERLINK(\"http://x\",\"y\")",
                "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"",
            ),
            ("", ""),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }

    #[test]
    fn dollars_are_exact() {
        for (nano, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (20_000_000_000, "20"),
            (9_007_199_254_740_993, "9007199.254740993"),
        ] {
            assert_eq!(dollars(NanoUsd(nano)), text);
        }
    }

    #[test]
    fn csv_comes_to_those_who_prefer_it() {
        for (accept, csv) in [
            ("", false),
            ("*/*", false),
            ("text/csv", true),
            ("Text/CSV;q=0.5", true),
            ("application/json, text/csv;q=0.9", false),
            ("application/json;q=0.8, text/csv", true),
            ("text/csv;q=0", false),
            ("text/html", false),
        ] {
            assert_eq!(prefers_csv(accept), csv, "{accept}");
        }
    }

    #[test]
    fn days_and_groups_are_read_strictly() {
        assert!(date("from", "2026-02-28").is_ok());
        for text in [
            "2026-02-29",
            "2026-2-1",
            "2026-02-01T00:00",
            "today",
            "",
            "20260201",
            " 2026-02-01",
        ] {
            assert!(date("from", text).is_err(), "{text}");
        }
        let open = [UsageGroup::Day, UsageGroup::Model];
        assert_eq!(
            groups("model, day", &open).unwrap(),
            [UsageGroup::Model, UsageGroup::Day]
        );
        assert_eq!(groups("", &open).unwrap(), []);
        for text in ["account", "day,", ",", "month"] {
            assert!(groups(text, &open).is_err(), "{text}");
        }
    }

    #[test]
    fn a_csv_has_the_columns_that_were_asked_for() {
        let sum = UsageSum {
            day: None,
            account: None,
            model: Some("=x".into()),
            plan: None,
            api_key: None,
            totals: UsageTotals {
                calls: 2,
                unpriced_calls: 2,
                ..UsageTotals::default()
            },
        };
        let by = [UsageGroup::ApiKey, UsageGroup::Model];
        assert_eq!(
            csv(&[sum], &by),
            "model,api_key_id,calls,failed_calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,\
             total_tokens,cost_usd,unpriced_calls\r\n\"'=x\",,2,0,0,0,0,0,0,,2\r\n"
        );
    }
}
