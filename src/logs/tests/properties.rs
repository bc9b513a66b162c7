//! What holds for every log, cut and restarted anywhere.

use std::fs;

use proptest::{collection::vec, prelude::*};

use super::{World, all, drain, said, written_by};
use crate::{Entry, Filter, Offset};

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<Entry>),
    Restart,
}

fn entry() -> impl Strategy<Value = Entry> {
    let text = prop_oneof![vec(any::<u8>(), 0..60), vec(any::<u8>(), 2_000..6_000)];
    (0..4_u32, text, any::<u64>()).prop_map(|(writer, text, source_end)| match writer {
        0 => Entry { text, ..said("") },
        writer => written_by(writer, text, source_end),
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![4 => vec(entry(), 0..6).prop_map(Act::Append), 1 => Just(Act::Restart)];
    vec(act, 1..25)
}

/// Acts on a log, and says what must be in it: entries, and the offset after each.
fn play(world: &World, acts: Vec<Act>) -> Vec<Entry> {
    let mut wanted = Vec::new();
    let mut stream = world.stream();
    for act in acts {
        match act {
            Act::Append(entries) => {
                stream.append(&entries).unwrap();
                wanted.extend(entries);
            }
            Act::Restart => {
                drop(stream);
                stream = world.stream();
            }
        }
    }
    wanted
}

fn last_source_ends(entries: &[Entry]) -> Vec<Option<u64>> {
    let of = |index| {
        entries.iter().rev().find_map(|entry| match &entry.origin {
            crate::Origin::Instance { instance, source_end, .. } if *instance == super::instance(index) => {
                Some(*source_end)
            }
            _ => None,
        })
    };
    (1..4).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn read_is_what_was_appended(acts in acts()) {
        let world = World::new();
        let wanted = play(&world, acts);
        let stream = world.stream();
        prop_assert_eq!(&all(&stream), &wanted);
        let (tail, end) = stream.tail(usize::MAX, &Filter::all()).unwrap();
        prop_assert_eq!(end, stream.end());
        let offsets: Vec<_> = tail.iter().map(|(offset, _)| *offset).collect();
        prop_assert_eq!(&tail.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(), &wanted);
        for (index, offset) in offsets.into_iter().enumerate() {
            prop_assert_eq!(&drain(&mut stream.reader(offset)), &wanted[index + 1..]);
        }
        let ends: Vec<_> = (1..4).map(|index| stream.last_source_end(&super::instance(index))).collect();
        prop_assert_eq!(ends, last_source_ends(&wanted));
    }

    #[test]
    fn a_cut_costs_whole_entries_at_the_end_only(acts in acts(), cut in any::<prop::sample::Index>()) {
        let world = World::new();
        let wanted = play(&world, acts);
        prop_assume!(!wanted.is_empty());
        let newest = world.segments().pop().unwrap();
        let length = fs::metadata(&newest).unwrap().len();
        let cut = cut.index(usize::try_from(length).unwrap()) as u64;
        let start: u64 = newest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let kept = {
            let stream = world.stream();
            let (tail, _) = stream.tail(usize::MAX, &Filter::all()).unwrap();
            tail.iter().filter(|(offset, _)| offset.0 <= start + cut).count()
        };
        fs::OpenOptions::new().write(true).open(&newest).unwrap().set_len(cut).unwrap();
        let stream = world.stream();
        prop_assert_eq!(&all(&stream), &wanted[..kept]);
        let ends: Vec<_> = (1..4).map(|index| stream.last_source_end(&super::instance(index))).collect();
        prop_assert_eq!(ends, last_source_ends(&wanted[..kept]));
        stream.append(&[said("goes on")]).unwrap();
        drop(stream);
        let after = all(&world.stream());
        prop_assert_eq!(&after[..kept], &wanted[..kept]);
        prop_assert_eq!(&after[kept..], &[said("goes on")]);
    }

    #[test]
    fn no_damage_panics_or_invents(acts in acts(), hits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let world = World::new();
        let wanted = play(&world, acts);
        prop_assume!(!wanted.is_empty());
        for (at, byte) in hits {
            let segments = world.segments();
            let path = &segments[at.index(segments.len())];
            let mut bytes = fs::read(path).unwrap();
            let index = at.index(bytes.len());
            bytes[index] = byte;
            fs::write(path, bytes).unwrap();
        }
        let stream = world.stream();
        let mut left = wanted.iter();
        for entry in all(&stream) {
            prop_assert!(left.any(|wanted| *wanted == entry), "in order, and nothing else");
        }
        stream.tail(usize::MAX, &Filter::all()).unwrap();
        let end = stream.append(&[said("goes on")]).unwrap();
        prop_assert!(end > Offset::START);
        drop(stream);
        prop_assert_eq!(all(&world.stream()).pop(), Some(said("goes on")));
    }
}
