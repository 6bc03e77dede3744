//! Logs: lines of text for people, JSON for machines.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, stderr, stdout};

use anteroom_otlp::SpanLayer;
use anyhow::Context as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, Settings};
use crate::log_output;

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
    start_with(settings, output, None)
}

/// The same, with what else is to see the spans.
pub(crate) fn start_with(settings: &Settings, output: Output, spans: Option<SpanLayer>) -> anyhow::Result<()> {
    // What is traced is for a collector, and no part of a line. What libraries say of their threads, the database of what it skips, and the HTTP parser of what strangers send
    // (at the level of errors), is for those who ask for it.
    let directives = format!(
        "actix_server=warn,actix_http=off,tokio_postgres=warn,{},{}=off",
        settings.log.level,
        anteroom_otlp::SPANS
    );
    let filter = EnvFilter::try_new(directives).with_context(|| {
        format!(
            "log.level `{}` is none; use error, warn, info, debug or trace, or directives per module",
            settings.log.level
        )
    })?;
    let (writer, colours) = match output {
        Output::Stdout => (
            BoxMakeWriter::new(log_output::start().context("the log cannot be written")?),
            stdout().is_terminal(),
        ),
        Output::Stderr => (BoxMakeWriter::new(stderr), stderr().is_terminal()),
    };
    if let Some(spans) = spans {
        start_traced(settings, filter, (writer, colours), spans);
        return Ok(());
    }
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match settings.log.format {
        LogFormat::Text => lines
            .with_ansi(colours)
            .with_target(false)
            .fmt_fields(TextFields)
            .try_init(),
        LogFormat::Json => lines.fmt_fields(JsonLine).event_format(JsonLine).try_init(),
    };
    // Tests start more than one server in a process; the first one's choice stands.
    drop(started);
    Ok(())
}

/// The same, with a second layer beside the lines: each sees only what is for it.
fn start_traced(settings: &Settings, filter: EnvFilter, (writer, colours): (BoxMakeWriter, bool), spans: SpanLayer) {
    let spans = spans.with_filter(filter_fn(|about| about.target() == anteroom_otlp::SPANS));
    let traced = tracing_subscriber::registry().with(spans);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let started = match settings.log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(colours).with_target(false).fmt_fields(TextFields);
            traced.with(lines.with_filter(filter)).try_init()
        }
        LogFormat::Json => {
            let lines = lines.fmt_fields(JsonLine).event_format(JsonLine);
            traced.with(lines.with_filter(filter)).try_init()
        }
    };
    drop(started);
}

/// What could end a line, or make a terminal or an editor show something else than is there: control characters (C0,
/// DEL, C1), Unicode's line and paragraph separators, and its marks that turn the direction of what follows.
fn could_forge(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a text is plain ASCII that stands in every line as it is. Most texts are, and this looks at many bytes at a
/// time, where looking for characters goes one by one.
fn is_plain(text: &str) -> bool {
    let special = |b: u8| !matches!(b, b' '..=b'~') || matches!(b, b'"' | b'\\');
    !text.bytes().fold(false, |found, b| found | special(b))
}

/// Fields of text lines as tracing-subscriber writes them, but with whatever could forge a line escaped: texts of errors
/// repeat what strangers sent.
struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = TextMembers {
            line: writer,
            first: true,
            outcome: Ok(()),
        };
        fields.record(&mut members);
        members.outcome
    }
}

struct TextMembers<'w> {
    line: Writer<'w>,
    first: bool,
    outcome: fmt::Result,
}

impl Visit for TextMembers<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let line = &mut self.line;
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        let name = name(field);
        self.outcome = self.outcome.and_then(|()| match name {
            "message" => write!(line, "{space}"),
            _ if line.has_ansi_escapes() => write!(line, "{space}\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m"),
            _ => write!(line, "{space}{name}="),
        });
        self.outcome = self.outcome.and_then(|()| write!(Harmless(line), "{value:?}"));
    }
}

/// Escapes what could forge a line.
struct Harmless<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Harmless<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| could_forge(*c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", c.escape_default())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
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

/// A field's name. Those of raw identifiers carry a prefix that is no part of them.
fn name(field: &Field) -> &'static str {
    field.name().strip_prefix("r#").unwrap_or(field.name())
}

// In pieces rather than by `write!`, which costs more than what it writes here.
impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.outcome = self.outcome.and_then(|()| {
            self.line.write_str(",\"")?;
            self.line.write_str(name(field))?;
            self.line.write_str("\":")?;
            value(&mut self.line)
        });
    }

    fn text(&mut self, field: &Field, value: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result) {
        self.member(field, |line| {
            line.write_str("\"")?;
            value(&mut Escaped(line))?;
            line.write_str("\"")
        });
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is not a number.
        self.member(field, |line| {
            if value.is_finite() {
                write!(line, "{value}")
            } else {
                line.write_str("null")
            }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| line.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| line.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| line.write_str(if value { "true" } else { "false" }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }
}

/// Escapes what passes as the inside of a JSON string (RFC 8259 section 7), and what could forge a line besides.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text) {
            return self.0.write_str(text);
        }
        let special = |c: char| matches!(c, '"' | '\\') || could_forge(c);
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| special(*c)) {
            self.0.write_str(&rest[..at])?;
            match c {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                // None of them is beyond the sixteen bits that JSON's escapes have.
                other => write!(self.0, "\\u{:04x}", u32::from(other))?,
            }
            rest = &rest[at + c.len_utf8()..];
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

    /// What strangers may put into a user agent, an address or an upstream's error, to write lines of their own.
    const FORGED: &str = "x\n2026-01-01T00:00:00Z  INFO event=\"forged\"\r\n{\"event\":\"forged\"}\u{85}a\u{2028}b\u{2029}\u{1b}[2Kc\u{9b}2Kd\u{202e}e\u{7f}\u{0}";

    fn is_one_line(bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.chars().any(could_forge), "{line:?}");
        line.to_owned()
    }

    #[test]
    fn no_text_forges_a_line() {
        let say = || {
            let _around = info_span!("request", agent = FORGED, shown = %FORGED).entered();
            info!(event = "a.b", text = FORGED, shown = %FORGED, debug = ?FORGED, "said {FORGED}");
        };
        let (json, text) = (Kept::default(), Kept::default());
        let writer = json.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let lines = lines.fmt_fields(JsonLine).event_format(JsonLine).finish();
        tracing::subscriber::with_default(lines, say);
        let line: Value = serde_json::from_str(&is_one_line(&json.0.lock().unwrap())).unwrap();
        assert_eq!((&line["event"], &line["shown"]), (&json!("a.b"), &json!(FORGED)));

        let writer = text.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false);
        tracing::subscriber::with_default(lines.fmt_fields(TextFields).finish(), say);
        let line = is_one_line(&text.0.lock().unwrap());
        assert!(line.contains(" event=\"a.b\" text=\"x\\n2026"), "{line}");
        assert!(
            line.contains("said x\\n2026") && line.contains("shown=x\\n2026"),
            "{line}"
        );
    }

    #[test]
    fn text_lines_look_as_they_always_did() {
        let say = || {
            let _around = info_span!("request", request_id = %"r-1", n = 2).entered();
            info!(event = "a.b", text = "quote \" é", n = -3, on = true, none = None::<i64>, debug = ?Some("x"), "said");
        };
        let look = |ansi: bool, ours: bool| {
            let kept = Kept::default();
            let writer = kept.clone();
            let lines = tracing_subscriber::fmt().with_writer(move || writer.clone());
            let lines = lines.with_ansi(ansi).without_time();
            if ours {
                tracing::subscriber::with_default(lines.fmt_fields(TextFields).finish(), say);
            } else {
                tracing::subscriber::with_default(lines.finish(), say);
            }
            let bytes = kept.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        for ansi in [false, true] {
            assert_eq!(look(ansi, true), look(ansi, false));
        }
    }
}
