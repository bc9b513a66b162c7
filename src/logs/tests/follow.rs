//! Readers that wait, writers that race, and nothing lost or repeated between them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use autostack_base::tasks::Tasks;
use tokio::time::timeout;

use super::{World, app, deployment, drain, said, written_by};
use crate::{Entry, Filter, Offset, Reader};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn next(reader: &mut Reader) -> Option<Entry> {
    timeout(PATIENCE, reader.next()).await.expect("an entry in time").unwrap().map(|(_, entry)| entry)
}

#[tokio::test]
async fn a_waiting_reader_gets_each_line_and_then_the_end() {
    let world = World::new();
    let stream = world.open().deployment(&deployment()).unwrap();
    let tasks = Tasks::new();
    let writer = Arc::clone(&stream);
    tasks.spawn("writer", async move {
        for number in 0..100 {
            writer.append(&[said(format!("line {number}"))]).unwrap();
            tokio::task::yield_now().await;
        }
        writer.seal().unwrap();
    });
    let mut reader = stream.reader(Offset::START);
    for number in 0..100 {
        assert_eq!(next(&mut reader).await, Some(said(format!("line {number}"))));
    }
    assert_eq!(next(&mut reader).await, None);
    assert_eq!(next(&mut reader).await, None, "and stays there");
}

#[tokio::test]
async fn a_reader_dropped_in_its_wait_has_lost_nothing() {
    let world = World::new();
    let stream = world.stream();
    let mut reader = stream.reader(Offset::START);
    for number in 0..20 {
        let waited = timeout(Duration::from_millis(1), reader.next()).await;
        assert!(waited.is_err(), "there is nothing yet");
        stream.append(&[said(format!("line {number}"))]).unwrap();
        assert_eq!(next(&mut reader).await, Some(said(format!("line {number}"))));
    }
}

#[tokio::test]
async fn a_reader_ends_when_the_log_is_removed() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    stream.append(&[said("one")]).unwrap();
    let mut reader = stream.reader(stream.end());
    let tasks = Tasks::new();
    tasks.spawn("remover", async move { logs.remove_app(&app()).unwrap() });
    assert_eq!(next(&mut reader).await, None);
}

/// Reads to the end of what four writers wrote; each line says whose and which it is.
struct Follower {
    reader: Reader,
    next_of: HashMap<u32, u64>,
    gaps: usize,
    lines: usize,
    last: Option<Entry>,
}

impl Follower {
    async fn follow(mut self, is_slow: bool) -> Self {
        while let Some(entry) = next(&mut self.reader).await {
            let gap = self.reader.take_gap();
            self.gaps += usize::from(gap.is_some());
            self.lines += 1;
            let text = entry.text_lossy();
            let (writer, number) = text.split_once(' ').unwrap();
            let (writer, number): (u32, u64) = (writer.parse().unwrap(), number.trim_end().parse().unwrap());
            let expected = self.next_of.entry(writer).or_default();
            assert!(number >= *expected, "line {number} of {writer} came again");
            assert!(number == *expected || self.gaps > 0, "lines of {writer} are missing before {number}");
            *expected = number + 1;
            self.last = Some(entry);
            if is_slow && self.lines.is_multiple_of(50) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        self
    }
}

/// Four writers of 5,000 lines against one fast and one slow follower, while old segments go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_followers_and_retention_lose_nothing_in_silence() {
    const LINES: u64 = 5_000;
    let mut world = World::new();
    world.limits.app_bytes_max = 256 * 1024;
    let stream = world.stream();
    let tasks = Tasks::new();
    let (done, mut followed) = tokio::sync::mpsc::channel(2);
    for is_slow in [false, true] {
        let reader = stream.reader(Offset::START);
        let follower = Follower { reader, next_of: HashMap::new(), gaps: 0, lines: 0, last: None };
        let done = done.clone();
        tasks.spawn("follower", async move {
            done.send((is_slow, follower.follow(is_slow).await)).await.unwrap_or_default();
        });
    }
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let stream = Arc::clone(&stream);
            tasks.spawn("writer", async move {
                for number in 0..LINES {
                    let text = format!("{writer} {number}{}", " ".repeat(20));
                    stream.append(&[written_by(writer, text, number)]).unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for writer in writers {
        timeout(PATIENCE, writer).await.unwrap().unwrap();
    }
    stream.seal().unwrap();
    let last = stream.tail(1, &Filter::all()).unwrap().0.pop().map(|(_, entry)| entry);
    for _ in 0..2 {
        let (is_slow, follower) = timeout(PATIENCE, followed.recv()).await.unwrap().unwrap();
        let is_whole = follower.lines as u64 == 4 * LINES;
        assert!(is_whole || follower.gaps > 0, "{} lines came", follower.lines);
        assert_eq!(follower.last, last, "the last line came");
        assert!(!is_slow || follower.gaps > 0, "the slow one was overtaken, and told so");
    }
    assert_eq!(tasks.panics(), 0);
}

#[test]
fn a_reader_that_wants_little_passes_over_the_rest() {
    let world = World::new();
    let stream = world.stream();
    for number in 0..500 {
        stream.append(&[written_by(1 + number % 2, format!("line {number}"), u64::from(number))]).unwrap();
    }
    let filter = Filter {
        dyno: Some("web.2".into()),
        pattern: Some("line 4\\d\\d$".parse().unwrap()),
        ..Filter::all()
    };
    let mut reader = stream.reader(Offset::START).only(filter);
    let found = drain(&mut reader);
    assert_eq!(found.len(), 50);
    assert_eq!((found[0].text_lossy().as_ref(), reader.offset()), ("line 401", stream.end()));
}

#[test]
fn what_is_since_a_moment_is_found_by_whole_segments() {
    let world = World::new();
    let stream = world.stream();
    let line = "x".repeat(8 * 1024);
    for _ in 0..16 {
        stream.append(&[said(line.clone())]).unwrap();
    }
    let segments = world.segments();
    assert!(segments.len() > 3, "{segments:?}");
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    for segment in &segments[..2] {
        std::fs::File::options().write(true).open(segment).unwrap().set_modified(old).unwrap();
    }
    let third: u64 = segments[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(stream.start_since(autostack_domain::UnixMillis(2_000_000)), Offset(third));
    assert_eq!(stream.start_since(autostack_domain::UnixMillis(0)), stream.start());
    let never = autostack_domain::UnixMillis(i64::MAX / 2);
    assert_eq!(stream.start_since(never), stream.end());
}
