//! The broker: topics and groups, shared by the buses that are connected to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        Weak,
    },
};

use eventbus_core::{Error, Provision, Start, SubscribeOptions, Topic, TopicFilter};

use crate::{
    MemoryConfig,
    config::{Given, Place},
    error::{invalid_config, topic_not_found},
    group::Group,
    log::Log,
    testing::Watch,
};

/// The brokers that have a name, for as long as somebody holds them.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<Broker>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Broker {
    pub(crate) config: MemoryConfig,
    pub(crate) watch: Arc<Watch>,
    name: Option<String>,
    directory: RwLock<Directory>,
}

#[derive(Default)]
struct Directory {
    topics: BTreeMap<Topic, Arc<Log>>,
    groups: HashMap<Identity, Arc<Group>>,
    /// The subscriptions without a group.
    alone: Vec<Weak<Group>>,
}

/// What makes two groups the same.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Named(String, TopicFilter),
    Native(String),
}

impl Broker {
    fn new(config: MemoryConfig, name: Option<String>) -> Arc<Self> {
        Arc::new(Self { config, watch: Arc::default(), name, directory: RwLock::default() })
    }

    /// Finds or starts the broker of a URL.
    pub(crate) fn at(place: Place) -> Result<Arc<Self>, Error> {
        let Some(name) = place.name else {
            return Ok(Self::new(place.given.config(), None));
        };
        let mut named = named();
        if let Some(broker) = named.get(&name).and_then(Weak::upgrade) {
            // Released before the broker may be dropped, which takes this lock too.
            drop(named);
            broker.check(&place.given)?;
            return Ok(broker);
        }
        let broker = Self::new(place.given.config(), Some(name.clone()));
        named.insert(name, Arc::downgrade(&broker));
        Ok(broker)
    }

    /// Refuses parameters that differ from those of the running broker.
    fn check(&self, given: &Given) -> Result<(), Error> {
        let differs = |name: &'static str| {
            invalid_config(
                "the broker of this name runs already, with another value; leave the parameter \
                 out, or choose another name",
            )
            .with_context("parameter", name)
        };
        let Given { retention_bytes, duplicate_window } = given;
        if retention_bytes.is_some_and(|bytes| bytes != self.config.retention_bytes) {
            return Err(differs("retention_bytes"));
        }
        if duplicate_window.is_some_and(|window| window != self.config.duplicate_window) {
            return Err(differs("duplicate_window"));
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, topic: &Topic) -> Option<Arc<Log>> {
        self.read().topics.get(topic).cloned()
    }

    pub(crate) fn find_or_create(&self, topic: &Topic) -> Arc<Log> {
        if let Some(log) = self.find(topic) {
            return log;
        }
        self.write().create(topic, &self.config, &self.watch)
    }

    /// Joins the group that the options name, or a new one.
    pub(crate) fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
        provision: Provision,
    ) -> Result<(Arc<Group>, u32), Error> {
        let mut directory = self.write();
        if let Some(topic) = filter.as_topic()
            && !directory.topics.contains_key(&topic)
        {
            if provision != Provision::Create {
                return Err(topic_not_found(&topic));
            }
            directory.create(&topic, &self.config, &self.watch);
        }
        let identity = options.group.clone().map(|name| match options.native_group {
            true => Identity::Native(name),
            false => Identity::Named(name, filter.clone()),
        });
        let existing = identity.as_ref().and_then(|id| directory.groups.get(id));
        if let Some(group) = existing {
            let member = group.join(filter, options)?;
            return Ok((group.clone(), member));
        }
        let group = Group::new(filter.clone(), options);
        directory.attach_existing(&group, &options.effective_start())?;
        let member = group.join(filter, options)?;
        match identity {
            Some(identity) => {
                directory.groups.insert(identity, group.clone());
            }
            None => {
                directory.alone.retain(|group| group.strong_count() > 0);
                directory.alone.push(Arc::downgrade(&group));
            }
        }
        Ok((group, member))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let mut named = named();
            // Somebody may have started another one by this name meanwhile.
            if named.get(name).is_some_and(|broker| broker.strong_count() == 0) {
                named.remove(name);
            }
        }
    }
}

fn named() -> MutexGuard<'static, HashMap<String, Weak<Broker>>> {
    NAMED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    fn create(&mut self, topic: &Topic, config: &MemoryConfig, watch: &Arc<Watch>) -> Arc<Log> {
        if let Some(log) = self.topics.get(topic) {
            return log.clone();
        }
        let log = Arc::new(Log::new(topic.clone(), config, watch.clone()));
        self.topics.insert(topic.clone(), log.clone());
        let alone = self.alone.iter().filter_map(Weak::upgrade);
        for group in self.groups.values().cloned().chain(alone) {
            if group.filter().matches(topic) {
                group.attach(log.clone(), 0);
            }
        }
        log
    }

    /// Gives a new group its position in each topic that exists.
    fn attach_existing(&self, group: &Group, start: &Start) -> Result<(), Error> {
        for (topic, log) in &self.topics {
            if group.filter().matches(topic) {
                group.attach(log.clone(), start_in(log, start)?);
            }
        }
        Ok(())
    }
}

fn start_in(log: &Log, start: &Start) -> Result<u64, Error> {
    let (first, end) = log.bounds();
    match start {
        Start::Earliest => Ok(first),
        Start::Latest => Ok(end),
        Start::Time(time) => Ok(log.offset_at(*time)),
        Start::Positions(positions) => {
            let here = positions.iter().filter(|at| *at.topic() == log.topic);
            if let Some(position) = here.clone().find(|at| at.partition() != 0) {
                return Err(invalid_config("the topics of this backend have only the partition 0")
                    .with_context("position", position));
            }
            // One beyond the end, from an earlier life of the broker, is what comes next.
            let lowest = here.map(|at| at.offset().min(end)).min();
            Ok(lowest.unwrap_or(first))
        }
        _ => Err(invalid_config("this backend does not know this kind of start")),
    }
}
