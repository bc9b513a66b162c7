//! From what should run and what does run to what has to be done: one pure function for deploys, crash
//! restarts, scaling and the start of the agent.

use std::collections::BTreeMap;

use autostack_domain::{Formation, InstanceId, ProcessType, ReleaseNumber};

/// A place in a formation: `web.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The process type.
    pub process: ProcessType,
    /// Which of them, from 1.
    pub index: u32,
}

impl Slot {
    /// Every place of a formation, in order.
    pub fn all(formation: &Formation) -> impl Iterator<Item = Slot> {
        let places = |(process, count): (&ProcessType, &u32)| {
            let process = process.clone();
            (1..=*count).map(move |index| Slot { process: process.clone(), index })
        };
        formation.0.iter().flat_map(places)
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.process, self.index)
    }
}

/// An instance that the runtime, or the owner task's own book, knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: InstanceId,
    /// The release that it runs.
    pub release: ReleaseNumber,
    /// The place that it fills.
    pub slot: Slot,
    /// Whether it runs.
    pub running: bool,
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Instances that stay, by their place.
    pub keep: BTreeMap<Slot, InstanceId>,
    /// Places to fill.
    pub start: Vec<Slot>,
    /// Instances to end and to remove; never before the places are filled and the route is replaced.
    pub stop: Vec<InstanceId>,
}

/// Compares. `wanted` is the release that is live and its formation, `None` for an app without one.
pub fn plan(wanted: Option<(ReleaseNumber, &Formation)>, seen: &[Seen]) -> Plan {
    let mut plan = Plan::default();
    let places: Vec<Slot> = wanted.iter().flat_map(|(_, formation)| Slot::all(formation)).collect();
    for instance in seen {
        let fits = instance.running
            && wanted.is_some_and(|(release, _)| release == instance.release)
            && places.contains(&instance.slot)
            && !plan.keep.contains_key(&instance.slot);
        if fits {
            plan.keep.insert(instance.slot.clone(), instance.id.clone());
        } else {
            plan.stop.push(instance.id.clone());
        }
    }
    plan.start = places.into_iter().filter(|slot| !plan.keep.contains_key(slot)).collect();
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(process: &str, index: u32) -> Slot {
        Slot { process: process.parse().unwrap(), index }
    }

    fn seen(release: u32, slot: Slot, random: u32, running: bool) -> Seen {
        let id = InstanceId::compose(&"shop".parse().unwrap(), &slot.process, slot.index, random);
        Seen { id, release: ReleaseNumber(release), slot, running }
    }

    fn formation(counts: &[(&str, u32)]) -> Formation {
        Formation(counts.iter().map(|(process, count)| (process.parse().unwrap(), *count)).collect())
    }

    #[test]
    fn a_first_release_starts_every_place() {
        let plan = plan(Some((ReleaseNumber(1), &formation(&[("web", 2), ("worker", 1)]))), &[]);
        assert_eq!(plan.start, [slot("web", 1), slot("web", 2), slot("worker", 1)]);
        assert!(plan.stop.is_empty());
    }

    #[test]
    fn a_new_release_replaces_every_process_type() {
        let old = [seen(1, slot("web", 1), 1, true), seen(1, slot("worker", 1), 2, true)];
        let plan = plan(Some((ReleaseNumber(2), &formation(&[("web", 1)]))), &old);
        assert_eq!(plan.start, [slot("web", 1)]);
        assert_eq!(plan.stop.len(), 2);
    }

    #[test]
    fn a_dead_instance_is_removed_and_its_place_filled() {
        let plan =
            plan(Some((ReleaseNumber(1), &formation(&[("web", 1)]))), &[seen(1, slot("web", 1), 1, false)]);
        assert_eq!(plan.start, [slot("web", 1)]);
        assert_eq!(plan.stop.len(), 1);
    }

    #[test]
    fn nothing_wanted_stops_everything() {
        let plan = plan(None, &[seen(1, slot("web", 1), 1, true)]);
        assert!(plan.start.is_empty() && plan.keep.is_empty());
        assert_eq!(plan.stop.len(), 1);
    }

    proptest! {
        #[test]
        fn carrying_out_a_plan_leaves_nothing_to_do(
            web in 0u32..4,
            worker in 0u32..3,
            held in proptest::collection::vec((1u32..3, 1u32..5, any::<bool>(), any::<bool>()), 0..8),
        ) {
            let wanted = formation(&[("web", web), ("worker", worker)]);
            let release = ReleaseNumber(2);
            let before: Vec<Seen> = (1u32..)
                .zip(&held)
                .map(|(random, (release, index, is_web, running))| {
                    let process = if *is_web { "web" } else { "worker" };
                    seen(*release, slot(process, *index), random, *running)
                })
                .collect();
            let first = plan(Some((release, &wanted)), &before);
            let mut after: Vec<Seen> = before.into_iter().filter(|held| !first.stop.contains(&held.id)).collect();
            after.extend((100u32..).zip(&first.start).map(|(random, slot)| seen(2, slot.clone(), random, true)));
            let second = plan(Some((release, &wanted)), &after);
            prop_assert!(second.start.is_empty() && second.stop.is_empty());
            prop_assert_eq!(second.keep.len(), usize::try_from(web + worker).unwrap());
        }
    }
}
