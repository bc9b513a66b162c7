//! What a kill, a power cut or a bad disk leaves: whole lines, and a stream that goes on.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use autostack_domain::limits::LOG_LINE_BYTES_MAX;

use super::{World, all, instance, said, tail_texts, texts, written_by};
use crate::{Filter, Offset};

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_torn_tail_is_cut_off_and_the_stream_goes_on() {
    let world = World::new();
    world.stream().append(&[said("one"), said("two")]).unwrap();
    let path = &world.segments()[0];
    cut(path, fs::metadata(path).unwrap().len() - 3);
    let stream = world.stream();
    assert_eq!(texts(&all(&stream)), ["one"]);
    assert_eq!(stream.end().0, fs::metadata(path).unwrap().len(), "nothing torn is left in the file");
    stream.append(&[said("three")]).unwrap();
    drop(stream);
    assert_eq!(texts(&all(&world.stream())), ["one", "three"]);
}

#[test]
fn zeros_and_noise_at_the_end_are_cut_off() {
    let world = World::new();
    world.stream().append(&[said("one")]).unwrap();
    let path = &world.segments()[0];
    let whole = fs::read(path).unwrap();
    for tail in [vec![0; 4096], (0..=255).cycle().take(9_999).collect(), b"\x05\0\0\0".to_vec()] {
        fs::write(path, [whole.as_slice(), &tail].concat()).unwrap();
        let stream = world.stream();
        assert_eq!(texts(&all(&stream)), ["one"]);
        assert_eq!(fs::read(path).unwrap(), whole);
    }
}

#[test]
fn a_long_line_is_kept_whole_or_not_at_all() {
    let world = World::new();
    let stream = world.stream();
    stream.append(&[written_by(1, "short", 6)]).unwrap();
    stream.append(&[written_by(1, "x".repeat(LOG_LINE_BYTES_MAX + 100), 20_000)]).unwrap();
    let path = &world.segments()[0];
    cut(path, fs::metadata(path).unwrap().len() - 1);
    let stream = world.stream();
    assert_eq!(texts(&all(&stream)), ["short"], "the first piece alone is no line");
    assert_eq!(stream.last_source_end(&instance(1)), Some(6), "so the tailer reads the line again");
}

#[test]
fn a_torn_header_keeps_the_offset_and_the_sources() {
    for length in [0, 7, 16] {
        let world = World::new();
        let stream = world.stream();
        let mut number = 0;
        while world.segments().len() < 3 {
            number += 1;
            stream.append(&[written_by(1, format!("line {number}"), number)]).unwrap();
        }
        drop(stream);
        let newest = world.segments().pop().unwrap();
        fs::write(&newest, vec![0; length]).unwrap();
        let start: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let stream = world.stream();
        assert_eq!(stream.end(), Offset(start));
        assert_eq!(stream.last_source_end(&instance(1)), Some(number - 1));
        stream.append(&[written_by(1, "again", number)]).unwrap();
        drop(stream);
        let stream = world.stream();
        assert_eq!(tail_texts(&stream, 1, &Filter::all()), ["again"]);
        assert_eq!(all(&stream).len() as u64, number);
        assert_eq!(world.segments().len(), 3);
    }
}

#[test]
fn damage_in_the_middle_costs_the_records_that_it_hit() {
    let world = World::new();
    let stream = world.stream();
    let mut ends = vec![0];
    for number in 0..10 {
        ends.push(stream.append(&[said(format!("line {number}"))]).unwrap().0);
    }
    drop(stream);
    let path = &world.segments()[0];
    let whole = fs::read(path).unwrap();
    let middle = usize::try_from(ends[4] + 5).unwrap()..usize::try_from(ends[5] + 2).unwrap();
    for damage in [0x00, 0xff, b'x'] {
        let mut damaged = whole.clone();
        damaged[middle.clone()].fill(damage);
        fs::write(path, &damaged).unwrap();
        let stream = world.stream();
        let mut reader = stream.reader(Offset::START);
        let found = super::drain(&mut reader);
        let wanted: Vec<_> = (0..10).filter(|n| ![4, 5].contains(n)).map(|n| format!("line {n}")).collect();
        assert_eq!(texts(&found), wanted);
        assert_eq!(reader.take_gap().unwrap().bytes, ends[6] - ends[4]);
        assert_eq!(tail_texts(&stream, 20, &Filter::all()), wanted);
        assert_eq!(stream.end().0, ends[10]);
    }
}

#[test]
fn an_unreadable_or_missing_segment_is_a_gap() {
    let world = World::new();
    let stream = world.stream();
    while world.segments().len() < 4 {
        stream.append(&[said("line of some length")]).unwrap();
    }
    let before = all(&stream).len();
    let segments = world.segments();
    let mut bytes = fs::read(&segments[1]).unwrap();
    bytes[3] ^= 1;
    fs::write(&segments[1], bytes).unwrap();
    fs::remove_file(&segments[2]).unwrap();
    let mut reader = stream.reader(Offset::START);
    let found = super::drain(&mut reader);
    assert!(!found.is_empty() && found.len() < before);
    assert!(reader.take_gap().is_some());
    assert_eq!(tail_texts(&stream, 1, &Filter::all()), ["line of some length"]);
    drop(stream);
    world.stream().append(&[said("goes on")]).unwrap();
    assert_eq!(tail_texts(&world.stream(), 1, &Filter::all()), ["goes on"]);
}

#[test]
fn a_newest_segment_with_a_damaged_header_is_left_behind() {
    let world = World::new();
    let end = world.stream().append(&[said("lost")]).unwrap();
    let path = &world.segments()[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
    let stream = world.stream();
    assert_eq!(stream.end(), end, "offsets that were given out stay behind us");
    stream.append(&[said("kept")]).unwrap();
    drop(stream);
    assert_eq!(texts(&all(&world.stream())), ["kept"]);
}

#[test]
fn e4_a_line_that_imitates_a_record_is_never_one() {
    let world = World::new();
    // The tenant copies a record out of another log, at the right offset even, and prints it.
    let other = World::new();
    other.stream().append(&[written_by(1, "forged", 999)]).unwrap();
    let forged = fs::read(&other.segments()[0]).unwrap();
    world.stream().append(&[written_by(1, forged, 10)]).unwrap();
    let path = &world.segments()[0];
    cut(path, fs::metadata(path).unwrap().len() - 1);
    let stream = world.stream();
    assert!(all(&stream).is_empty());
    assert_eq!(stream.last_source_end(&instance(1)), None);
}

const FOLDER: &str = "AUTOSTACK_TEST_WRITER_DIR";

/// The child: appends without end, and says each line that was acknowledged.
#[test]
#[ignore = "writes for ever; `a_killed_writer_loses_nothing_that_was_acknowledged` starts and kills it"]
fn write_for_ever() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let limits = crate::LogLimits { segment_bytes_max: 32 * 1024, ..crate::LogLimits::default() };
    let stream = crate::Logs::open(folder, limits).unwrap().app(&super::app()).unwrap();
    let first = stream.last_source_end(&instance(1)).unwrap_or(0);
    for number in first + 1.. {
        let text = format!("line {number} {}", "x".repeat(usize::try_from(number * 37 % 3_000).unwrap()));
        stream.append(&[written_by(1, text, number)]).unwrap();
        println!("ACK {number}");
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    let world = World::new();
    let mut acknowledged = 0;
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::crash::write_for_ever", "--ignored", "--nocapture"])
            .env(FOLDER, world.dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        for line in output.lines() {
            let Ok(line) = line else { break };
            if let Some(number) = line.strip_prefix("ACK ").and_then(|number| number.parse::<u64>().ok()) {
                acknowledged = number;
            }
            if acknowledged >= round * 150 {
                // Again at each further line: the second one finds it gone.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let stream = world.stream();
        let last = stream.last_source_end(&instance(1)).unwrap();
        assert!(last >= acknowledged && acknowledged >= round * 150, "{last} of {acknowledged}");
        let found = texts(&all(&stream));
        assert_eq!(found.len() as u64, last, "none lost, none twice");
        let is_next = |(index, text): (usize, &String)| text.starts_with(&format!("line {} ", index + 1));
        assert!(found.iter().enumerate().all(is_next));
    }
}
