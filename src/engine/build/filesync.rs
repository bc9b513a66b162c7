//! [`Files`]: the files of a build as BuildKit asks for them (`fsutil`): we tell name and size of all, it asks
//! for the content of those that it does not have, by number.
//!
//! BuildKit tells with each request what to leave out, having read `.dockerignore` itself; so the meaning is
//! that of `docker build`, `NAME.dockerignore` included.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use autostack_base::tasks::Tasks;
use autostack_domain::limits::SOURCE_FILES_MAX;
use bollard::{
    fsutil::types::{Packet, Stat, packet::PacketType},
    moby::filesync::packet::file_sync_server::FileSync,
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    dockerignore::DockerIgnore,
    tree::{Entry, Kind, Tree},
};

/// Packets that wait for the engine to take them.
const PACKETS_QUEUED_MAX: usize = 16;
/// Bytes of a file in one packet; gRPC's own limit is 4 MiB.
const PACKET_BYTES: usize = 64 * 1024;

/// Bits of Go's `os.FileMode`, which the protocol uses.
const GO_MODE_DIR: u32 = 1 << 31;
const GO_MODE_SYMLINK: u32 = 1 << 27;

/// What the engine may read: the exported commit, and the Dockerfile with what belongs to it.
pub(crate) struct Files {
    /// Root of the exported commit.
    pub(crate) context: PathBuf,
    /// The Dockerfile and its own `.dockerignore`, by name; they need not be in the commit.
    pub(crate) definition: Arc<Vec<(String, Bytes)>>,
    /// Where blocking work is done.
    pub(crate) tasks: Tasks,
}

/// What one request asks for.
struct Asked {
    ignore: DockerIgnore,
    /// Paths; `None` for everything.
    only: Option<Vec<PathBuf>>,
}

#[async_trait]
impl FileSync for Files {
    type DiffCopyStream = BoxStream<'static, Result<Packet, Status>>;
    type TarStreamStream = BoxStream<'static, Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let metadata = request.metadata();
        let source = match values(metadata, "dir-name").first().map(String::as_str) {
            Some("dockerfile") => Source::Memory(Arc::clone(&self.definition)),
            Some("context") => Source::Disk { root: self.context.clone(), asked: Asked::read(metadata)? },
            other => return Err(Status::not_found(format!("there is no folder {other:?}"))),
        };
        let (packets, taken) = mpsc::channel(PACKETS_QUEUED_MAX);
        let (wanted, wants) = mpsc::channel(WANTED_QUEUED_MAX);
        drop(self.tasks.blocking("files for BuildKit", move || {
            if let Err(error) = send(source, &packets, wants) {
                let status = Status::failed_precondition(error.to_string());
                // Where nobody takes it any more, the build has ended.
                let _ = packets.blocking_send(Err(status));
            }
        }));
        self.tasks.spawn("requests of BuildKit", forward(request.into_inner(), wanted));
        let packets = stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
        Ok(Response::new(packets.boxed()))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("files are sent by DiffCopy"))
    }
}

/// Numbers of files that wait to be sent. As many as there can be files: the engine must never wait for us to
/// take a request while we wait for it to take a packet.
#[expect(clippy::cast_possible_truncation, reason = "a hundred thousand")]
const WANTED_QUEUED_MAX: usize = 2 * SOURCE_FILES_MAX as usize;

/// Hands the numbers of wanted files on; ends when the engine has all it wants.
async fn forward(mut packets: Streaming<Packet>, wanted: mpsc::Sender<u32>) {
    while let Ok(Some(packet)) = packets.message().await {
        let is_taken = match PacketType::try_from(packet.r#type) {
            Ok(PacketType::PacketReq) => wanted.try_send(packet.id).is_ok(),
            Ok(PacketType::PacketFin) => return,
            Ok(PacketType::PacketErr) => {
                tracing::debug!(message = %String::from_utf8_lossy(&packet.data), "the engine did not take files");
                false
            }
            Ok(PacketType::PacketStat | PacketType::PacketData) | Err(_) => false,
        };
        if !is_taken {
            return;
        }
    }
}

enum Source {
    Disk { root: PathBuf, asked: Asked },
    Memory(Arc<Vec<(String, Bytes)>>),
}

type Packets = mpsc::Sender<Result<Packet, Status>>;

/// Tells of all files, then sends those that are wanted, until the engine has finished. Blocks.
fn send(source: Source, packets: &Packets, mut wants: mpsc::Receiver<u32>) -> io::Result<()> {
    let listing = Listing::of(source)?;
    for index in 0..listing.len() {
        put(packets, PacketType::PacketStat, 0, Vec::new(), Some(listing.stat(index)?))?;
    }
    put(packets, PacketType::PacketStat, 0, Vec::new(), None)?;
    while let Some(id) = wants.blocking_recv() {
        let mut content = listing.open(id as usize)?;
        loop {
            let mut data = Vec::with_capacity(PACKET_BYTES);
            content.by_ref().take(PACKET_BYTES as u64).read_to_end(&mut data)?;
            let is_end = data.is_empty();
            // An empty packet says that the file is complete.
            put(packets, PacketType::PacketData, id, data, None)?;
            if is_end {
                break;
            }
        }
    }
    put(packets, PacketType::PacketFin, 0, Vec::new(), None)
}

fn put(packets: &Packets, kind: PacketType, id: u32, data: Vec<u8>, stat: Option<Stat>) -> io::Result<()> {
    let packet = Packet { r#type: kind.into(), stat, id, data };
    packets.blocking_send(Ok(packet)).map_err(|_| io::ErrorKind::BrokenPipe.into())
}

enum Listing {
    Disk(Tree),
    Memory(Arc<Vec<(String, Bytes)>>),
}

impl Listing {
    fn of(source: Source) -> io::Result<Self> {
        match source {
            Source::Disk { root, asked } => {
                Ok(Listing::Disk(Tree::list_of(&root, &asked.ignore, asked.only_in(&root).as_deref())?))
            }
            Source::Memory(files) => Ok(Listing::Memory(files)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Listing::Disk(tree) => tree.entries.len(),
            Listing::Memory(files) => files.len(),
        }
    }

    fn stat(&self, index: usize) -> io::Result<Stat> {
        match self {
            Listing::Disk(tree) => stat_of(&tree.entries[index], tree),
            Listing::Memory(files) => {
                let (name, content) = &files[index];
                // BuildKit keeps what it got for the app, and takes a file of the same size and time as unchanged.
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok(Stat {
                    path: name.clone(),
                    mode: 0o644,
                    size: as_i64(content.len() as u64),
                    mod_time: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
                    ..Stat::default()
                })
            }
        }
    }

    fn open(&self, index: usize) -> io::Result<Box<dyn Read>> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, "the engine asked for a file that was not offered");
        match self {
            Listing::Disk(tree) => {
                let entry = tree.entries.get(index).ok_or_else(missing)?;
                match entry.kind {
                    Kind::File { .. } => Ok(Box::new(tree.open(entry)?)),
                    Kind::Folder | Kind::Link { .. } => Err(missing()),
                }
            }
            Listing::Memory(files) => {
                let (_, content) = files.get(index).ok_or_else(missing)?;
                Ok(Box::new(io::Cursor::new(content.clone())))
            }
        }
    }
}

fn stat_of(entry: &Entry, tree: &Tree) -> io::Result<Stat> {
    let (kind, linkname) = match &entry.kind {
        Kind::Folder => (GO_MODE_DIR, String::new()),
        Kind::File { .. } => (0, String::new()),
        Kind::Link { target } => (GO_MODE_SYMLINK, text(target)?),
    };
    let since = tree.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Stat {
        path: text(&entry.path)?,
        mode: kind | entry.mode(),
        size: as_i64(entry.size()),
        mod_time: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        linkname,
        ..Stat::default()
    })
}

fn as_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn text(path: &Path) -> io::Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{NOT_UTF8} {}", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

/// How the error begins that names a file which BuildKit cannot be told of.
pub(crate) const NOT_UTF8: &str = "this file name is not UTF-8:";

impl Asked {
    fn read(metadata: &MetadataMap) -> Result<Self, Status> {
        let excludes = values(metadata, "exclude-patterns");
        let ignore = DockerIgnore::from_patterns(excludes.iter().map(String::as_str))
            .map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let mut only = values(metadata, "followpaths");
        only.extend(values(metadata, "include-patterns"));
        let only = only.iter().map(|path| plain(path)).collect::<Option<Vec<_>>>();
        Ok(Self { ignore, only: only.filter(|only| !only.is_empty()) })
    }

    /// What is to be sent at all. Where a path leads over a link, everything is: the engine follows it within
    /// what it got.
    fn only_in(&self, root: &Path) -> Option<Vec<PathBuf>> {
        let only = self.only.clone()?;
        let is_over_link = |path: &PathBuf| {
            path.ancestors()
                .filter(|above| !above.as_os_str().is_empty())
                .any(|above| root.join(above).symlink_metadata().is_ok_and(|it| it.is_symlink()))
        };
        (!only.iter().any(is_over_link)).then_some(only)
    }
}

/// A path that names one thing below the root; `None` for the root itself and for wildcards.
fn plain(path: &str) -> Option<PathBuf> {
    if path.contains(['*', '?', '[', '\\']) {
        return None;
    }
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!plain.as_os_str().is_empty()).then_some(plain)
}

/// The values of a key, decoded where the engine had to encode them.
fn values(metadata: &MetadataMap, key: &str) -> Vec<String> {
    let is_encoded = metadata.contains_key(format!("{key}-encoded"));
    let decode = |raw: &[u8]| {
        let text = String::from_utf8_lossy(raw).into_owned();
        if !is_encoded {
            return text;
        }
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    metadata.get_all(key).iter().map(|value| decode(value.as_encoded_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_narrow_what_is_sent() {
        for (path, expected) in [
            ("/package.json", Some("package.json")),
            ("./a//b/", Some("a/b")),
            ("/", None),
            ("", None),
            (".", None),
            ("a/../b", None),
            ("*.json", None),
            ("a\\ b", None),
        ] {
            assert_eq!(plain(path).as_deref(), expected.map(Path::new), "{path:?}");
        }
    }

    #[test]
    fn encoded_values_are_read_back() {
        let mut metadata = MetadataMap::new();
        metadata.append("exclude-patterns", "a+b%C3%BC".parse().unwrap());
        assert_eq!(values(&metadata, "exclude-patterns"), ["a+b%C3%BC"]);
        metadata.append("exclude-patterns-encoded", "1".parse().unwrap());
        assert_eq!(values(&metadata, "exclude-patterns"), ["a bü"]);
        assert!(values(&metadata, "followpaths").is_empty());
    }
}
