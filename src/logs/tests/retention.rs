//! Old lines go, whole segments at a time; offsets stay what they were.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use autostack_base::now;

use super::{World, all, app, deployment, drain, instance, said, tail_texts, texts, written_by};
use crate::{Filter, Gap, Offset};

fn total(segments: &[std::path::PathBuf]) -> u64 {
    segments.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn age(path: &Path, days: u64) {
    let changed = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    fs::File::open(path).unwrap().set_modified(changed).unwrap();
}

#[test]
fn a_log_never_takes_more_than_its_limit() {
    let mut world = World::new();
    world.limits.app_bytes_max = 128 * 1024;
    let stream = world.stream();
    for number in 0..10_000_u64 {
        stream.append(&[written_by(1, format!("line {number}"), number)]).unwrap();
        if number % 100 == 0 {
            assert!(total(&world.segments()) <= 128 * 1024);
        }
    }
    assert!(total(&world.segments()) > 64 * 1024, "and makes use of it");
    drop(stream);
    let stream = world.stream();
    let found = texts(&all(&stream));
    let first: u64 = found[0].strip_prefix("line ").unwrap().parse().unwrap();
    let wanted: Vec<_> = (first..10_000).map(|number| format!("line {number}")).collect();
    assert_eq!(found, wanted, "the newest lines, none missing");
}

#[test]
fn a_reader_that_was_overtaken_is_told_how_much_it_missed() {
    let mut world = World::new();
    world.limits.app_bytes_max = 64 * 1024;
    let stream = world.stream();
    stream.append(&[said("first")]).unwrap();
    let mut reader = stream.reader(Offset::START);
    reader.next_ready().unwrap().unwrap();
    let missed_from = reader.offset();
    for _ in 0..5_000 {
        stream.append(&[said("a line of the many")]).unwrap();
    }
    assert!(stream.start() > missed_from);
    reader.next_ready().unwrap().unwrap();
    assert_eq!(reader.take_gap(), Some(Gap { bytes: stream.start().0 - missed_from.0 }));
    drain(&mut reader);
    assert_eq!(reader.take_gap(), None);
}

#[test]
fn a_reader_that_knows_less_than_was_removed_looks_again() {
    let mut world = World::new();
    world.limits.app_bytes_max = 64 * 1024;
    let stream = world.stream();
    let mut reader = stream.reader(Offset::START);
    stream.append(&[said("first")]).unwrap();
    let old_news = stream.published();
    while stream.start().0 <= old_news.end {
        stream.append(&[said("a line of the many")]).unwrap();
    }
    assert_eq!(reader.read(old_news).unwrap(), None);
    assert_eq!(drain(&mut reader), all(&stream));
    assert_eq!(reader.take_gap(), Some(Gap { bytes: stream.start().0 }), "counted once");
}

#[test]
fn a_log_whose_files_somebody_took_goes_on() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    let end = stream.append(&[said("taken")]).unwrap();
    logs.sweep(now());
    logs.sweep(now());
    fs::remove_dir_all(world.app_dir()).unwrap();
    assert!(drain(&mut stream.reader(Offset::START)).is_empty());
    stream.append(&[said("goes on")]).unwrap();
    assert_eq!(texts(&drain(&mut stream.reader(end))), ["goes on"]);
    assert_eq!(tail_texts(&stream, 1, &Filter::all()), ["goes on"]);
}

#[test]
fn one_large_batch_is_written_whole() {
    let mut world = World::new();
    world.limits.app_bytes_max = 64 * 1024;
    let stream = world.stream();
    let batch: Vec<_> = (0..3_000).map(|number| said(format!("line {number}"))).collect();
    stream.append(&batch).unwrap();
    assert_eq!(all(&stream).len(), 3_000);
    stream.append(&[said("next")]).unwrap();
    assert_eq!(texts(&all(&stream)), ["next"]);
}

#[test]
fn lines_of_an_app_go_by_age_and_the_offset_stays() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    while world.segments().len() < 3 {
        stream.append(&[written_by(1, "old", 41)]).unwrap();
    }
    let old = world.segments();
    let end = stream.append(&[written_by(1, "last", 42)]).unwrap();
    age(&old[0], 31);
    age(&old[1], 29);
    logs.sweep(now());
    assert_eq!(world.segments(), old[1..]);
    for path in &old[1..] {
        age(path, 31);
    }
    drop((stream, logs));
    // Nobody holds the log now: the sweep finds it on the disk.
    let logs = world.open();
    logs.sweep(now());
    let stream = logs.app(&app()).unwrap();
    assert!(all(&stream).is_empty());
    assert!(stream.start() >= end, "an offset is never given twice");
    assert_eq!(stream.last_source_end(&instance(1)), Some(42), "known without the lines");
    stream.append(&[said("new")]).unwrap();
    assert_eq!(texts(&drain(&mut stream.reader(end))), ["new"]);
    let segments = world.segments();
    logs.sweep(now());
    assert_eq!(world.segments(), segments, "what is young stays");
}

#[test]
fn an_empty_log_is_not_renewed_by_every_sweep() {
    let world = World::new();
    let logs = world.open();
    logs.app(&app()).unwrap().append(&[said("old")]).unwrap();
    age(&world.segments()[0], 31);
    logs.sweep(now());
    let segments = world.segments();
    age(&segments[0], 31);
    logs.sweep(now());
    assert_eq!(world.segments(), segments);
}

#[test]
fn a_build_log_goes_in_one_piece_unless_somebody_reads_it() {
    let world = World::new();
    let logs = world.open();
    let dir = world.dir.path().join("deployments").join(deployment().as_str());
    let stream = logs.deployment(&deployment()).unwrap();
    stream.append(&[said("built")]).unwrap();
    logs.sweep(now());
    assert_eq!(texts(&all(&stream)), ["built"], "young");
    for file in fs::read_dir(&dir).unwrap() {
        age(&file.unwrap().path(), 91);
    }
    age(&dir, 91);
    logs.sweep(now());
    assert_eq!(texts(&all(&stream)), ["built"], "held");
    drop(stream);
    logs.sweep(now());
    assert!(!dir.exists());
}

#[test]
fn a_sweep_closes_the_file_of_an_idle_log() {
    let open_files = |dir: &Path| {
        let listing = fs::read_dir("/proc/self/fd").unwrap();
        let targets = listing.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(dir)).count()
    };
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    stream.append(&[said("one")]).unwrap();
    let mut reader = stream.reader(Offset::START);
    drain(&mut reader);
    assert_eq!(open_files(&world.app_dir()), 1, "the writer's; a reader holds none");
    logs.sweep(now());
    logs.sweep(now());
    assert_eq!(open_files(&world.app_dir()), 0);
    stream.append(&[said("two")]).unwrap();
    assert_eq!(texts(&drain(&mut reader)), ["two"]);
}

#[test]
fn since_leaves_older_segments_unread() {
    let world = World::new();
    let stream = world.stream();
    while world.segments().len() < 3 {
        stream.append(&[said("line")]).unwrap();
    }
    let now = now();
    let filter = Filter { since: Some(now), ..Filter::all() };
    assert!(tail_texts(&stream, 10, &filter).is_empty());
    for path in world.segments() {
        age(&path, 1);
    }
    let mut entry = said("fresh");
    entry.at = autostack_domain::UnixMillis(now.0 + 1);
    stream.append(&[entry]).unwrap();
    // Unreadable now, were it read.
    for path in &world.segments()[..2] {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        age(path, 1);
    }
    assert_eq!(tail_texts(&stream, 10, &filter), ["fresh"]);
}
