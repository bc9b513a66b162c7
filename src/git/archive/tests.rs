//! Archives, honest and hostile (threat E3). A hostile one is refused, and leaves nothing in the repository nor
//! beside it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Seek, Write},
    path::Path,
};

use flate2::{Compression, write::DeflateEncoder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::*;
use crate::{Source, testing::World};

fn words() -> CommitWords {
    CommitWords {
        message: "An archive".into(),
        name: "Ada".into(),
        email: "ada@shop.test".into(),
        seconds: 1,
        parent: None,
    }
}

/// What an archive becomes: path to content, or why it is refused.
async fn imported(world: &World, bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    imported_within(world, bytes, SourceLimits::default()).await
}

async fn imported_within(
    world: &World,
    bytes: &[u8],
    limits: SourceLimits,
) -> Result<BTreeMap<String, String>, String> {
    let before = listing(&world.root());
    let incoming = Incoming::begin(&world.bare()).await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let cancel = CancellationToken::new();
    let result = import(&incoming, file, None, &words(), limits, &cancel)
        .map_err(|error| error.to_string())
        .and_then(|imported| {
            let source = Source::open(&world.bare(), Some(incoming.path())).unwrap();
            let report = source
                .inspect(&imported.commit, &SourceLimits::default())
                .map_err(|error| error.to_string())?;
            assert_eq!(report.files, imported.files);
            let dest = tempfile::tempdir().unwrap();
            source.export(&report, dest.path(), &cancel).unwrap();
            Ok(tree(dest.path()))
        });
    drop(incoming);
    assert_eq!(listing(&world.root()), before, "nothing is left");
    result
}

fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in listing(root) {
        let path = Path::new(&path);
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let kind = fs::symlink_metadata(path).unwrap().file_type();
        if kind.is_symlink() {
            found.insert(name, format!("-> {}", fs::read_link(path).unwrap().display()));
        } else if kind.is_file() {
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    found
}

fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(listing(&entry.path()));
        }
    }
    found.sort();
    found
}

/// One entry: name, kind, link target, content. The name goes in raw: builders refuse hostile ones.
fn entry(name: &str, kind: EntryType, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut block = header.as_bytes().to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn file(name: &str, content: &str) -> Vec<u8> {
    entry(name, EntryType::Regular, "", content.as_bytes())
}

fn tarball(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut all = entries.concat();
    all.resize(all.len() + 1024, 0);
    all
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// A zip of names, modes and contents; the names before the files may differ from those of the directory.
fn zipped(files: &[(&str, u32, &[u8])], told_before: Option<&str>) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, content) in files {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(content).unwrap();
        let packed = deflated.finish().unwrap();
        let mut crc = crc32fast::Hasher::new();
        crc.update(content);
        let at = u32::try_from(all.len()).unwrap();
        let mut middle = Vec::new();
        middle.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0]);
        middle.extend(crc.finalize().to_le_bytes());
        middle.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        middle.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        let before = told_before.unwrap_or(name);
        all.extend(b"PK\x03\x04");
        all.extend(&middle);
        all.extend(u16::try_from(before.len()).unwrap().to_le_bytes());
        all.extend([0, 0]);
        all.extend(before.as_bytes());
        all.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&middle);
        directory.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        directory.extend([0; 8]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) =
        (u16::try_from(files.len()).unwrap().to_le_bytes(), u32::try_from(all.len()).unwrap());
    let length = u32::try_from(directory.len()).unwrap();
    all.extend(directory);
    all.extend(b"PK\x05\x06\0\0\0\0");
    all.extend([count, count].concat());
    all.extend(length.to_le_bytes());
    all.extend(start.to_le_bytes());
    all.extend([0, 0]);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tar_tar_gz_and_zip_become_the_same_tree() {
    let world = World::new();
    let mut builder = Builder::new(Vec::new());
    let long = format!("shop-1/{}deep.txt", "long-name/".repeat(20));
    for (name, content) in [("shop-1/a.txt", "a"), ("shop-1/lib/b.txt", "b"), (long.as_str(), "deep")] {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "shop-1/link", "lib/b.txt").unwrap();
    header.set_entry_type(EntryType::Link);
    builder.append_link(&mut header, "shop-1/lib/again", "shop-1/a.txt").unwrap();
    let tar = builder.into_inner().unwrap();

    let found = imported(&world, &tar).await.unwrap();
    assert_eq!(found["a.txt"], "a");
    assert_eq!(found["link"], "-> lib/b.txt");
    assert_eq!(found["lib/again"], "a");
    assert_eq!(found[long.strip_prefix("shop-1/").unwrap()], "deep");
    assert_eq!(imported(&world, &gzipped(&tar)).await.unwrap(), found);

    let zip = zipped(
        &[
            ("top/", 0o040_755, b""),
            ("top/a.txt", 0o100_644, b"a"),
            ("top/lib/b.txt", 0o100_755, b"b"),
            ("top/link", 0o120_777, b"lib/b.txt"),
            ("__MACOSX/top/._a.txt", 0o100_644, b"x"),
        ],
        None,
    );
    let found = imported(&world, &zip).await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a.txt", "lib/b.txt", "link"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_hostile_tars_are_refused_and_leave_nothing() {
    let world = World::new();
    let one = |name: &str, kind, target: &str| vec![file("ok", "x"), entry(name, kind, target, b"")];
    let pax = |record: &str| {
        let length = record.len() + 4;
        entry("h", EntryType::XHeader, "", format!("{length:02} {record}\n").as_bytes())
    };
    let mut setuid = file("s", "x");
    setuid[100..108].copy_from_slice(b"0004755\0");
    let mut header = Header::from_byte_slice(&setuid[..512]).clone();
    header.set_cksum();
    setuid[..512].copy_from_slice(header.as_bytes());
    let mut sized = Header::new_gnu();
    sized.set_path("huge").unwrap();
    sized.set_mode(0o644);
    sized.set_size(1 << 62);
    sized.set_cksum();
    let hostile: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("out of the archive", vec![file("../x", "x")]),
        ("out of the archive", vec![file("a/../../x", "x")]),
        ("absolute path", vec![file("/etc/cron.d/x", "x")]),
        ("under this name", vec![file(".git/hooks/post-update", "x")]),
        ("under this name", vec![file("a/.GIT/config", "x")]),
        ("absolute path", one("l", EntryType::Symlink, "/etc")),
        ("leads out of", one("l", EntryType::Symlink, "../../etc")),
        (
            "below something that is not a folder",
            vec![entry("l", EntryType::Symlink, "lib", b""), file("l/x", "x")],
        ),
        ("hard link", one("h", EntryType::Link, "/etc/passwd")),
        ("hard link", one("h", EntryType::Link, "../x")),
        ("hard link", vec![entry("l", EntryType::Symlink, "a", b""), entry("h", EntryType::Link, "l", b"")]),
        ("device", one("d", EntryType::Block, "")),
        ("device", one("d", EntryType::Char, "")),
        ("pipe", one("d", EntryType::Fifo, "")),
        ("sparse", one("d", EntryType::GNUSparse, "")),
        ("sparse", vec![pax("GNU.sparse.major=1"), file("a", "x")]),
        ("said twice", vec![pax("size=999"), file("a", "x")]),
        ("setuid", vec![setuid]),
        ("stands twice", vec![file("a", "x"), file("a", "y")]),
        ("stands twice", vec![file("a/b", "x"), file("a", "y")]),
        ("limit", vec![sized.as_bytes().to_vec()]),
        ("in the middle", vec![entry("a", EntryType::Regular, "", &[0; 4096])[..1024].to_vec()]),
        ("no file", vec![entry("a", EntryType::Directory, "", b"")]),
        (
            "255 bytes",
            vec![pax(&format!("path={}", "x".repeat(70))), file("a", "x")]
                .into_iter()
                .skip(1)
                .chain([entry("L", EntryType::GNULongName, "", "x".repeat(256).as_bytes()), file("a", "x")])
                .collect(),
        ),
        ("levels", vec![entry("L", EntryType::GNULongName, "", "a/".repeat(70).as_bytes()), file("a", "x")]),
        ("a header of", vec![entry("L", EntryType::GNULongName, "", &[b'x'; 70_000]), file("a", "x")]),
    ];
    for (word, entries) in hostile {
        // A broken end is not padded.
        let bytes = if word == "in the middle" { entries.concat() } else { tarball(&entries) };
        let refusal = imported(&world, &bytes).await.unwrap_err();
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    let refusal = imported(&world, &vec![b'x'; 2048]).await.unwrap_err();
    assert!(refusal.contains("neither tar"), "{refusal}");
    assert!(imported(&world, b"").await.unwrap_err().contains("empty"));
    assert!(imported(&world, b"\xfd7zXZ\0").await.unwrap_err().contains("xz"));
    let good = gzipped(&tarball(&[file("a", "x")]));
    assert!(imported(&world, &good[..good.len() / 2]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_bombs_are_refused_before_they_burst() {
    let world = World::new();
    let zeros = vec![0; 1 << 20];
    let many: Vec<u8> = (0..210)
        .flat_map(|number: u32| entry(&format!("d{number}"), EntryType::Directory, "", b""))
        .collect();
    let limits = SourceLimits { files_max: 100, ..SourceLimits::default() };
    let refusal = imported_within(&world, &tarball(&[many]), limits).await.unwrap_err();
    assert!(refusal.contains("entries"), "{refusal}");
    let mut bomb = Header::new_gnu();
    bomb.set_path("zeros").unwrap();
    bomb.set_mode(0o644);
    bomb.set_size(300 << 20);
    bomb.set_cksum();
    let mut bytes = bomb.as_bytes().to_vec();
    bytes.extend(zeros.iter().cycle().take(1 << 20));
    let refusal = imported(&world, &gzipped(&bytes)).await.unwrap_err();
    assert!(refusal.contains("for one file"), "{refusal}");
    // It says one byte and unpacks to a million.
    let mut zip = zipped(&[("a", 0o100_644, &zeros)], None);
    for at in [22, 22 + zip.windows(4).position(|four| four == b"PK\x01\x02").unwrap() + 2] {
        zip[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
    }
    let refusal = imported(&world, &zip).await.unwrap_err();
    assert!(refusal.contains("limit") || refusal.contains("directory"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_hostile_zips_are_refused() {
    let world = World::new();
    for (word, name, mode, content) in [
        ("out of the archive", "../x", 0o100_644, &b"x"[..]),
        ("absolute", "/etc/x", 0o100_644, b"x"),
        ("backslash", "..\\x", 0o100_644, b"x"),
        ("under this name", "a/.git/x", 0o100_644, b"x"),
        ("absolute", "l", 0o120_777, b"/etc/passwd"),
        ("leads out", "l", 0o120_777, b"../x"),
        ("setuid", "s", 0o104_755, b"x"),
        ("neither a file", "d", 0o060_644, b"x"),
    ] {
        let refusal = imported(&world, &zipped(&[(name, mode, content)], None)).await.unwrap_err();
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    let two = zipped(&[("a", 0o100_644, b"x")], Some("b"));
    assert!(imported(&world, &two).await.unwrap_err().contains("something else"));
    let good = zipped(&[("a", 0o100_644, b"hello")], None);
    let mut wrong = good.clone();
    wrong[16] ^= 1;
    let at = good.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    wrong[at + 18] ^= 1;
    assert!(imported(&world, &wrong).await.is_err());
    for length in 0..good.len() {
        assert!(imported(&world, &good[..length]).await.is_err(), "{length}");
    }
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0xff;
        // Any answer will do but a panic.
        let _any = imported(&world, &flipped).await;
    }
}
