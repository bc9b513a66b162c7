//! Figures that a person can read, and the verdict that a machine can.

use std::{process::ExitCode, time::Duration};

use super::Result;

/// The middle one; of two in the middle their mean.
pub(crate) fn median(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    match sorted.len() {
        0 => Duration::ZERO,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2,
    }
}

/// The duration that so many of a hundred do not exceed.
pub(crate) fn percentile(durations: &[Duration], hundredth: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let at = (sorted.len() * hundredth).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// `412 ms`, `3.20 s`.
pub(crate) fn shown(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

/// `16.3 MB`, of a million bytes each.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// How many times as long.
pub(crate) fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// What a bench has found: a table, and goals that were met or not.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(String, String)>,
    goals: Vec<(String, bool)>,
}

impl Report {
    /// Adds a row.
    pub(crate) fn row(&mut self, name: impl Into<String>, figure: impl Into<String>) {
        self.rows.push((name.into(), figure.into()));
    }

    /// Adds the row of a time measured several times.
    pub(crate) fn times(&mut self, name: &str, durations: &[Duration]) {
        let (best, worst) = (percentile(durations, 0), percentile(durations, 100));
        let figure = format!("{:>8}   ({} to {})", shown(median(durations)), shown(best), shown(worst));
        self.row(name, figure);
    }

    /// Adds a goal.
    pub(crate) fn goal(&mut self, what: impl Into<String>, is_met: bool) {
        self.goals.push((what.into(), is_met));
    }

    /// Prints it.
    fn print(&self, title: &str) {
        println!("\n{title}");
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, figure) in &self.rows {
            println!("  {name:width$}  {figure}");
        }
        for (what, is_met) in &self.goals {
            println!("  {}  {what}", if *is_met { "goal met   " } else { "GOAL MISSED" });
        }
    }
}

/// Runs a bench; the exit code is 0 if every goal was met.
pub(crate) fn conclude(title: &str, bench: impl FnOnce() -> Result<Report>) -> ExitCode {
    match bench() {
        Ok(report) => {
            report.print(title);
            let all_met = report.goals.iter().all(|(_, is_met)| *is_met);
            if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!(" !     {title}: {failure}");
            ExitCode::FAILURE
        }
    }
}
