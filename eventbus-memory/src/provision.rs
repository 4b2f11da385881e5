//! Finding and creating topics.

use std::{fmt, sync::Arc};

use eventbus_core::{Error, Provision, Topic};

use crate::{MemoryTransport, error::topic_not_found, log::Log};

/// A topic to send to.
#[derive(Clone)]
pub struct MemoryRoute(Arc<Found>);

struct Found {
    topic: Topic,
    /// `None` where the bus does not check topics and this one did not exist at first.
    log: Option<Arc<Log>>,
}

impl MemoryRoute {
    pub(crate) fn topic(&self) -> &Topic {
        &self.0.topic
    }

    pub(crate) fn log(&self) -> Option<&Arc<Log>> {
        self.0.log.as_ref()
    }
}

impl fmt::Debug for MemoryRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryRoute").field(self.topic()).finish()
    }
}

impl MemoryTransport {
    pub(crate) fn route(&self, topic: &Topic) -> Result<MemoryRoute, Error> {
        let log = match self.provision {
            Provision::Create => Some(self.broker.find_or_create(topic)),
            Provision::None => self.broker.find(topic),
            _ => Some(self.broker.find(topic).ok_or_else(|| topic_not_found(topic))?),
        };
        let topic = topic.clone();
        Ok(MemoryRoute(Arc::new(Found { topic, log })))
    }
}
