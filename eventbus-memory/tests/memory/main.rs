//! What the backend promises, through `Arc<dyn EventBus>`.

mod closing;
mod cumulative;
mod groups;
mod limits;
mod per_key;
mod publishing;
mod redelivery;
mod resources;
mod retention;
mod starts;
mod support;
mod testing;
mod topics;
mod urls;
