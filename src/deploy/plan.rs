//! From what should run and what does run to what has to be done: one pure function for deploys, crash
//! restarts, scaling and the start of the agent.

use std::collections::BTreeMap;

use autostack_domain::{App, Formation, InstanceId, ProcessType, Release, ReleaseNumber};

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
    /// The round of restarts that it was started in.
    pub round: u32,
    /// Whether it runs, and answers where it has to.
    pub running: bool,
}

/// What should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The release that is live.
    pub release: ReleaseNumber,
    /// How many of each.
    pub formation: Formation,
    /// The round of restarts that each process type is in; 0 without an entry.
    pub rounds: BTreeMap<ProcessType, u32>,
}

impl Wanted {
    /// What should run of a release that is live.
    pub fn of(app: &App, release: &Release) -> Self {
        Self { release: release.number, formation: app.wanted(release), rounds: app.rounds.clone() }
    }

    /// Whether an instance is of that release and of the last round.
    pub fn includes(&self, seen: &Seen) -> bool {
        let round = self.rounds.get(&seen.slot.process).copied().unwrap_or(0);
        seen.release == self.release && seen.round == round
    }
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

/// Compares. `wanted` is `None` for an app without a live release. Of several instances for one place the first that
/// was seen stays.
pub fn plan(wanted: Option<&Wanted>, seen: &[Seen]) -> Plan {
    let mut plan = Plan::default();
    let places: Vec<Slot> = wanted.iter().flat_map(|wanted| Slot::all(&wanted.formation)).collect();
    for instance in seen {
        let fits = instance.running
            && wanted.is_some_and(|wanted| wanted.includes(instance))
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
        Seen { id, release: ReleaseNumber(release), slot, round: 0, running }
    }

    fn wanted(release: u32, counts: &[(&str, u32)]) -> Wanted {
        let formation = counts.iter().map(|(process, count)| (process.parse().unwrap(), *count)).collect();
        Wanted { release: ReleaseNumber(release), formation: Formation(formation), rounds: BTreeMap::new() }
    }

    #[test]
    fn after_a_crash_in_a_restart_the_recorded_round_stays() {
        let [first, second] =
            [(0, 1), (1, 2)].map(|(round, random)| Seen { round, ..seen(1, slot("web", 1), random, true) });
        let mut recorded = wanted(1, &[("web", 1)]);
        let held = [first.clone(), second.clone()];
        let before = plan(Some(&recorded), &held);
        assert_eq!(
            (before.keep.into_values().next(), before.stop),
            (Some(first.id.clone()), vec![second.id.clone()])
        );
        recorded.rounds.insert("web".parse().unwrap(), 1);
        let after = plan(Some(&recorded), &held);
        assert_eq!((after.keep.into_values().next(), after.stop), (Some(second.id), vec![first.id]));
    }

    #[test]
    fn a_first_release_starts_every_place() {
        let plan = plan(Some(&wanted(1, &[("web", 2), ("worker", 1)])), &[]);
        assert_eq!(plan.start, [slot("web", 1), slot("web", 2), slot("worker", 1)]);
        assert!(plan.stop.is_empty());
    }

    #[test]
    fn a_new_release_replaces_every_process_type() {
        let old = [seen(1, slot("web", 1), 1, true), seen(1, slot("worker", 1), 2, true)];
        let plan = plan(Some(&wanted(2, &[("web", 1)])), &old);
        assert_eq!(plan.start, [slot("web", 1)]);
        assert_eq!(plan.stop.len(), 2);
    }

    #[test]
    fn a_dead_instance_is_removed_and_its_place_filled() {
        let plan = plan(Some(&wanted(1, &[("web", 1)])), &[seen(1, slot("web", 1), 1, false)]);
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
            let wanted = wanted(2, &[("web", web), ("worker", worker)]);
            let before: Vec<Seen> = (1u32..)
                .zip(&held)
                .map(|(random, (release, index, is_web, running))| {
                    let process = if *is_web { "web" } else { "worker" };
                    seen(*release, slot(process, *index), random, *running)
                })
                .collect();
            let first = plan(Some(&wanted), &before);
            let mut after: Vec<Seen> = before.into_iter().filter(|held| !first.stop.contains(&held.id)).collect();
            after.extend((100u32..).zip(&first.start).map(|(random, slot)| seen(2, slot.clone(), random, true)));
            let second = plan(Some(&wanted), &after);
            prop_assert!(second.start.is_empty() && second.stop.is_empty());
            prop_assert_eq!(second.keep.len(), usize::try_from(web + worker).unwrap());
        }
    }
}
