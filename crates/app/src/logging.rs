//! Logs: lines of text for people, JSON for machines.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, stderr, stdout};

use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogFormat, Settings};

/// Where lines go: a server's to its output, a command's beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error, so that what a command prints can be piped.
    Stderr,
}

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(settings: &Settings, output: Output) -> anyhow::Result<()> {
    // What libraries say of their threads, the database of what it skips, and the HTTP parser of what strangers send
    // (at the level of errors), is for those who ask for it.
    let directives = format!(
        "actix_server=warn,actix_http=off,tokio_postgres=warn,{}",
        settings.log.level
    );
    let filter = EnvFilter::try_new(directives).with_context(|| {
        format!(
            "log.level `{}` is none; use error, warn, info, debug or trace, or directives per module",
            settings.log.level
        )
    })?;
    let (writer, colours) = match output {
        Output::Stdout => (BoxMakeWriter::new(stdout), stdout().is_terminal()),
        Output::Stderr => (BoxMakeWriter::new(stderr), stderr().is_terminal()),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match settings.log.format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).try_init(),
        LogFormat::Json => lines.fmt_fields(JsonLine).event_format(JsonLine).try_init(),
    };
    // Tests start more than one server in a process; the first one's choice stands.
    drop(started);
    Ok(())
}

/// One flat JSON object a line: `timestamp`, `level`, `target`, the fields of the spans around it, its own fields.
///
/// tracing-subscriber's own JSON format reads every span's fields back from JSON for each line, which costs more than
/// the rest of a session check together (docs/performance.md). Here fields are written once and copied.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "a log line is stamped by the machine's clock")]
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (now, about) = (jiff::Timestamp::now(), event.metadata());
        write!(
            line,
            "{{\"timestamp\":\"{now:.6}\",\"level\":\"{}\",\"target\":\"{}\"",
            about.level(),
            about.target()
        )?;
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.write_str(fields)?;
            }
        }
        let mut members = Members {
            line: line.by_ref(),
            outcome: Ok(()),
        };
        event.record(&mut members);
        members.outcome?;
        line.write_str("}\n")
    }
}

impl<'writer> FormatFields<'writer> for JsonLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members {
            line: writer,
            outcome: Ok(()),
        };
        fields.record(&mut members);
        members.outcome
    }
}

/// Writes each field as a member, with a comma before it.
struct Members<'w> {
    line: Writer<'w>,
    outcome: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl fmt::Display) {
        // Names of raw identifiers carry a prefix that is no part of them.
        let name = field.name().trim_start_matches("r#");
        self.outcome = self.outcome.and_then(|()| write!(self.line, ",\"{name}\":{value}"));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name().trim_start_matches("r#");
        self.outcome = self.outcome.and_then(|()| {
            write!(self.line, ",\"{name}\":\"")?;
            Escaped(&mut self.line).write_fmt(value)?;
            self.line.write_char('"')
        });
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not a number.
        if value.is_finite() {
            self.member(field, value);
        } else {
            self.member(field, "null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Escapes what passes as the inside of a JSON string (RFC 8259 section 7).
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let special = |c: char| matches!(c, '"' | '\\') || c < ' ';
        let mut rest = text;
        while let Some(at) = rest.find(special) {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                other => write!(self.0, "\\u{other:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_flat_object_whatever_it_holds() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonLine)
            .event_format(JsonLine)
            .finish();
        tracing::subscriber::with_default(lines, || {
            let _around = info_span!("request", request_id = %"r-1").entered();
            let _inner = info_span!("inner", depth = 2).entered();
            info!(event = "a.b", text = "quote \" back \\ line\nbell \u{7} é", n = -3, big = u64::MAX, ms = 1.5, nan = f64::NAN, on = true, none = None::<i64>, debug = ?Some("x"), "said");
        });
        let bytes = kept.0.lock().unwrap().clone();
        let mut line: Value = serde_json::from_slice(&bytes).unwrap();
        let stamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(stamp.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{stamp}");
        assert_eq!(
            line,
            json!({
                "level": "INFO", "target": "anteroom_app::logging::tests", "request_id": "r-1", "depth": 2, "event": "a.b", "message": "said",
                "text": "quote \" back \\ line\nbell \u{7} é", "n": -3, "big": u64::MAX, "ms": 1.5, "nan": null, "on": true, "debug": "Some(\"x\")",
            })
        );
        assert_eq!(bytes.split(|b| *b == b'\n').count(), 2);
    }
}
