//! The shapes in which commands tell what is: a report of one app, and a list.

use autostack_domain::{Line, screen::Printable};
use serde_json::{Map, Value};

/// Characters of the longest label, with its colon and room behind it.
const LABEL_CHARS: usize = 31;

/// What is known of one app, or of the host, under one topic.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    topic: &'static str,
    about: String,
    rows: Vec<(String, String)>,
}

impl Report {
    /// A report without rows. `about` is the name of an app, or `global`.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have")]
    pub(crate) fn new(topic: &'static str, about: impl ToString) -> Self {
        Self { topic, about: about.to_string(), rows: Vec::new() }
    }

    /// What it is about the app: `ps`.
    pub(crate) fn topic(&self) -> &'static str {
        self.topic
    }

    /// Adds a row. The key is in lower case with dashes: `running-web`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have")]
    pub(crate) fn row(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.rows.push((key.into(), value.to_string()));
        self
    }

    /// The value of the row that an option asks for: `--ps-running`, or `--running`; `--app-locked` for the topic `apps`.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        let asked = option.strip_prefix("--")?;
        let of = |topic: &str| asked.strip_prefix(topic)?.strip_prefix('-');
        let keys = [of(self.topic), self.topic.strip_suffix('s').and_then(of), Some(asked)];
        let row = |key: &str| self.rows.iter().find(|(known, _)| known == key);
        keys.into_iter().flatten().find_map(row).map(|(_, value)| value.as_str())
    }

    /// The options that ask for one row.
    pub(crate) fn options(&self) -> Vec<String> {
        self.rows.iter().map(|(key, _)| format!("--{}-{key}", self.topic)).collect()
    }

    /// An object of texts; `app` names what it is about.
    pub(crate) fn json(&self) -> Value {
        let about = std::iter::once(("app".to_owned(), Value::from(self.about.as_str())));
        let rows = self.rows.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        Value::Object(about.chain(rows).collect::<Map<_, _>>())
    }

    /// A heading and a line a row.
    pub(crate) fn text(&self, with_heading: bool) -> String {
        let heading = format!("{} {} information", self.about, self.topic.replace('-', " "));
        let heading = with_heading.then(|| Line::result(heading));
        let rows = self.rows.iter().map(|(key, value)| {
            let label = label(key);
            Line::detail(format!("{label:LABEL_CHARS$}{}", Printable(value)))
        });
        text(heading.into_iter().chain(rows))
    }
}

/// `running-web` → `Running web:`.
fn label(key: &str) -> String {
    let words = key.replace(['-', '.'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain([':']).collect()
}

/// A list with named columns.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty list. The columns are the keys in JSON; on a screen they stand in a line of their own where there are
    /// several.
    pub(crate) fn new(title: impl Into<String>, columns: &'static [&'static str]) -> Self {
        Self { title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row, a cell a column.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = impl ToString>) {
        self.rows.push(cells.into_iter().map(|cell| cell.to_string()).collect());
    }

    /// An array of objects of texts.
    pub(crate) fn json(&self) -> Value {
        let object = |cells: &Vec<String>| {
            let pairs = self.columns.iter().zip(cells);
            Value::Object(pairs.map(|(key, cell)| ((*key).to_owned(), Value::from(cell.as_str()))).collect())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// The list on a screen. Without headings it is for scripts: rows only, without indentation.
pub(crate) fn columns(table: &Table, with_headings: bool) -> String {
    let names = table.columns.iter().map(|name| name.replace('-', " ")).collect::<Vec<_>>();
    let heads = (with_headings && names.len() > 1 && !table.rows.is_empty()).then_some(&names);
    let rows: Vec<Vec<String>> = heads
        .into_iter()
        .chain(&table.rows)
        .map(|cells| cells.iter().map(|cell| Printable(cell).to_string()).collect())
        .collect();
    let width = |at: usize| {
        let widths = rows.iter().filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let shown = rows.iter().map(|cells| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    if !with_headings {
        return shown.map(|row| format!("{row}\n")).collect();
    }
    let none = table.rows.is_empty().then(|| Line::detail("none"));
    text(std::iter::once(Line::result(&table.title)).chain(none).chain(shown.map(Line::detail)))
}

fn text(lines: impl IntoIterator<Item = Line>) -> String {
    lines.into_iter().map(|line| format!("{}\n", line.to_string().trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_text_json_and_single_values() {
        let report = Report::new("ps", "shop").row("running", true).row("status-web.1", "up\u{1b}[2J");
        assert_eq!(
            report.text(true),
            "=====> shop ps information\n       Running:                       true\n       \
             Status web 1:                  up\\u{1b}[2J\n"
        );
        assert_eq!(report.text(false).lines().count(), 2);
        assert_eq!(report.value("--ps-running"), Some("true"));
        assert_eq!(report.value("--running"), Some("true"));
        assert_eq!(report.value("--ps-colour"), None);
        assert_eq!(report.options(), ["--ps-running", "--ps-status-web.1"]);
        assert_eq!(report.json(), json!({"app": "shop", "running": "true", "status-web.1": "up\u{1b}[2J"}));
    }

    #[test]
    fn a_list_stands_in_columns() {
        let mut table = Table::new("Releases", &["version", "made-by"]);
        assert_eq!(columns(&table, true), "=====> Releases\n       none\n");
        assert_eq!(columns(&table, false), "");
        table.push(["v1", "ada"]);
        table.push(["v12", "bob"]);
        assert_eq!(
            columns(&table, true),
            "=====> Releases\n       version  made by\n       v1       ada\n       v12      bob\n"
        );
        assert_eq!(columns(&table, false), "v1   ada\nv12  bob\n");
        assert_eq!(table.json()[1], json!({"version": "v12", "made-by": "bob"}));
    }
}
