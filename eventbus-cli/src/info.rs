//! `eventbus info`.

use std::io::Write;

use clap::Args;
use eventbus::{Capabilities, EventBus, Health, HealthStatus};
use serde_json::{Value, json};

use crate::{
    args::Global,
    connect::Target,
    exit::{Exit, Failure},
    output::{BAD, GOOD, HEAD, out, thousands},
};

const EXAMPLES: &str = "\
Examples:
  eventbus info
  eventbus info --url memory:// --json

The exit code is 3 when the broker cannot be reached.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfoArgs {}

pub(crate) async fn run(global: &Global, _: &InfoArgs) -> Result<Exit, Failure> {
    let target = Target::new(global.url())?;
    let bus = eventbus::builder(&target.url).connect().await?;
    let (capabilities, health) = (bus.capabilities(), bus.health().await);
    bus.close().await?;
    if global.json {
        print_json(&target, capabilities, &health)?;
    } else {
        print_text(&target, capabilities, &health)?;
    }
    Ok(match health.status {
        HealthStatus::Unavailable | HealthStatus::Closed => Exit::Unavailable,
        _ => Exit::Done,
    })
}

fn print_json(target: &Target, capabilities: Capabilities, health: &Health) -> Result<(), Failure> {
    let mut out = out();
    let backends: Vec<_> = eventbus::registry().schemes().collect();
    let line = json!({
        "version": env!("CARGO_PKG_VERSION"), "backends": backends, "url": target.place,
        "backend": target.backend, "health": health, "capabilities": capabilities,
    });
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn print_text(target: &Target, capabilities: Capabilities, health: &Health) -> Result<(), Failure> {
    let mut out = out();
    let backends: Vec<_> = eventbus::registry().schemes().collect();
    let colour = if health.is_healthy() { GOOD } else { BAD };
    let status = serde_json::to_value(health.status).unwrap_or_default();
    writeln!(
        out,
        "program       eventbus {}, with the backends {}",
        env!("CARGO_PKG_VERSION"),
        backends.join(", "),
    )?;
    writeln!(out, "bus           {}", target.place)?;
    let status = status.as_str().unwrap_or_default();
    writeln!(out, "health        {colour}{status}{colour:#}")?;
    for problem in &health.problems {
        writeln!(out, "              {problem}")?;
    }
    writeln!(out, "\n{HEAD}capabilities{HEAD:#}")?;
    let Ok(Value::Object(capabilities)) = serde_json::to_value(capabilities) else {
        return Ok(out.flush()?);
    };
    for (name, value) in &capabilities {
        let meaning = meaning(name);
        match value {
            Value::Bool(true) => {
                writeln!(out, "  {GOOD}yes{GOOD:#}   {name:24}  {meaning}")?;
            }
            Value::Bool(false) => writeln!(out, "  no    {name:24}  {meaning}")?,
            _ => {}
        }
    }
    if let Some(limit) = capabilities.get("max_message_bytes").and_then(Value::as_u64) {
        writeln!(out, "\nlargest message  {} bytes", thousands(limit))?;
    }
    if let Some(limit @ 1..) = capabilities.get("max_atomic_batch").and_then(Value::as_u64) {
        writeln!(out, "atomic batch     up to {} messages", thousands(limit))?;
    }
    Ok(out.flush()?)
}

/// What a capability means, in a few words.
fn meaning(capability: &str) -> &'static str {
    match capability {
        "durable" => "messages survive a restart of process and broker",
        "ordered_across_reconnect" => "a key keeps its order even across a lost connection",
        "idempotent_publish" => "the same id published again is stored once",
        "atomic_batch" => "a batch can be stored whole or not at all",
        "native_retry" => "the client itself sends again, in order",
        "per_key_across_group" => "a key's order holds across all members of a group",
        "cumulative_ack" => "one acknowledgement can cover all before it",
        "group_options_checked" => "joining a group with other options is refused",
        "start_at_time" => "reading can start at a time",
        "shared_messages" => "a group shares messages one by one, not by partition",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_explained() {
        let capabilities = serde_json::to_value(Capabilities::new(1)).unwrap();
        for (name, value) in capabilities.as_object().unwrap() {
            assert!(!value.is_boolean() || !meaning(name).is_empty(), "{name}");
        }
    }
}
