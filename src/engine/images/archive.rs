//! Archives of `docker save`, on their way to the engine: the names that they bring are taken out.
//!
//! An engine gives loaded images the names that stand in the archive, and moves them away from whatever had them:
//! an archive with an image named `node:24` in it would put itself under every build that starts from `node:24`.
//! So the files that hold names are written anew, with what is known of them and nothing else, and whatever could
//! stand in their place by a detour (links, odd paths) is refused.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    rc::Rc,
};

use serde_json::{Value, json};
use tar::{Archive, Builder, Entry, EntryType, Header};

/// Bytes of one archive.
pub const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024 * 1024;
/// Files in one archive: an image has at most 127 layers of a few files each.
const ENTRIES_MAX: usize = 20_000;
/// Bytes of a file that holds names.
const NAMES_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Files that hold names, in the formats that engines read.
const MANIFEST: &str = "manifest.json";
const REPOSITORIES: &str = "repositories";
const INDEX: &str = "index.json";

/// Why an archive was not passed on.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It is not what it should be; why.
    Refused(String),
    /// It could not be read to its end.
    Input(io::Error),
    /// Nobody takes it any more: the engine has said why, or the caller went away.
    Output,
}

/// Copies an archive without the names of its images.
pub(super) fn without_names(input: impl Read, output: impl Write) -> Result<(), Stopped> {
    let mut head = [0; 6];
    let input_error = Rc::default();
    let mut input = Watched { inner: input.take(ARCHIVE_BYTES_MAX), error: Rc::clone(&input_error) };
    let unreadable = |error| input_error.take().map_or_else(|| refused(&error), Stopped::Input);
    let read = read_head(&mut input, &mut head).map_err(unreadable)?;
    if let Some(packer) = packed_by(&head[..read]) {
        return Err(Stopped::Refused(format!("it is packed by {packer}; send it unpacked")));
    }
    let mut archive = Archive::new(io::Cursor::new(head[..read].to_vec()).chain(input));
    let mut copy = Copy { out: Builder::new(output), has_images: false };
    let entries = archive.entries().map_err(unreadable)?;
    for (number, entry) in entries.enumerate() {
        if number == ENTRIES_MAX {
            return Err(Stopped::Refused(format!("it holds more than {ENTRIES_MAX} files")));
        }
        let copied = copy.entry(entry.map_err(unreadable)?);
        copied.map_err(|stopped| input_error.take().map_or(stopped, Stopped::Input))?;
    }
    if !copy.has_images {
        return Err(Stopped::Refused(format!("it holds no {MANIFEST}")));
    }
    copy.out.into_inner().and_then(|mut out| out.flush()).map_err(|_| Stopped::Output)
}

struct Copy<W: Write> {
    out: Builder<W>,
    /// Whether a file was seen that lists images.
    has_images: bool,
}

impl<W: Write> Copy<W> {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), Stopped> {
        let path = plain_path(&entry.path_bytes())?;
        let holds_names = matches!(base_name(&path), MANIFEST | REPOSITORIES | INDEX);
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous if holds_names => {
                let text = self.names_file(&path, &mut entry)?;
                self.file(&path, text.len() as u64, &*text)
            }
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                self.file(&path, size, entry)
            }
            EntryType::Directory => self.folder(&path),
            EntryType::Symlink if !holds_names => self.link(&path, &entry),
            EntryType::XGlobalHeader => Ok(()),
            kind => Err(Stopped::Refused(format!("{path} is of a kind that no image needs ({kind:?})"))),
        }
    }

    /// A file that holds names, written anew.
    fn names_file<R: Read>(&mut self, path: &str, entry: &mut Entry<'_, R>) -> Result<Vec<u8>, Stopped> {
        if entry.size() > NAMES_BYTES_MAX {
            return Err(Stopped::Refused(format!("{path} has more than {NAMES_BYTES_MAX} bytes")));
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(|error| refused(&error))?;
        let name = base_name(path);
        if name == REPOSITORIES {
            return Ok(b"{}".to_vec());
        }
        let value: Value = serde_json::from_slice(&text)
            .map_err(|error| Stopped::Refused(format!("{path} is not JSON: {error}")))?;
        let nameless = if name == MANIFEST { nameless_manifest(&value) } else { nameless_index(&value) };
        self.has_images |= path == MANIFEST;
        let nameless = nameless.ok_or_else(|| Stopped::Refused(format!("{path} does not list images")))?;
        Ok(nameless.to_string().into_bytes())
    }

    fn file(&mut self, path: &str, size: u64, content: impl Read) -> Result<(), Stopped> {
        let mut header = header(EntryType::Regular, size);
        let error = Rc::default();
        let written =
            self.out.append_data(&mut header, path, Watched { inner: content, error: Rc::clone(&error) });
        match error.take() {
            Some(error) => Err(refused(&error)),
            None => written.map_err(|_| Stopped::Output),
        }
    }

    fn folder(&mut self, path: &str) -> Result<(), Stopped> {
        let mut header = header(EntryType::Directory, 0);
        self.out.append_data(&mut header, path, io::empty()).map_err(|_| Stopped::Output)
    }

    /// Layers that two images share are links from one to the other.
    fn link<R: Read>(&mut self, path: &str, entry: &Entry<'_, R>) -> Result<(), Stopped> {
        let target = entry.link_name_bytes().unwrap_or_default();
        let target = std::str::from_utf8(&target).unwrap_or_default();
        let is_layer = base_name(target) == "layer.tar" || target.contains("blobs/sha256/");
        if !is_layer || target.starts_with('/') {
            return Err(Stopped::Refused(format!("{path} is a link to something other than a layer")));
        }
        let mut header = header(EntryType::Symlink, 0);
        self.out.append_link(&mut header, path, target).map_err(|_| Stopped::Output)
    }
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header
}

/// The images of a `manifest.json` without their names. Engines read its keys whatever their case, so what is not
/// known is not copied.
fn nameless_manifest(manifest: &Value) -> Option<Value> {
    let images = manifest.as_array()?.iter().map(|image| {
        let config = image.get("Config")?.as_str()?;
        let layers = image.get("Layers")?.as_array()?;
        let mut nameless = json!({ "Config": config, "RepoTags": null, "Layers": layers });
        if let Some(sources) = image.get("LayerSources") {
            nameless["LayerSources"] = sources.clone();
        }
        Some(nameless)
    });
    images.collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// The images of an `index.json` without their names, which are annotations.
fn nameless_index(index: &Value) -> Option<Value> {
    let manifests = index.get("manifests")?.as_array()?.iter().map(|manifest| {
        let mut nameless = json!({
            "mediaType": manifest.get("mediaType")?.as_str()?,
            "digest": manifest.get("digest")?.as_str()?,
            "size": manifest.get("size")?.as_u64()?,
        });
        if let Some(platform) = manifest.get("platform") {
            nameless["platform"] = platform.clone();
        }
        Some(nameless)
    });
    let manifests = manifests.collect::<Option<Vec<Value>>>()?;
    let kind = "application/vnd.oci.image.index.v1+json";
    Some(json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests }))
}

/// The path without `./` in front; a path that goes anywhere else is refused.
fn plain_path(path: &[u8]) -> Result<String, Stopped> {
    let refused = || Stopped::Refused(format!("a file in it is named {:?}", String::from_utf8_lossy(path)));
    let path = std::str::from_utf8(path).map_err(|_| refused())?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if path.starts_with('/') || parts.contains(&"..") || path.contains('\0') {
        return Err(refused());
    }
    // The folder itself, as `tar -c .` writes it.
    if parts.is_empty() { Ok(".".into()) } else { Ok(parts.join("/")) }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn packed_by(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

fn read_head(input: &mut impl Read, head: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < head.len() {
        match input.read(&mut head[read..])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

/// What is wrong with the form of the archive.
fn refused(error: &io::Error) -> Stopped {
    Stopped::Refused(error.to_string())
}

/// Keeps the error of a reader, to tell it from one about the form of the archive, and from one of the writer.
struct Watched<R> {
    inner: R,
    error: Rc<RefCell<Option<io::Error>>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let twin = io::Error::new(error.kind(), error.to_string());
            self.error.replace(Some(error));
            twin
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "c.json";

    /// An archive of files; `content` of `None` makes a folder, one that starts with `->` a link.
    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Builder::new(Vec::new());
        for (path, content) in files {
            match content.strip_prefix("->") {
                Some(target) => out.append_link(&mut header(EntryType::Symlink, 0), path, target).unwrap(),
                None => {
                    let mut header = header(EntryType::Regular, content.len() as u64);
                    out.append_data(&mut header, path, content.as_bytes()).unwrap();
                }
            }
        }
        out.into_inner().unwrap()
    }

    fn copied(archive: &[u8]) -> Result<Vec<(String, String)>, Stopped> {
        let mut out = Vec::new();
        without_names(archive, &mut out)?;
        let mut files = Vec::new();
        for entry in Archive::new(&*out).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.push((path, text));
        }
        Ok(files)
    }

    fn manifest(names: &str) -> String {
        format!(
            r#"[{{"Config":"c.json","RepoTags":{names},"repotags":["x:1"],"Layers":["l/layer.tar"],"Odd":1}}]"#
        )
    }

    #[test]
    fn an_archive_arrives_without_the_names_that_it_brought() {
        let manifest = manifest(r#"["node:24","mine:1"]"#);
        let long = format!("{}/layer.tar", "0".repeat(150));
        let given = archive(&[
            (CONFIG, "{}"),
            (&long, "layer"),
            ("b/layer.tar", "->../a/layer.tar"),
            ("repositories", r#"{"node":{"24":"x"}}"#),
            (
                "index.json",
                r#"{"manifests":[{"mediaType":"m","digest":"d","size":1,"annotations":{"io.containerd.image.name":"node:24"}}],"Manifests":[]}"#,
            ),
            ("manifest.json", &manifest),
        ]);
        let files = copied(&given).unwrap();
        let text = |name: &str| files.iter().find(|(path, _)| path == name).unwrap().1.clone();
        assert_eq!(
            text("manifest.json"),
            r#"[{"Config":"c.json","Layers":["l/layer.tar"],"RepoTags":null}]"#
        );
        assert_eq!(text("repositories"), "{}");
        assert!(!text("index.json").contains("node"), "{}", text("index.json"));
        assert!(text("index.json").contains(r#""digest":"d""#));
        assert_eq!((text(CONFIG), text(&long)), ("{}".into(), "layer".into()));
    }

    #[test]
    fn e3_names_do_not_come_in_by_a_detour() {
        let good = manifest("null");
        let hostile: [&[(&str, &str)]; 5] = [
            &[("manifest.json", "->real.json"), ("real.json", &good)],
            &[("x", "->manifest.json"), ("manifest.json", &good)],
            &[("d", "->."), ("manifest.json", &good)],
            &[("layer.tar", "->/etc/layer.tar"), ("manifest.json", &good)],
            &[("repositories", "->x"), ("manifest.json", &good)],
        ];
        for files in hostile {
            assert!(matches!(copied(&archive(files)), Err(Stopped::Refused(_))), "{files:?}");
        }
        for path in ["d/../manifest.json", "/manifest.json", "..", "a\0b"] {
            assert!(plain_path(path.as_bytes()).is_err(), "{path:?}");
        }
        assert_eq!(plain_path(b"./d//manifest.json").unwrap(), "d/manifest.json");
        // A second one of the same name would win, so it is cleaned as well.
        let twice = archive(&[("manifest.json", &good), ("manifest.json", &manifest(r#"["node:24"]"#))]);
        assert!(copied(&twice).unwrap().iter().all(|(_, text)| !text.contains("node")));
    }

    #[test]
    fn what_is_no_archive_of_images_is_said() {
        let why = |bytes: &[u8]| match copied(bytes) {
            Err(Stopped::Refused(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&archive(&[("hello", "world")])), "it holds no manifest.json");
        assert_eq!(why(b""), "it holds no manifest.json");
        assert_eq!(why(&[0x1f, 0x8b, 8, 0, 0, 0, 0]), "it is packed by gzip; send it unpacked");
        assert!(why(&[b'x'; 2048]).contains("cksum"));
        assert!(why(&archive(&[("manifest.json", "{")])).contains("not JSON"));
        assert!(why(&archive(&[("manifest.json", "{}")])).contains("does not list images"));
        let whole = archive(&[("manifest.json", &manifest("null"))]);
        assert!(matches!(copied(&whole[..600]), Err(Stopped::Refused(_))));
    }

    #[test]
    fn a_reader_that_fails_is_told_from_a_bad_archive() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the line was cut"))
            }
        }
        let whole = archive(&[("a", &"x".repeat(4000)), ("manifest.json", &manifest("null"))]);
        for cut in [0, 3, 512, 2000] {
            let stopped = without_names(whole[..cut].chain(Broken), io::sink()).unwrap_err();
            assert!(
                matches!(&stopped, Stopped::Input(error) if error.to_string() == "the line was cut"),
                "{cut} {stopped:?}"
            );
        }
    }
}
