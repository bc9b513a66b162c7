//! Chooses format and filter, and begins to log.

use std::{
    env,
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, filter::ParseError, util::SubscriberInitExt};

use super::escape::Escaping;

/// The variable with the filter: `info`, `debug`, `info,autostack_proxy=trace`.
const FILTER_VARIABLE: &str = "AUTOSTACK_LOG";
/// The filter where the variable is not set.
const FILTER_DEFAULT: &str = "info";
/// systemd sets these for what it starts; the first for what logs to its journal.
const SYSTEMD_VARIABLES: [&str; 2] = ["JOURNAL_STREAM", "INVOCATION_ID"];

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person: time, level, text, fields.
    Readable,
    /// For a program: one JSON object a line.
    Json,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("AUTOSTACK_LOG is not a log filter, such as \"info\" or \"info,autostack_proxy=debug\"")]
    Filter(#[source] ParseError),
    /// Logging has begun already.
    #[error("cannot begin to log")]
    Begun(#[source] tracing_subscriber::util::TryInitError),
}

/// Begins to log to stderr: JSON under systemd, readable otherwise; panics too. Once for each process.
///
/// # Errors
/// When `AUTOSTACK_LOG` is no filter, or logging has begun already.
pub fn init() -> Result<(), TelemetryError> {
    let filter = env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.into());
    let format = format_for(|name| env::var_os(name).is_some(), io::stderr().is_terminal());
    subscriber(format, &filter, io::stderr)?.try_init().map_err(TelemetryError::Begun)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// What `init` installs, for a writer of choice.
///
/// # Errors
/// When `filter` is no filter.
pub fn subscriber<W: Write>(
    format: Format,
    filter: &str,
    out: impl Fn() -> W + Send + Sync + 'static,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || Escaping::new(out(), format));
    Ok(match format {
        Format::Readable => Box::new(builder.with_target(false).compact().finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).with_span_list(false).finish()),
    })
}

/// A desktop's shells inherit the variables of the session that systemd started, so a terminal decides first.
fn format_for(is_set: impl Fn(&str) -> bool, to_terminal: bool) -> Format {
    if !to_terminal && SYSTEMD_VARIABLES.into_iter().any(is_set) { Format::Json } else { Format::Readable }
}

/// Where it happened; the name of the task follows in a line of its own (`crate::tasks`).
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current();
    tracing::error!(location, panic = message, thread = thread.name().unwrap_or_default(), "panic");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const HOSTILE: &str = "a\u{1b}]0;t\u{7}\nforged\r\u{9b}2J\u{202e}\"";

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, work: impl FnOnce()) -> String {
        let captured = Captured::default();
        let out = captured.clone();
        let subscriber = subscriber(format, filter, move || out.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(std::mem::take(&mut *captured.0.lock().unwrap())).unwrap()
    }

    #[test]
    fn e4_a_tenants_bytes_neither_command_a_terminal_nor_forge_a_line() {
        for format in [Format::Readable, Format::Json] {
            let line =
                logged(format, "info", || tracing::info!(user = HOSTILE, debug = ?HOSTILE, "{HOSTILE}"));
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.contains(autostack_domain::screen::is_harmful), "{format:?}: {body:?}");
        }
    }

    #[test]
    fn json_stays_json_and_keeps_the_text() {
        let line = logged(Format::Json, "info", || tracing::warn!(user = HOSTILE, "said"));
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["level"], "WARN");
        assert_eq!(event["message"], "said");
        assert_eq!(event["user"], HOSTILE);
    }

    #[test]
    fn readable_lines_name_level_text_and_fields() {
        let line = logged(Format::Readable, "info", || tracing::warn!(port = 22, "door opened"));
        assert!(line.contains(" WARN door opened port=22"), "{line:?}");
    }

    #[test]
    fn the_filter_decides_and_must_be_one() {
        assert_eq!(logged(Format::Readable, "warn", || tracing::info!("quiet")), "");
        let refused = subscriber(Format::Readable, "autostack=loud", io::sink).err();
        assert!(matches!(refused, Some(TelemetryError::Filter(_))));
    }

    #[test]
    fn systemd_gets_json_and_nobody_else() {
        assert_eq!(format_for(|name| name == "INVOCATION_ID", false), Format::Json);
        assert_eq!(format_for(|name| name == "JOURNAL_STREAM", false), Format::Json);
        assert_eq!(format_for(|name| name == "JOURNAL_STREAM", true), Format::Readable);
        assert_eq!(format_for(|name| name == "TERM", false), Format::Readable);
    }
}
