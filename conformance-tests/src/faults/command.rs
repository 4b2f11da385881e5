//! The long runs.

use std::{
    pin::pin,
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use eventbus_conformance::{Failure, Result};

use super::{
    place::{Place, Sites},
    plan::Plan,
    round::{Outcome, Round},
    table::Table,
};

/// What a run is to do.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long to begin new rounds.
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// What the rounds are drawn from; by default from the clock, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only brokers of these backends, memory, nats, kafka, or these kinds of brokers, such as
    /// nats-cluster.
    #[arg(long)]
    backend: Vec<String>,
    /// Only this round of the seed, to see it again.
    #[arg(long)]
    round: Option<usize>,
}

/// Runs rounds until the time is over or Ctrl-C; true when all promises were kept.
///
/// # Errors
/// When a broker does not start, or the options leave none.
pub async fn run(options: Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let mut sites = Sites::default();
    let places = places(&options)?;
    let plan = Plan::new(seed, places).enumerate();
    let deadline = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut table = Table::default();
    println!("seed {seed}");
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    for (number, round) in plan {
        if options.round.is_some_and(|only| only > number) {
            continue;
        }
        if Instant::now() >= deadline {
            break;
        }
        tokio::select! {
            outcome = one(&mut sites, &round) => {
                report(number, &round, &outcome);
                match outcome {
                    Ok(outcome) => table.add(&round, &outcome),
                    Err(_) => table.add_stuck(&round),
                }
            }
            _ = &mut interrupted => {
                eprintln!("interrupted in round {number}: {round}");
                break;
            }
        }
        if options.round.is_some() {
            break;
        }
    }
    println!("\n{table}");
    println!("| {:<36} | {} | seed {seed}", "total", table.total());
    Ok(table.broken() == 0)
}

fn places(options: &Options) -> Result<Vec<Place>> {
    let wanted = |place: &&Place| {
        let named = |name: &String| name == place.backend() || name == place.as_str();
        options.backend.is_empty() || options.backend.iter().any(named)
    };
    let mut places = Vec::new();
    for place in Place::ALL.iter().filter(wanted) {
        match place.missing() {
            Some(what) => eprintln!("without {place}: it needs {what}"),
            None => places.push(*place),
        }
    }
    let without = places.iter().filter(|place| !place.has_atomic_batches());
    let without: Vec<&str> = without.map(|place| place.as_str()).collect();
    if !without.is_empty() {
        eprintln!("without atomic batches, for want of the capability: {}", without.join(", "));
    }
    match places.is_empty() {
        true => Err(Failure::new("no broker is of these backends")),
        false => Ok(places),
    }
}

async fn one(sites: &mut Sites, round: &Round) -> Result<Outcome> {
    let site = sites.get(round.place).await?;
    let outcome = round.run(site.clone()).await;
    if outcome.as_ref().map_or(true, |outcome| outcome.broken() > 0) {
        eprintln!("{}", site.diagnose().await);
        sites.forget(round.place);
    }
    outcome
}

fn report(number: usize, round: &Round, outcome: &Result<Outcome>) {
    match outcome {
        Ok(outcome) => {
            let verdict = if outcome.broken() == 0 { "ok" } else { "BROKEN" };
            let totals = outcome.report.totals;
            eprintln!(
                "round {number}: {round}: {verdict}, {} of {} acknowledged, recovered in {} ms",
                totals.acknowledged,
                totals.operations,
                outcome.recovery.as_millis()
            );
            if outcome.broken() > 0 {
                eprintln!("{}", outcome.report);
            }
        }
        Err(failure) => eprintln!("round {number}: {round}: STUCK\n{failure}"),
    }
}
