//! What a log may take on disk, and for how long.

use std::time::Duration;

use autostack_base::settings::LogSettings;

/// Limits that the settings give. A log is removed whole segments at a time, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes that the log of one app may take; at least two segments are kept room for.
    pub app_bytes_max: u64,
    /// Age after which lines of an app are removed.
    pub app_age_max: Duration,
    /// Bytes of tools' output that one build log takes; the rest of it is dropped, and the log says so.
    pub build_bytes_max: u64,
    /// Age after which a build log is removed, counted from its last line.
    pub build_age_max: Duration,
    /// Bytes after which a new segment begins.
    pub segment_bytes_max: u64,
}

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for LogLimits {
    /// 64 MiB and 30 days for an app, 50 MiB and 90 days for a build, segments of 4 MiB.
    fn default() -> Self {
        Self {
            app_bytes_max: 64 * MIB,
            app_age_max: 30 * DAY,
            build_bytes_max: 50 * MIB,
            build_age_max: 90 * DAY,
            segment_bytes_max: 4 * MIB,
        }
    }
}

impl From<&LogSettings> for LogLimits {
    fn from(settings: &LogSettings) -> Self {
        Self {
            app_bytes_max: settings.app_bytes_max,
            app_age_max: settings.app_age_max,
            build_age_max: settings.build_age_max,
            ..Self::default()
        }
    }
}
