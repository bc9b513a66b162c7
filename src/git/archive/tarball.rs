//! Tar, raw: block by block, with the extensions of GNU and PAX read here and held to a size. A size that is said
//! twice must be the same (two readers of one archive must not see two archives), and sparse files are refused.

use std::io::{BufReader, Read};

use tar::{Archive, Entry, EntryType};

use super::{ArchiveError, bounded::Bounded, files::Files};

/// Bytes of one extension: a long name, or what PAX says of one file.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of headers and padding beside the files themselves.
const OVERHEAD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What stood before an entry and is about it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    bytes: Option<u64>,
}

pub(super) fn read(stream: impl Read, files: &mut Files<'_>) -> Result<(), ArchiveError> {
    let bytes_max = files.limits().bytes_max.saturating_add(OVERHEAD_BYTES_MAX);
    // Tar reads by the block.
    let mut archive = Archive::new(BufReader::new(Bounded::new(stream, bytes_max, files.cancel())));
    let mut said = Said::default();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName => said.path = Some(trimmed(extension(&mut entry)?)),
            EntryType::GNULongLink => said.link = Some(trimmed(extension(&mut entry)?)),
            EntryType::XHeader => pax(&extension(&mut entry)?, &mut said)?,
            // What git writes about the commit, for instance.
            EntryType::XGlobalHeader => drop(extension(&mut entry)?),
            kind => take(&mut entry, kind, std::mem::take(&mut said), files)?,
        }
    }
    Ok(())
}

fn take(
    entry: &mut Entry<'_, impl Read>,
    kind: EntryType,
    said: Said,
    files: &mut Files<'_>,
) -> Result<(), ArchiveError> {
    let bytes = entry.header().entry_size()?;
    let path = said.path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
    if said.bytes.is_some_and(|also| also != bytes) {
        return Err(ArchiveError::refused(&path, "its size is said twice, and not the same"));
    }
    let link = || {
        let short = || entry.header().link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        said.link.clone().unwrap_or_else(short)
    };
    match kind {
        EntryType::Directory => files.folder(&path),
        EntryType::Symlink => files.link(&path, &link()),
        EntryType::Link => files.hard_link(&path, &link()),
        EntryType::Regular | EntryType::Continuous => {
            let mode = entry.header().mode()?;
            if mode & 0o6000 != 0 {
                return Err(ArchiveError::refused(
                    &path,
                    "it would run with the rights of its owner (setuid or setgid)",
                ));
            }
            if path.ends_with(b"/") {
                // How the oldest tars write a folder.
                return files.folder(&path);
            }
            files.file(&path, bytes, mode & 0o100 != 0, entry)
        }
        EntryType::GNUSparse => Err(ArchiveError::refused(&path, "it is a sparse file")),
        EntryType::Block | EntryType::Char | EntryType::Fifo => {
            Err(ArchiveError::refused(&path, "it is a device or a pipe"))
        }
        _ => Err(ArchiveError::refused(&path, "it is neither a file nor a folder nor a link")),
    }
}

fn extension(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, ArchiveError> {
    let bytes = entry.header().entry_size()?;
    if bytes > EXTENSION_BYTES_MAX {
        let what = format!("a header of {bytes} bytes");
        return Err(ArchiveError::OverLimit { what, limit: format!("{EXTENSION_BYTES_MAX} bytes") });
    }
    let mut content = Vec::new();
    entry.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

fn trimmed(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}

/// Records `LENGTH KEY=VALUE\n`, the length of all of it.
fn pax(mut records: &[u8], said: &mut Said) -> Result<(), ArchiveError> {
    let broken = || ArchiveError::broken("a PAX header cannot be read");
    while !records.is_empty() {
        let space = records.iter().take(8).position(|b| *b == b' ').ok_or_else(broken)?;
        let length =
            std::str::from_utf8(&records[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let length =
            length.filter(|length| *length > space + 1 && *length <= records.len()).ok_or_else(broken)?;
        let record = records[space + 1..length].strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => said.path = Some(value.to_vec()),
            b"linkpath" => said.link = Some(value.to_vec()),
            b"size" => {
                let bytes = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                said.bytes = Some(bytes.ok_or_else(broken)?);
            }
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(ArchiveError::refused(
                    said.path.as_deref().unwrap_or_default(),
                    "it is a sparse file",
                ));
            }
            _ => {}
        }
        records = &records[length..];
    }
    Ok(())
}
