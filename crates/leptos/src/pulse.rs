//! What in a document is being read, so that a change reaches its readers and no others.
//!
//! A [`Topic`] gets a trigger when an effect or memo first reads it, and loses it some time after
//! its last reader is gone: a document with a million rows has triggers for those on the screen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};

use leptos::reactive::graph::{Observer, Subscriber};
use leptos::reactive::signal::ArcTrigger;
use leptos::reactive::traits::{Notify, Track};
use leptos_sync_engine::{ContainerId, RowId};

/// Something in a document that can be read and can change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// Whether the stored content has been read.
    Loaded,
    /// The document's standing with storage and server.
    Status,
    /// Whether there is something to undo or redo.
    Undo,
    /// Who else is here.
    Presence,
    /// Which rows a table has.
    Table(Arc<str>),
    /// Whether a row exists.
    Alive(Arc<str>, RowId),
    /// Anything in a row.
    Row(Arc<str>, RowId),
    /// One plain field.
    Field(Arc<str>, RowId, Arc<str>),
    /// A counter or a text.
    Container(ContainerId),
}

struct Pulse {
    trigger: ArcTrigger,
    // By the subscriber's own id, so that one that reads again is not counted twice.
    readers: BTreeMap<usize, Weak<dyn Subscriber + Send + Sync>>,
}

impl Pulse {
    fn is_read(&self) -> bool {
        self.readers.values().any(|reader| reader.strong_count() > 0)
    }
}

/// The topics that are being read.
#[derive(Default)]
pub(crate) struct Pulses {
    topics: RefCell<BTreeMap<Topic, Pulse>>,
}

const SWEEP_MIN: usize = 64;

impl Pulses {
    /// Subscribes the running effect or memo, if there is one.
    pub(crate) fn track(&self, topic: impl FnOnce() -> Topic) {
        let Some(observer) = Observer::get() else { return };
        let trigger = {
            let mut topics = self.topics.borrow_mut();
            let topic = topic();
            // The map has just grown to a power of two: sweeping then costs each insertion a
            // constant share.
            if topics.len() >= SWEEP_MIN
                && topics.len().is_power_of_two()
                && !topics.contains_key(&topic)
            {
                topics.retain(|_, pulse| pulse.is_read());
            }
            let pulse = topics
                .entry(topic)
                .or_insert_with(|| Pulse { trigger: ArcTrigger::new(), readers: BTreeMap::new() });
            pulse.readers.insert(observer.0, observer.1);
            pulse.trigger.clone()
        };
        trigger.track();
    }

    /// Adds the topic's trigger, if it is read, to those to notify.
    pub(crate) fn collect(&self, topic: &Topic, into: &mut Triggers) {
        let mut topics = self.topics.borrow_mut();
        let Some(pulse) = topics.get(topic) else { return };
        if pulse.is_read() {
            into.0.push(pulse.trigger.clone());
        } else {
            topics.remove(topic);
        }
    }

    /// Adds every field of a row that is read.
    pub(crate) fn collect_fields(&self, table: &Arc<str>, row: RowId, into: &mut Triggers) {
        let topics = self.topics.borrow();
        let start = Topic::Field(table.clone(), row, "".into());
        let range = topics.range((Bound::Included(start), Bound::Unbounded));
        let of_row = range.take_while(
            |(topic, _)| matches!(topic, Topic::Field(t, r, _) if t == table && *r == row),
        );
        into.0.extend(of_row.map(|(_, pulse)| pulse.trigger.clone()));
    }

    /// Adds everything.
    pub(crate) fn collect_all(&self, into: &mut Triggers) {
        into.0.extend(self.topics.borrow().values().map(|pulse| pulse.trigger.clone()));
    }

    /// Notifies one topic.
    pub(crate) fn notify(&self, topic: &Topic) {
        let mut triggers = Triggers::default();
        self.collect(topic, &mut triggers);
        triggers.notify();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.topics.borrow().len()
    }
}

/// Triggers to notify together, once nothing is borrowed any more.
#[derive(Default)]
pub(crate) struct Triggers(Vec<ArcTrigger>);

impl Triggers {
    pub(crate) fn push(&mut self, trigger: ArcTrigger) {
        self.0.push(trigger);
    }

    pub(crate) fn notify(self) {
        for trigger in self.0 {
            trigger.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use leptos::reactive::effect::ImmediateEffect;
    use leptos::reactive::owner::Owner;
    use leptos_sync_engine::{OpId, PeerId};

    use super::*;

    fn field(row: u32) -> Topic {
        Topic::Field("tasks".into(), RowId(OpId::new(PeerId(1), row)), "title".into())
    }

    #[test]
    fn topics_without_readers_are_forgotten() {
        let owner = Owner::new();
        owner.set();
        let pulses = Arc::new(send_wrapper(Pulses::default()));
        for row in 0..1_000 {
            let reader = pulses.clone();
            drop(ImmediateEffect::new_isomorphic(move || reader.track(|| field(row))));
        }
        assert!(pulses.len() <= SWEEP_MIN, "{} topics are left", pulses.len());
    }

    fn send_wrapper(pulses: Pulses) -> leptos::__reexports::send_wrapper::SendWrapper<Pulses> {
        leptos::__reexports::send_wrapper::SendWrapper::new(pulses)
    }
}
