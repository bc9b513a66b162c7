//! Files too large for the agent's memory are streamed out of a `git cat-file` child, which is started at
//! the first of them and serves them all.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use git2::Oid;
use tokio_util::sync::CancellationToken;

use super::report::SourceError;
use crate::command;

/// Files of at least so many bytes are streamed.
pub(super) const STREAMED_FROM_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes moved at once, between two looks at the cancel token.
const CHUNK_BYTES: usize = 128 * 1024;

/// A running `git cat-file --batch`. Dropped, it is killed.
pub(super) struct BigFiles {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl BigFiles {
    pub(super) fn start(repository: &Path, quarantine: Option<&Path>) -> Result<Self, SourceError> {
        let mut command = command::git(repository)?;
        command.env("GIT_DIR", repository);
        if let Some(quarantine) = quarantine {
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(quarantine));
        }
        command.args(["cat-file", "--batch"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let start = |source| SourceError::BigFile { path: "cat-file".into(), source };
        let mut child = command.spawn().map_err(start)?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(requests), Some(answers)) => {
                Ok(Self { child, requests, answers: BufReader::with_capacity(CHUNK_BYTES, answers) })
            }
            _ => Err(start(io::Error::other("it has no pipes"))),
        }
    }

    /// Copies a blob of `bytes` bytes into `file`.
    pub(super) fn copy(
        &mut self,
        id: Oid,
        bytes: u64,
        path: &str,
        file: &mut File,
        cancel: &CancellationToken,
    ) -> Result<(), SourceError> {
        let fail = |source| SourceError::BigFile { path: path.to_owned(), source };
        self.requests.write_all(format!("{id}\n").as_bytes()).map_err(fail)?;
        let mut head = String::new();
        self.answers.by_ref().take(128).read_line(&mut head).map_err(fail)?;
        if head != format!("{id} blob {bytes}\n") {
            return Err(fail(io::Error::other(format!("git answered {:?}", head.trim_end()))));
        }
        let mut left = bytes;
        while left > 0 {
            if cancel.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            let chunk = self.answers.fill_buf().map_err(fail)?;
            let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(fail(io::ErrorKind::UnexpectedEof.into()));
            }
            file.write_all(&chunk[..length])
                .map_err(|source| SourceError::Write { path: path.to_owned(), source })?;
            self.answers.consume(length);
            left -= length as u64;
        }
        let mut line_end = [0];
        self.answers.read_exact(&mut line_end).map_err(fail)
    }
}

impl Drop for BigFiles {
    fn drop(&mut self) {
        // It holds nothing that would need an orderly end.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A path as one element of git's colon-separated lists.
fn quoted(path: &Path) -> OsString {
    let mut element = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            element.push(b'\\');
        }
        element.push(*byte);
    }
    element.push(b'"');
    OsString::from_vec(element)
}
