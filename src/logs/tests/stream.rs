//! Append, read, tail, seal, remove: one at a time.

use std::sync::Arc;

use autostack_domain::limits::LOG_LINE_BYTES_MAX;

use super::{World, all, app, deployment, drain, instance, said, tail_texts, texts, written_by};
use crate::{Filter, LogError, Offset};

#[test]
fn what_was_appended_is_read_before_and_after_a_restart() {
    let world = World::new();
    let entries = [said("one"), written_by(1, b"\xff\0two".to_vec(), 7), said("")];
    let end = {
        let stream = world.stream();
        let end = stream.append(&entries).unwrap();
        assert_eq!(all(&stream), entries);
        end
    };
    let stream = world.stream();
    assert_eq!(all(&stream), entries);
    assert_eq!(stream.end(), end);
}

#[test]
fn a_stream_without_a_line_makes_no_file() {
    let world = World::new();
    let stream = world.stream();
    assert!(all(&stream).is_empty());
    assert!(stream.append(&[]).is_ok());
    assert_eq!(tail_texts(&stream, 5, &Filter::all()), Vec::<String>::new());
    stream.forget_instance(&instance(1));
    assert!(!world.app_dir().exists());
}

#[test]
fn one_name_is_one_stream_while_somebody_holds_it() {
    let world = World::new();
    let logs = world.open();
    let first = logs.app(&app()).unwrap();
    let other_handle = logs.clone();
    assert!(Arc::ptr_eq(&first, &other_handle.app(&app()).unwrap()));
    drop(logs);
}

#[test]
fn a_reader_goes_on_from_the_offset_of_any_entry() {
    let world = World::new();
    let stream = world.stream();
    for number in 0..50 {
        stream.append(&[said(format!("line {number}"))]).unwrap();
    }
    let mut reader = stream.reader(Offset::START);
    for number in 0..50 {
        let (offset, entry) = reader.next_ready().unwrap().unwrap();
        assert_eq!(entry.text, format!("line {number}").into_bytes());
        assert_eq!(drain(&mut stream.reader(offset)).len(), 49 - number);
    }
    assert_eq!(reader.offset(), stream.end());
}

#[test]
fn any_offset_from_outside_leads_to_whole_entries() {
    let world = World::new();
    let stream = world.stream();
    let entries: Vec<_> = (0..20).map(|number| said(format!("line {number}"))).collect();
    stream.append(&entries).unwrap();
    let mut last = entries.len();
    for offset in 0..stream.end().0 + 10 {
        let mut reader = stream.reader(Offset(offset));
        let found = drain(&mut reader);
        assert!(found.len() <= last && entries.ends_with(&found), "{offset}");
        assert_eq!(reader.take_gap(), None, "{offset}");
        last = found.len();
    }
    assert_eq!(last, 0);
    stream.append(&[said("later")]).unwrap();
    assert_eq!(texts(&drain(&mut stream.reader(Offset(stream.end().0 + 999)))), Vec::<String>::new());
}

#[test]
fn a_long_line_becomes_several_entries() {
    let world = World::new();
    let stream = world.stream();
    let long = "x".repeat(LOG_LINE_BYTES_MAX * 2 + 1);
    stream.append(&[said("before"), written_by(1, long.clone(), 9), said("after")]).unwrap();
    drop(stream);
    let found = all(&world.stream());
    assert_eq!(found.len(), 5);
    assert_eq!(texts(&found[1..4]).concat(), long);
    assert_eq!(found[1].text.len(), LOG_LINE_BYTES_MAX);
}

#[test]
fn the_tail_crosses_segments_and_follows_on() {
    let world = World::new();
    let stream = world.stream();
    for number in 0..2_000 {
        stream.append(&[written_by(number % 3, format!("line {number}"), u64::from(number))]).unwrap();
    }
    assert!(world.segments().len() > 3);
    for stream in [stream, world.stream()] {
        assert_eq!(tail_texts(&stream, 2, &Filter::all()), ["line 1998", "line 1999"]);
        assert_eq!(tail_texts(&stream, 0, &Filter::all()), Vec::<String>::new());
        assert_eq!(tail_texts(&stream, 9_999, &Filter::all()).len(), 2_000);
        let dyno = Filter { dyno: Some("web.1".into()), ..Filter::all() };
        assert_eq!(tail_texts(&stream, 2, &dyno), ["line 1996", "line 1999"]);
        let grep = Filter { contains: Some(b"line 17".to_vec()), ..Filter::all() };
        assert_eq!(tail_texts(&stream, 999, &grep).len(), 111);
        let (start, end) = stream.tail_start(5, &dyno).unwrap();
        assert_eq!(end, stream.end());
        let streamed: Vec<_> =
            drain(&mut stream.reader(start)).into_iter().filter(|entry| dyno.matches(entry)).collect();
        assert_eq!(texts(&streamed), tail_texts(&stream, 5, &dyno));
    }
}

#[test]
fn the_tail_says_where_to_go_on() {
    let world = World::new();
    let stream = world.stream();
    stream.append(&[said("old"), said("new")]).unwrap();
    let (found, end) = stream.tail(1, &Filter::all()).unwrap();
    assert_eq!(found[0].0, end);
    stream.append(&[said("newer")]).unwrap();
    assert_eq!(texts(&drain(&mut stream.reader(end))), ["newer"]);
}

#[test]
fn a_sealed_log_is_sealed_for_ever() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.deployment(&deployment()).unwrap();
    stream.append(&[said("built")]).unwrap();
    stream.seal().unwrap();
    stream.seal().unwrap();
    drop((stream, logs));
    let stream = world.open().deployment(&deployment()).unwrap();
    assert!(stream.is_sealed());
    assert!(matches!(stream.append(&[said("more")]), Err(LogError::Sealed { .. })));
    assert_eq!(texts(&all(&stream)), ["built"]);
    assert_eq!(tail_texts(&stream, 5, &Filter::all()), ["built"]);
}

#[test]
fn a_removed_log_is_gone_and_a_new_one_begins_empty() {
    let world = World::new();
    let logs = world.open();
    let stream = logs.app(&app()).unwrap();
    stream.append(&[said("secret")]).unwrap();
    let mut reader = stream.reader(Offset::START);
    logs.remove_app(&app()).unwrap();
    assert!(!world.app_dir().exists());
    assert!(matches!(stream.append(&[said("late")]), Err(LogError::Removed { .. })));
    assert_eq!(reader.next_ready().unwrap(), None);
    let again = logs.app(&app()).unwrap();
    assert!(all(&again).is_empty());
    again.append(&[said("fresh")]).unwrap();
    assert!(stream.append(&[said("late")]).is_err());
    drop(stream);
    assert_eq!(texts(&all(&logs.app(&app()).unwrap())), ["fresh"]);
    logs.remove_app(&"nobody".parse().unwrap()).unwrap();
}

#[test]
fn a_tailer_learns_where_it_was() {
    let world = World::new();
    let stream = world.stream();
    for number in 0..3_000 {
        stream.append(&[written_by(1, format!("line {number}"), number + 1)]).unwrap();
        if number == 5 {
            stream.append(&[written_by(2, "only this", 77), written_by(3, "gone", 88)]).unwrap();
        }
        if number == 6 {
            stream.forget_instance(&instance(3));
        }
    }
    assert!(world.segments().len() > 3);
    for stream in [stream, world.stream()] {
        assert_eq!(stream.last_source_end(&instance(1)), Some(3_000));
        assert_eq!(stream.last_source_end(&instance(2)), Some(77), "its line is in the oldest segment");
        assert_eq!(stream.last_source_end(&instance(3)), None, "forgotten");
        assert_eq!(stream.last_source_end(&instance(4)), None, "never seen");
    }
    let stream = world.stream();
    stream.forget_instance(&instance(1));
    drop(stream);
    assert_eq!(world.stream().last_source_end(&instance(1)), None, "forgotten in the newest segment");
}

#[test]
fn filters_choose_by_everything_that_is_set() {
    let entry = written_by(1, "GET /", 1);
    let process = |name: &str| Filter { process: Some(name.parse().unwrap()), ..Filter::all() };
    assert!(Filter::all().matches(&entry) && Filter::all().matches(&said("")));
    assert!(process("web").matches(&entry) && !process("worker").matches(&entry));
    assert!(!process("web").matches(&said("")));
    let at = |since, until| Filter {
        since: Some(autostack_domain::UnixMillis(since)),
        until: Some(autostack_domain::UnixMillis(until)),
        ..Filter::all()
    };
    assert!(at(2_000, 2_001).matches(&entry));
    assert!(!at(2_001, 3_000).matches(&entry) && !at(0, 2_000).matches(&entry));
    let copy = |index| Filter { instance: Some(instance(index)), ..Filter::all() };
    assert!(copy(1).matches(&entry) && !copy(2).matches(&entry) && !copy(1).matches(&said("")));
    let release = Filter { release: Some(autostack_domain::ReleaseNumber(4)), ..Filter::all() };
    assert!(!release.matches(&entry));
}

#[test]
fn entries_are_readable_json() {
    let json = serde_json::to_value(written_by(1, "a", 5)).unwrap();
    assert_eq!(json["origin"]["instance"]["dyno"], "web.1");
    let said_json = serde_json::to_value(said("a")).unwrap();
    assert_eq!(said_json["origin"]["platform"], "detail");
    assert_eq!(serde_json::from_value::<crate::Entry>(said_json).unwrap(), said("a"));
}
