//! Zip, by the directory at its end. Plain and deflated files are read; encrypted ones, parts of a set and the
//! extension for more than 65,535 files are refused. What the directory says of a file must be what stands before the
//! file itself, so that two readers do not see two archives.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use flate2::read::DeflateDecoder;

use super::{ArchiveError, bounded::Bounded, files::Files};

/// Bytes of the record at the end, without the comment that may follow it.
const END_BYTES: usize = 22;
/// Bytes of a comment.
const COMMENT_BYTES_MAX: usize = 65_535;
const TAIL_BYTES_MAX: u64 = (END_BYTES + COMMENT_BYTES_MAX) as u64;
/// Bytes of the directory's record of one file, without its name, and of the one before the file.
const RECORD_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// Archives made on macOS have these beside the files.
const APPLE: &[u8] = b"__MACOSX/";

/// A file as the directory says it.
struct Record {
    name: Vec<u8>,
    method: u16,
    crc: u32,
    packed: u64,
    bytes: u64,
    /// Mode of Unix, where it was made there; 0 else.
    mode: u32,
    at: u64,
}

pub(super) fn read(mut archive: File, files: &mut Files<'_>) -> Result<(), ArchiveError> {
    let (count, start) = find_end(&mut archive)?;
    let mut directory = archive.try_clone().map_err(ArchiveError::from)?;
    let mut at = start;
    for _ in 0..count {
        // Both handles share one position.
        directory.seek(SeekFrom::Start(at))?;
        let (record, length) = read_record(&mut directory)?;
        at += length;
        take(&mut archive, &record, files)?;
    }
    Ok(())
}

/// How many files there are, and where the directory begins.
fn find_end(archive: &mut File) -> Result<(u16, u64), ArchiveError> {
    let length = archive.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(TAIL_BYTES_MAX);
    archive.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    archive.by_ref().take(TAIL_BYTES_MAX).read_to_end(&mut tail)?;
    let is_end = |at: &usize| {
        let end = &tail[*at..];
        end.starts_with(b"PK\x05\x06") && END_BYTES + usize::from(u16_at(end, 20)) == end.len()
    };
    let found = (0..tail.len().saturating_sub(END_BYTES - 1)).rev().find(is_end);
    let Some(found) = found else { return Err(ArchiveError::broken("it has no directory at its end")) };
    let end = &tail[found..];
    let (disk, first_disk, here, count) = (u16_at(end, 4), u16_at(end, 6), u16_at(end, 8), u16_at(end, 10));
    let (bytes, start) = (u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    if count == u16::MAX || start == u64::from(u32::MAX) {
        return Err(ArchiveError::broken("it has 65535 files or more: send tar.gz"));
    }
    let fits = disk == 0 && first_disk == 0 && here == count && start + bytes <= from + found as u64;
    if fits { Ok((count, start)) } else { Err(ArchiveError::broken("its directory cannot be read")) }
}

fn read_record(directory: &mut File) -> Result<(Record, u64), ArchiveError> {
    let mut head = [0; RECORD_BYTES];
    directory.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(ArchiveError::broken("its directory cannot be read"));
    }
    let (name_bytes, extra, comment) = (u16_at(&head, 28), u16_at(&head, 30), u16_at(&head, 32));
    let mut name = vec![0; usize::from(name_bytes)];
    directory.read_exact(&mut name)?;
    let is_unix = head[5] == 3;
    let record = Record {
        method: u16_at(&head, 10),
        crc: u32_at(&head, 16),
        packed: u64::from(u32_at(&head, 20)),
        bytes: u64::from(u32_at(&head, 24)),
        mode: if is_unix { u32_at(&head, 38) >> 16 } else { 0 },
        at: u64::from(u32_at(&head, 42)),
        name,
    };
    if u16_at(&head, 8) & 1 != 0 {
        return Err(ArchiveError::refused(&record.name, "it is encrypted"));
    }
    let length = RECORD_BYTES as u64 + u64::from(name_bytes) + u64::from(extra) + u64::from(comment);
    Ok((record, length))
}

fn take(archive: &mut File, record: &Record, files: &mut Files<'_>) -> Result<(), ArchiveError> {
    let name = record.name.as_slice();
    if name.starts_with(APPLE) {
        return Ok(());
    }
    if name.contains(&b'\\') {
        return Err(ArchiveError::refused(name, "its name holds a backslash"));
    }
    if name.ends_with(b"/") {
        return files.folder(name);
    }
    let kind = record.mode & 0o170_000;
    if !matches!(kind, 0 | 0o100_000 | 0o120_000) {
        return Err(ArchiveError::refused(name, "it is neither a file nor a folder nor a link"));
    }
    if record.mode & 0o6000 != 0 {
        return Err(ArchiveError::refused(
            name,
            "it would run with the rights of its owner (setuid or setgid)",
        ));
    }
    go_to_content(archive, record)?;
    let packed = archive.take(record.packed);
    let content: Box<dyn Read + '_> = match record.method {
        0 => Box::new(packed),
        8 => Box::new(DeflateDecoder::new(packed)),
        _ => return Err(ArchiveError::refused(name, "it is packed in a way that is not known: use deflate")),
    };
    // One byte more than it says is enough to know better.
    let mut content = Summed::new(Bounded::new(content, record.bytes, files.cancel()));
    if kind == 0o120_000 {
        let mut target = Vec::new();
        content.by_ref().take(4096).read_to_end(&mut target)?;
        content.check(record)?;
        return files.link(name, &target);
    }
    files.file(name, record.bytes, record.mode & 0o100 != 0, &mut content)?;
    content.check(record)
}

/// Past the record that stands before a file, which must tell the same.
fn go_to_content(archive: &mut File, record: &Record) -> Result<(), ArchiveError> {
    archive.seek(SeekFrom::Start(record.at))?;
    let mut head = [0; LOCAL_BYTES];
    archive.read_exact(&mut head)?;
    let mut name = vec![0; usize::from(u16_at(&head, 26))];
    archive.read_exact(&mut name)?;
    if !head.starts_with(b"PK\x03\x04") || name != record.name || u16_at(&head, 8) != record.method {
        return Err(ArchiveError::refused(&record.name, "its directory tells something else of it"));
    }
    archive.seek(SeekFrom::Current(i64::from(u16_at(&head, 28))))?;
    Ok(())
}

/// Counts and sums up what is read.
struct Summed<R> {
    inner: R,
    bytes: u64,
    crc: crc32fast::Hasher,
}

impl<R: Read> Summed<R> {
    fn new(inner: R) -> Self {
        Self { inner, bytes: 0, crc: crc32fast::Hasher::new() }
    }

    /// Whether all of the file has come, and as it was.
    fn check(mut self, record: &Record) -> Result<(), ArchiveError> {
        let more = self.inner.read(&mut [0])?;
        if more == 0 && self.bytes == record.bytes && self.crc.finalize() == record.crc {
            Ok(())
        } else {
            Err(ArchiveError::refused(&record.name, "its content is not what its directory says"))
        }
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
