//! [`PullProgress`]: from the engine's hundreds of messages about layers to a line a second for people.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bollard::models::CreateImageInfo;

/// Between two lines about the same pull.
const PAUSE: Duration = Duration::from_secs(1);

/// The state of a pull.
#[derive(Debug, Default)]
pub(super) struct PullProgress {
    layers: BTreeMap<String, Layer>,
    last_said: Option<(Instant, String)>,
}

#[derive(Debug, Default)]
struct Layer {
    bytes: u64,
    bytes_total: u64,
    is_done: bool,
    was_there: bool,
}

impl PullProgress {
    /// Takes a message, and gives a line when there is something new to say and the last one is a while ago.
    pub(super) fn take(&mut self, message: &CreateImageInfo, now: Instant) -> Option<String> {
        self.note(message);
        if self.layers.is_empty() {
            return None;
        }
        match &self.last_said {
            None => {
                // The first line comes a pause after the first message: a short pull says only how it ended.
                self.last_said = Some((now, String::new()));
                return None;
            }
            Some((then, _)) if now.duration_since(*then) < PAUSE => return None,
            Some(_) => {}
        }
        let line = self.line();
        let is_news = self.last_said.as_ref().is_some_and(|(_, last)| *last != line);
        self.last_said = Some((now, line.clone()));
        is_news.then_some(line)
    }

    /// What came of it, for people; `None` when no layer was spoken of.
    pub(super) fn summary(&self) -> Option<String> {
        let new = self.layers.values().filter(|layer| !layer.was_there).count();
        let bytes: u64 = self.layers.values().map(|layer| layer.bytes_total).sum();
        (!self.layers.is_empty()).then(|| match new {
            0 => "All layers were there already".to_owned(),
            1 => format!("1 layer, {}", megabytes(bytes)),
            new => format!("{new} layers, {}", megabytes(bytes)),
        })
    }

    fn note(&mut self, message: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&message.id, &message.status) else { return };
        // `Pulling from library/busybox` carries the tag where the others carry a layer.
        if status.starts_with("Pulling from") {
            return;
        }
        let layer = self.layers.entry(id.clone()).or_default();
        let detail = message.progress_detail.as_ref();
        let number =
            |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
        match status.as_str() {
            "Downloading" => {
                layer.bytes = number(detail.and_then(|detail| detail.current));
                layer.bytes_total = number(detail.and_then(|detail| detail.total)).max(layer.bytes);
            }
            "Download complete" => layer.bytes = layer.bytes_total,
            "Pull complete" => (layer.bytes, layer.is_done) = (layer.bytes_total, true),
            "Already exists" => (layer.is_done, layer.was_there) = (true, true),
            _ => {}
        }
    }

    fn line(&self) -> String {
        let done = self.layers.values().filter(|layer| layer.is_done).count();
        let bytes: u64 = self.layers.values().map(|layer| layer.bytes).sum();
        let total: u64 = self.layers.values().map(|layer| layer.bytes_total).sum();
        format!("{done} of {} layers, {} of {}", self.layers.len(), megabytes(bytes), megabytes(total))
    }
}

/// `1.2 MB`, as registries count.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(id: &str, status: &str, progress: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: progress
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            error_detail: None,
        }
    }

    #[test]
    fn a_line_a_second_and_none_twice() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut progress = PullProgress::default();
        assert_eq!(progress.take(&message("1.36", "Pulling from library/busybox", None), at(0)), None);
        assert_eq!(progress.take(&message("a", "Pulling fs layer", None), at(0)), None);
        assert_eq!(progress.take(&message("b", "Already exists", None), at(0)), None);
        let half = message("a", "Downloading", Some((1_000_000, 2_000_000)));
        assert_eq!(progress.take(&half, at(0)), None);
        assert_eq!(progress.take(&half, at(2)), Some("1 of 2 layers, 1.0 MB of 2.0 MB".into()));
        assert_eq!(progress.take(&half, at(4)), None, "nothing new");
        progress.take(&message("a", "Pull complete", None), at(4));
        assert_eq!(progress.summary(), Some("1 layer, 2.0 MB".into()));
    }
}
