//! `git fetch` as a child: one URL, one ref, into incoming objects.

use std::{fmt, fs, io, path::Path, process::Stdio, str::FromStr, time::Duration};

use autostack_domain::{CommitId, Invalid, RefName, RemoteUrl, limits, remote_url::Scheme};
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Access, RemoteError,
    access::pinned,
    http::{Found, Sink},
};
use crate::{Incoming, command, source::spoken_bytes};

/// What every repository answers to first.
const REFS: &str = "/info/refs?service=git-upload-pack";
/// Bytes of git's complaints that are kept.
const SAID_BYTES_MAX: u64 = 16 * 1024;
/// Lines of them that are shown.
const SAID_LINES_MAX: usize = 3;

/// A branch, a tag or a commit of somebody else's repository; `HEAD` for what a clone would check out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef(String);

impl RemoteRef {
    /// The commit, where it is named by its id.
    pub fn commit(&self) -> Option<CommitId> {
        self.0.parse().ok()
    }

    /// The refs that it can mean, the likeliest first; none for a commit.
    pub fn names(&self) -> Vec<RefName> {
        if self.commit().is_some() {
            return Vec::new();
        }
        let full = self.0.parse::<RefName>().ok();
        let tag = || format!("refs/tags/{}", self.0).parse().ok();
        full.map_or_else(
            || RefName::of_branch(&self.0).ok().into_iter().chain(tag()).collect(),
            |name| vec![name],
        )
    }
}

impl Default for RemoteRef {
    fn default() -> Self {
        Self("HEAD".to_owned())
    }
}

impl FromStr for RemoteRef {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let commit = given.parse::<CommitId>().ok();
        let is_commit = commit.as_ref().is_some_and(|id| !id.is_null());
        // A plus would mean that what is there may be overwritten.
        // Nor is an id a name: the null one means that there is none.
        let is_name = || {
            commit.is_none()
                && !given.starts_with('+')
                && (given.parse::<RefName>().is_ok() || RefName::of_branch(given).is_ok())
        };
        if given == "HEAD" || is_commit || is_name() {
            Ok(Self(given.to_owned()))
        } else {
            Err(Invalid::new("git ref", given, "expected a branch, a tag, or the 40 characters of a commit"))
        }
    }
}

impl fmt::Display for RemoteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much of what came before a commit is fetched with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    Whole,
    None,
}

/// What was fetched: the id of a commit, or of a tag of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The id.
    pub id: CommitId,
}

impl Access {
    /// Fetches one ref with its history into `incoming`, at most `bytes_max` bytes of it.
    ///
    /// # Errors
    /// Whatever keeps it from being there; then the incoming objects are of no use.
    pub async fn fetch(
        &self,
        url: &RemoteUrl,
        wanted: &RemoteRef,
        incoming: &Incoming,
        bytes_max: u64,
        cancel: &CancellationToken,
    ) -> Result<Fetched, RemoteError> {
        self.fetch_with(History::Whole, url, wanted, incoming, bytes_max, cancel).await
    }

    /// As [`fetch`](Self::fetch), of exactly this commit and without its history.
    ///
    /// # Errors
    /// As those of `fetch`, and where the server does not give a commit by its id.
    pub async fn fetch_commit(
        &self,
        url: &RemoteUrl,
        commit: &CommitId,
        incoming: &Incoming,
        bytes_max: u64,
        cancel: &CancellationToken,
    ) -> Result<(), RemoteError> {
        let wanted = RemoteRef(commit.to_string());
        let fetched = self.fetch_with(History::None, url, &wanted, incoming, bytes_max, cancel).await?;
        if fetched.id == *commit {
            Ok(())
        } else {
            Err(RemoteError::Git { said: format!("it gives {} instead of {commit}", fetched.id) })
        }
    }

    async fn fetch_with(
        &self,
        history: History,
        url: &RemoteUrl,
        wanted: &RemoteRef,
        incoming: &Incoming,
        bytes_max: u64,
        cancel: &CancellationToken,
    ) -> Result<Fetched, RemoteError> {
        let limit = Duration::from_secs(limits::FETCH_SECONDS_MAX);
        let fetched = async {
            let found = self.find_repository(url).await?;
            let child = self.start(history, &found, wanted, incoming, bytes_max)?;
            Running(child).end(bytes_max).await?;
            read_fetch_head(incoming.path())
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(RemoteError::Cancelled),
            fetched = timeout(limit, fetched) => {
                fetched.map_err(|_| RemoteError::TimedOut { seconds: limits::FETCH_SECONDS_MAX })?
            }
        }
    }

    /// Where the repository is in the end: git itself follows no redirect.
    async fn find_repository(&self, url: &RemoteUrl) -> Result<Found, RemoteError> {
        let host = url.host();
        let bad = |why: &Invalid| RemoteError::redirect(host, why);
        let base = url.path().trim_end_matches('/').to_owned();
        let refs = url.with_path(&format!("{base}{REFS}")).map_err(|why| bad(&why))?;
        let found = self.get(&refs, Sink::Refs).await?;
        let Some(path) = found.url.path().strip_suffix(REFS) else {
            let why = "it leads to what is no repository".to_owned();
            return Err(RemoteError::Redirect { host: host.clone(), why });
        };
        let url = found.url.with_path(path).map_err(|why| bad(&why))?;
        Ok(Found { url, addresses: found.addresses })
    }

    fn start(
        &self,
        history: History,
        found: &Found,
        wanted: &RemoteRef,
        incoming: &Incoming,
        bytes_max: u64,
    ) -> Result<Child, RemoteError> {
        let mut git = command::git(incoming.path())?;
        let mut trusted = std::ffi::OsString::from("safe.directory=");
        trusted.push(incoming.repository());
        git.arg("-c").arg(trusted);
        let resolve = format!("http.curloptResolve={}", pinned(&found.url, &found.addresses));
        let protocol = match found.url.scheme() {
            Scheme::Https => "protocol.https.allow=always",
            Scheme::Http => "protocol.http.allow=always",
        };
        let settings = [
            protocol,
            resolve.as_str(),
            "http.followRedirects=false",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=30",
            "http.cookieFile=",
            "credential.helper=",
            "fetch.fsckObjects=true",
            // Mistakes of old tools, found in the history of well-known projects, and harmless.
            "fetch.fsck.badTimezone=ignore",
            "fetch.fsck.missingSpaceBeforeDate=ignore",
            "fetch.fsck.zeroPaddedFilemode=ignore",
            "fetch.unpackLimit=1",
            "fetch.writeCommitGraph=false",
            "fetch.recurseSubmodules=false",
            "transfer.bundleURI=false",
            "core.fsync=committed",
        ];
        for setting in settings {
            git.arg("-c").arg(setting);
        }
        if let Some(login) = self.login(&found.url) {
            // In the environment, which only the agent's own user can read, and for this host alone.
            let place =
                format!("http.{}://{}/.extraHeader", found.url.scheme().as_str(), found.url.authority());
            git.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", place);
            git.env("GIT_CONFIG_VALUE_0", format!("Authorization: {}", login.header.expose()));
        }
        git.env("GIT_ALLOC_LIMIT", (2 * limits::OBJECT_BYTES_MAX).to_string());
        git.arg("--git-dir").arg(incoming.path());
        git.args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"]);
        if history == History::None {
            git.arg("--depth=1");
        }
        git.arg("--end-of-options").arg(found.url.to_string()).arg(wanted.to_string());
        let mut child = Command::from(git);
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let bound = move || Ok(setrlimit(Resource::RLIMIT_FSIZE, bytes_max, bytes_max)?);
        // SAFETY: it runs between fork and exec, and makes one system call (setrlimit, async-signal-safe); it
        // allocates nothing and takes no lock.
        unsafe { child.pre_exec(bound) };
        child.spawn().map_err(RemoteError::Keep)
    }
}

/// The child, and whatever it has started; killed when dropped.
struct Running(Child);

impl Running {
    async fn end(mut self, bytes_max: u64) -> Result<(), RemoteError> {
        let mut said = Vec::new();
        if let Some(stderr) = self.0.stderr.take() {
            let mut head = stderr.take(SAID_BYTES_MAX);
            head.read_to_end(&mut said).await.map_err(RemoteError::Keep)?;
            // The rest is read, too, or git would wait for ever.
            tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink())
                .await
                .map_err(RemoteError::Keep)?;
        }
        let status = self.0.wait().await.map_err(RemoteError::Keep)?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        if said.contains("signal 25") || said.contains("File too large") {
            return Err(RemoteError::TooLarge { limit: spoken_bytes(bytes_max) });
        }
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(SAID_LINES_MAX)..].join("; ");
        Err(RemoteError::Git { said: if last.is_empty() { status.to_string() } else { last } })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.0.id().and_then(|pid| i32::try_from(pid).ok()) {
            // ESRCH: nobody of the group is left, which is what is wanted.
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// `ID TAB … TAB WORDS`, one line a ref.
fn read_fetch_head(dir: &Path) -> Result<Fetched, RemoteError> {
    let text = fs::read_to_string(dir.join("FETCH_HEAD")).map_err(RemoteError::Keep)?;
    let id = text.split(['\t', '\n']).next().unwrap_or_default().parse();
    let id = id.map_err(|why: Invalid| RemoteError::Keep(io::Error::new(io::ErrorKind::InvalidData, why)))?;
    Ok(Fetched { id })
}
