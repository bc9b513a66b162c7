//! Which entries a reader wants to see.

use autostack_domain::{InstanceId, ProcessType, ReleaseNumber, UnixMillis};

use crate::{
    entry::Entry,
    pattern::Pattern,
    record::{LineRef, OriginRef},
};

/// All that is set must fit. The default lets everything through; a filter for a process type, a dyno, an
/// instance or a release lets no line of the platform through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Lines of this process type.
    pub process: Option<ProcessType>,
    /// Lines of this dyno: `web.1`.
    pub dyno: Option<String>,
    /// Lines of this one copy.
    pub instance: Option<InstanceId>,
    /// Lines of this release.
    pub release: Option<ReleaseNumber>,
    /// Lines written at or after this moment.
    pub since: Option<UnixMillis>,
    /// Lines written before this moment.
    pub until: Option<UnixMillis>,
    /// Lines that hold these bytes.
    pub contains: Option<Vec<u8>>,
    /// Lines that hold a match.
    pub pattern: Option<Pattern>,
}

impl Filter {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether the entry is wanted.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.fits(&LineRef::of(entry))
    }

    pub(crate) fn fits(&self, line: &LineRef<'_>) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at < until)
            && self.fits_origin(line.origin)
            && self.contains.as_ref().is_none_or(|wanted| contains(line.text, wanted))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.fits(line.text))
    }

    fn fits_origin(&self, origin: OriginRef<'_>) -> bool {
        match origin {
            OriginRef::Platform(_) => {
                self.process.is_none()
                    && self.dyno.is_none()
                    && self.instance.is_none()
                    && self.release.is_none()
            }
            OriginRef::Instance { instance, release, dyno, .. } => {
                let process = dyno.rsplit_once('.').map_or(dyno, |(process, _)| process);
                self.process.as_ref().is_none_or(|wanted| wanted.as_str() == process)
                    && self.dyno.as_ref().is_none_or(|wanted| wanted == dyno)
                    && self.instance.as_ref().is_none_or(|wanted| wanted.as_str() == instance)
                    && self.release.is_none_or(|wanted| wanted == release)
            }
        }
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|window| window == wanted)
}
