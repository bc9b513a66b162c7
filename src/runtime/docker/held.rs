//! [`Held`]: which instances there are, and what is on its way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use autostack_domain::{AppName, InstanceId};

use super::instance::Instance;

/// All that the agent knows of on the engine.
#[derive(Debug, Default)]
pub(super) struct Held {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    instances: BTreeMap<InstanceId, Arc<Instance>>,
    /// Starts and one-offs that are under way, and their apps.
    busy: HashMap<InstanceId, AppName>,
    /// Failed starts whose container may be there: the engine went away before it could be removed.
    doomed: HashSet<InstanceId>,
}

/// Says that a start or a one-off is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy {
    held: Arc<Held>,
    id: InstanceId,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.held.inside().busy.remove(&self.id);
    }
}

impl Held {
    /// Takes an id for a start or a one-off; `None` where it is taken.
    pub(super) fn begin(self: &Arc<Self>, id: &InstanceId, app: &AppName) -> Option<Busy> {
        let mut inside = self.inside();
        if inside.instances.contains_key(id) || inside.busy.contains_key(id) {
            return None;
        }
        inside.busy.insert(id.clone(), app.clone());
        inside.doomed.remove(id);
        Some(Busy { held: Arc::clone(self), id: id.clone() })
    }

    pub(super) fn insert(&self, instance: Arc<Instance>) {
        self.inside().instances.insert(instance.spec.id.clone(), instance);
    }

    /// Removes this very instance, not a later one of its id.
    pub(super) fn remove(&self, instance: &Arc<Instance>) {
        let (mut inside, id) = (self.inside(), &instance.spec.id);
        if inside.instances.get(id).is_some_and(|held| Arc::ptr_eq(held, instance)) {
            inside.instances.remove(id);
        }
    }

    pub(super) fn get(&self, id: &InstanceId) -> Option<Arc<Instance>> {
        self.inside().instances.get(id).map(Arc::clone)
    }

    /// All instances, by id.
    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.inside().instances.values().map(Arc::clone).collect()
    }

    /// The ids of starts and one-offs that are under way.
    pub(super) fn busy(&self) -> HashSet<InstanceId> {
        self.inside().busy.keys().cloned().collect()
    }

    /// Whether there is such an instance, or something under way by that id.
    pub(super) fn knows(&self, id: &InstanceId) -> bool {
        let inside = self.inside();
        inside.instances.contains_key(id) || inside.busy.contains_key(id)
    }

    /// Whether an app has an instance, or something under way.
    pub(super) fn uses(&self, app: &AppName) -> bool {
        let inside = self.inside();
        inside.busy.values().any(|busy| busy == app)
            || inside.instances.values().any(|one| one.spec.app == *app)
    }

    /// Remembers that the container of an id is to be removed once the engine is back.
    pub(super) fn doom(&self, id: &InstanceId) {
        self.inside().doomed.insert(id.clone());
    }

    pub(super) fn is_doomed(&self, id: &InstanceId) -> bool {
        self.inside().doomed.contains(id)
    }

    /// It is removed.
    pub(super) fn spare(&self, id: &InstanceId) {
        self.inside().doomed.remove(id);
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
