//! One measurement: of the bus, of a raw client, of a broker's own tool, or of one of the
//! ways to wait for acknowledgements.

mod job;
mod place;
mod sample;

use eventbus_core::{Envelope, Error, EventBusExt, Registry};

use crate::{Mode, raw, run, strategies, task::Task, tools};
pub use job::{Job, Measured, Strategy, Tool};
pub(crate) use place::Place;
pub use sample::Sample;

/// Measures once what `job` says, in this process; tools are run as child processes. A place
/// of its own at the broker is made before and removed afterwards.
///
/// Run it on a runtime, and best in a process, that does nothing else: tasks and memory are
/// those of the whole process.
///
/// Cancelled, it leaves neither a task nor a child process behind, but what it made at the
/// broker, which [`tidy_up`] removes.
///
/// # Errors
/// `InvalidConfig` for a job that makes no sense, `Unsupported` for what this build or the
/// backend has no way to measure, those of [`run`](crate::run), and what is wrong with a tool.
///
/// # Panics
/// Outside a Tokio runtime.
pub async fn measure(job: &Job, registry: &Registry) -> Result<Sample, Error> {
    job.load.validate()?;
    let place = Place::of(job)?;
    place.make(job, registry).await?;
    let sample = match job.measured {
        Measured::Bus => through_the_bus(job, &place, registry).await,
        Measured::Client | Measured::Strategy(_) => without_the_bus(job, &place).await,
        Measured::Tool(tool) => tools::measure(tool, job, &place).await,
    };
    let removed = place.remove().await;
    let sample = sample?;
    removed.map(|()| sample)
}

/// Removes what a measurement of `job` has made at the broker and could not remove itself, because
/// it was cancelled or its process killed. There may be nothing. Jobs that name no
/// [`place`](Job::place) have made nothing that could be found.
///
/// Cancelled, it may still be removed.
///
/// # Errors
/// `InvalidConfig` for a URL that is none, `Unavailable` when the broker cannot be reached, and what it
/// says.
pub async fn tidy_up(job: &Job) -> Result<(), Error> {
    match job.place {
        Some(_) => Place::of(job)?.remove().await,
        None => Ok(()),
    }
}

/// In a task, as the load of the bus is: what the runtime drives itself is woken in another way.
async fn without_the_bus(job: &Job, place: &Place) -> Result<Sample, Error> {
    let (job, place) = (job.clone(), place.clone());
    let measured = Task::spawn(async move {
        match job.measured {
            Measured::Strategy(strategy) => strategies::measure(strategy, &job, &place).await,
            _ => raw::measure(&job, &place).await,
        }
    });
    measured.join().await?
}

async fn through_the_bus(job: &Job, place: &Place, registry: &Registry) -> Result<Sample, Error> {
    let load = job.load.clone().consumer_window(job.window).topic(place.topic.clone());
    let mut builder = registry.builder(&place.url).on_publish_failure(|_| {});
    if job.load.mode != Mode::Consume {
        builder = builder.max_in_flight(job.window);
    }
    let warm = async {
        let bus = builder.connect().await?;
        // Clients find out with the first message who leads a topic. The raw clients do, too.
        // Where there are several topics, the load does this for each.
        if let [topic] = &*place.topics {
            bus.ensure_topic(topic).await?;
            bus.publish_sync(topic, Envelope::new("bench.warm-up", "")).await?;
        }
        Ok(bus)
    };
    Ok(run(&job.backend, &load, warm, |_| {}).await?.into())
}
