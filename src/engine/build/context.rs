//! The commit as a tar stream, for the builder that takes nothing else.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
    time::UNIX_EPOCH,
};

use autostack_base::tasks::Tasks;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::tree::{Entry, Kind, Tree};

/// Bytes of one chunk, and chunks that wait for the engine: the memory that a context takes, however large it is.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_QUEUED_MAX: usize = 4;

/// A file that is sent besides those of the commit, instead of one of the same name.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    /// Path below the root of the context.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) content: Bytes,
}

/// Packs a tree while it is taken. An error in the stream means that the engine must not build: a file could
/// not be read, or changed while it was.
pub(crate) fn stream_of(
    tree: Tree,
    extras: Vec<Extra>,
    tasks: &Tasks,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let (chunks, taken) = mpsc::channel(CHUNKS_QUEUED_MAX);
    drop(tasks.blocking("context of a build", move || {
        let packed = pack(&tree, &extras, Chunks { queue: chunks.clone(), chunk: Vec::new() });
        if let Err(error) = packed {
            // Where nobody takes it any more, the build has ended.
            let _ = chunks.blocking_send(Err(error));
        }
    }));
    stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) })
}

fn pack(tree: &Tree, extras: &[Extra], chunks: Chunks) -> io::Result<()> {
    let since = tree.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut archive = Builder::new(chunks);
    for entry in &tree.entries {
        if !extras.iter().any(|extra| extra.path == entry.path) {
            append(&mut archive, tree, entry, since)?;
        }
    }
    for extra in extras {
        let mut header = header(EntryType::Regular, 0o644, extra.content.len() as u64, since);
        archive.append_data(&mut header, &extra.path, extra.content.as_ref())?;
    }
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<Chunks>, tree: &Tree, entry: &Entry, since: u64) -> io::Result<()> {
    match &entry.kind {
        Kind::Folder => {
            let mut header = header(EntryType::Directory, entry.mode(), 0, since);
            archive.append_data(&mut header, &entry.path, io::empty())
        }
        Kind::Link { target } => {
            let mut header = header(EntryType::Symlink, entry.mode(), 0, since);
            archive.append_link(&mut header, &entry.path, target)
        }
        Kind::File { bytes, .. } => {
            let mut header = header(EntryType::Regular, entry.mode(), *bytes, since);
            // Neither more nor less than the header says: the rest would be read as another file.
            let mut content = tree.open(entry)?.take(*bytes);
            archive.append_data(&mut header, &entry.path, &mut content)?;
            match content.limit() {
                0 => Ok(()),
                _ => Err(io::Error::other(format!("{} changed while it was sent", entry.path.display()))),
            }
        }
    }
}

fn header(kind: EntryType, mode: u32, bytes: u64, since: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(since);
    header.set_size(bytes);
    header
}

/// Hands what is written on in chunks, and waits while the engine is behind.
struct Chunks {
    queue: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        self.queue.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

    use futures_util::TryStreamExt;

    use super::*;
    use crate::build::dockerignore::DockerIgnore;

    async fn packed(root: &Path, extras: Vec<Extra>) -> io::Result<Vec<u8>> {
        let tree = Tree::list(root, &DockerIgnore::default()).unwrap();
        let chunks: Vec<Bytes> = stream_of(tree, extras, &Tasks::new()).try_collect().await?;
        assert!(chunks.iter().all(|chunk| chunk.len() <= 2 * CHUNK_BYTES));
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn what_was_packed_is_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
        fs::create_dir(dir.path().join("d".repeat(150))).unwrap();
        fs::write(dir.path().join(&long), "long").unwrap();
        fs::write(dir.path().join("large"), vec![7; 3 * CHUNK_BYTES + 1]).unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM theirs").unwrap();
        symlink("../".repeat(60), dir.path().join("link")).unwrap();
        let extra = Extra { path: "Dockerfile".into(), content: "FROM ours".into() };
        let bytes = packed(dir.path(), vec![extra]).await.unwrap();

        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let path = entry.path().unwrap().display().to_string();
            let link = entry.link_name().unwrap().map(|target| target.display().to_string());
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert!(found.insert(path, link.unwrap_or(text)).is_none(), "each path once");
        }
        assert_eq!(found[&long], "long");
        assert_eq!(found["Dockerfile"], "FROM ours");
        assert_eq!(found["link"], "../".repeat(60));
        assert_eq!(found["large"].len(), 3 * CHUNK_BYTES + 1);
    }

    #[tokio::test]
    async fn a_file_that_shrinks_ends_the_stream_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "12345").unwrap();
        let tree = Tree::list(dir.path(), &DockerIgnore::default()).unwrap();
        fs::write(dir.path().join("a"), "123").unwrap();
        let sent: io::Result<Vec<Bytes>> = stream_of(tree, Vec::new(), &Tasks::new()).try_collect().await;
        assert!(sent.unwrap_err().to_string().contains("a changed"));
    }
}
