//! Lines on their way from a program to the log of its app.

use std::{fs, time::Duration};

use autostack_domain::{UnixMillis, limits::LOG_LINE_BYTES_MAX};

use super::world::{World, until};
use crate::{
    Backend,
    process::output::{OutputLimits, OutputReader, OutputWriter, Piece, Source},
};

#[tokio::test]
async fn a_line_is_in_the_log_at_once() {
    let world = World::new().await;
    let spec = world
        .start(
            "while read line; do :; done; while [ ! -e go ]; do sleep 0.01; done; date +%s%N; exec sleep 600",
        )
        .await;
    fs::write(world.dir.path().join("app/go"), "").unwrap();
    let said = world.said(&spec, 1).await;
    let arrived = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let printed = Duration::from_nanos(said[0].parse().unwrap());
    assert!(arrived - printed < Duration::from_secs(1), "{:?}", arrived - printed);
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn last_words_without_a_line_end_and_very_long_ones_arrive() {
    let world = World::new().await;
    let spec =
        world.start("printf 'a\\r\\nb\\0c\\n'; head -c 40000 /dev/zero | tr '\\0' x; printf end").await;
    world.backend.wait(&spec.id).await.unwrap();
    let said = world.lines(&spec);
    assert_eq!(said[..2], ["a", "b\0c"]);
    let rest: Vec<usize> = said[2..].iter().map(String::len).collect();
    assert_eq!(rest, [LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX, 40_003 - 2 * LOG_LINE_BYTES_MAX]);
}

#[tokio::test]
async fn an_agent_that_was_away_too_long_says_what_is_missing() {
    let limits = OutputLimits { file_bytes_max: 4_000, bytes_max: 20_000 };
    let world = World::with(limits).await;
    let command = "echo first; while [ ! -e go ]; do sleep 0.01; done; i=0; \
                   while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done; echo last; touch done; exec sleep 600";
    let spec = world.start(command).await;
    world.said(&spec, 1).await;
    let instance = world.instance_dir(&spec.id);
    let world = world
        .reopened(move |dir| {
            fs::write(dir.join("app/go"), "").unwrap();
            until("it prints", || dir.join("app/done").exists());
            let sizes =
                || fs::read_dir(&instance).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            // Of more than a million bytes; what is read at once is written at once.
            assert!(sizes().sum::<u64>() < 400_000, "{:?}", sizes().collect::<Vec<_>>());
        })
        .await;
    until_said(&world, &spec, "last").await;
    let said = world.lines(&spec);
    assert_eq!(said[0], "first");
    assert!(
        said[1].starts_with("autostack: ") && said[1].contains("bytes of output are missing"),
        "{}",
        said[1]
    );
    assert_eq!(said[said.len() - 2], "line 39999");
    let numbers: Vec<u32> = said[2..said.len() - 1]
        .iter()
        .map(|line| line.strip_prefix("line ").unwrap().parse().unwrap())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn files_that_were_read_are_removed() {
    let limits = OutputLimits { file_bytes_max: 10_000, bytes_max: 1 << 30 };
    let world = World::with(limits).await;
    let spec =
        world.start("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exec sleep 600").await;
    let said = world.said(&spec, 20_000).await;
    assert_eq!(said.len(), 20_000);
    assert!(said.iter().enumerate().all(|(number, line)| *line == format!("line {number}")));
    let instance = world.instance_dir(&spec.id);
    until("old output stays", || {
        let names = fs::read_dir(&instance).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("output.")).count() <= 2
    });
    world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn no_space_for_output_neither_blocks_nor_ends_a_program() {
    let world = World::new().await;
    let command = "echo before; while [ ! -e go ]; do sleep 0.01; done; i=0; \
                   while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; touch printed; \
                   while [ ! -e space ]; do sleep 0.01; done; echo after; exit 6";
    let spec = world.start(command).await;
    world.said(&spec, 1).await;
    let shim = super::tree::shim_of(&world, &spec.id);
    limit_file_size(shim, 10_000);
    let app = world.dir.path().join("app");
    fs::write(app.join("go"), "").unwrap();
    until("the program blocks", || app.join("printed").exists());
    limit_file_size(shim, u64::MAX);
    fs::write(app.join("space"), "").unwrap();
    assert_eq!(world.backend.wait(&spec.id).await.unwrap(), autostack_domain::Exit::Code(6));
    let said = world.lines(&spec);
    assert_eq!(said[0], "before");
    assert_eq!(said.last().unwrap(), "after");
    let at = said.iter().position(|line| line.starts_with("autostack: ")).unwrap();
    let missing: usize = said[at].split(' ').nth(1).unwrap().parse().unwrap();
    let kept = said.iter().filter(|line| line.starts_with("line ")).count();
    assert!(kept > 100 && missing > 100, "{kept} {missing}");
    assert_eq!(kept + missing, 3000, "{}", said[at]);
}

/// Makes writes of another process fail beyond so many bytes of a file.
fn limit_file_size(pid: i32, bytes: u64) {
    let hard = nix::libc::RLIM_INFINITY;
    let limit = nix::libc::rlimit { rlim_cur: bytes, rlim_max: hard };
    let none = std::ptr::null_mut();
    // SAFETY: the new limit is valid for the call, the old one is not asked for.
    let set = unsafe { nix::libc::prlimit(pid, nix::libc::RLIMIT_FSIZE, &raw const limit, none) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

async fn until_said(world: &World, spec: &autostack_domain::InstanceSpec, line: &str) {
    let deadline = std::time::Instant::now() + super::world::SOON;
    while world.lines(spec).last().is_none_or(|last| last != line) {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every line that stands in the output from a place on.
fn read_all(reader: &mut OutputReader) -> Vec<Piece> {
    let mut all = Vec::new();
    loop {
        let pieces = reader.read().unwrap();
        if pieces.is_empty() {
            return all;
        }
        all.extend(pieces);
    }
}

fn texts(pieces: &[Piece]) -> Vec<String> {
    let text = |piece: &Piece| match piece {
        Piece::Line(record, _) => String::from_utf8(record.text.clone()).unwrap(),
        Piece::Gap { bytes, .. } => format!("gap {bytes}"),
    };
    pieces.iter().map(text).collect()
}

#[test]
fn a_reader_goes_on_from_any_line() {
    let dir = tempfile::tempdir().unwrap();
    let limits = OutputLimits { file_bytes_max: 200, bytes_max: 1 << 20 };
    let mut writer = OutputWriter::new(dir.path().to_owned(), limits);
    for number in 0..100 {
        writer.push(UnixMillis(number), Source::Stdout, format!("line {number}").as_bytes());
        if number % 3 == 0 {
            writer.flush(UnixMillis(number));
        }
    }
    writer.flush(UnixMillis(100));
    // Copies, as reading removes what was read.
    let copy = || {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    };
    let first = copy();
    let all = read_all(&mut OutputReader::new(first.path().to_owned(), 0));
    assert_eq!(texts(&all), (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>());
    for (at, piece) in all.iter().enumerate() {
        let Piece::Line(_, end) = piece else { panic!("{piece:?}") };
        let again = copy();
        let rest = read_all(&mut OutputReader::new(again.path().to_owned(), *end));
        assert_eq!(texts(&rest), texts(&all[at + 1..]), "from {end}");
    }
}

#[test]
fn a_reader_that_was_interrupted_gives_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = OutputWriter::new(dir.path().to_owned(), OutputLimits::default());
    writer.push(UnixMillis(1), Source::Stderr, b"one");
    writer.flush(UnixMillis(1));
    let mut reader = OutputReader::new(dir.path().to_owned(), 0);
    let first = reader.read().unwrap();
    reader.rewind();
    assert_eq!(reader.read().unwrap(), first);
    assert!(reader.read().unwrap().is_empty());
    writer.push(UnixMillis(2), Source::Stderr, b"two");
    writer.flush(UnixMillis(2));
    assert_eq!(texts(&reader.read().unwrap()), ["two"]);
}

#[test]
fn a_torn_end_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let limits = OutputLimits { file_bytes_max: 30, bytes_max: 1 << 20 };
    let mut writer = OutputWriter::new(dir.path().to_owned(), limits);
    for text in ["first of all", "second", "third line of it", "fourth"] {
        writer.push(UnixMillis(1), Source::Stdout, text.as_bytes());
        writer.flush(UnixMillis(1));
    }
    let first = dir.path().join(format!("output.{:020}", 0));
    let length = fs::metadata(&first).unwrap().len();
    fs::OpenOptions::new().write(true).open(&first).unwrap().set_len(length - 3).unwrap();
    let all = texts(&read_all(&mut OutputReader::new(dir.path().to_owned(), 0)));
    assert_eq!(all[0], "first of all");
    assert!(all[1].starts_with("gap "), "{all:?}");
    assert_eq!(all[2..], ["third line of it", "fourth"]);
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("output.{:020}", 0));
    // A device on which every write fails for lack of space.
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut writer = OutputWriter::new(dir.path().to_owned(), OutputLimits::default());
    for text in ["lost", "lost too"] {
        writer.push(UnixMillis(1), Source::Stdout, text.as_bytes());
        writer.flush(UnixMillis(1));
    }
    fs::remove_file(&file).unwrap();
    writer.reopen_for_test();
    writer.push(UnixMillis(2), Source::Stdout, b"kept");
    writer.flush(UnixMillis(2));
    writer.push(UnixMillis(3), Source::Stdout, b"kept too");
    writer.flush(UnixMillis(3));
    let all = texts(&read_all(&mut OutputReader::new(dir.path().to_owned(), 0)));
    assert_eq!(all, ["2 lines are missing here: they could not be written to disk", "kept", "kept too"]);
}
