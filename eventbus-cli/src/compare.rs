//! `eventbus compare`.

mod child;
mod output;

use std::{
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use eventbus_bench::{
    Job, Mode,
    compare::{
        Comparison, Experiment, Machine, Plan, Selection, Step, Target, best_batch, carry_out,
        parties, to_tune, warnings,
    },
};

use crate::{
    args::Global,
    exit::{Exit, Failure},
    interrupt::Interrupt,
    output::out,
    progress::Steps,
};

pub(crate) use child::{OneArgs, run_one};

const EXAMPLES: &str = "\
Examples:
  eventbus compare --quick                             two minutes, what matters most
  eventbus compare --report out                        the whole matrix, and out/report.html
  eventbus compare --url ring=nats://a --url strict=nats://a?strict_order=true
  eventbus compare --mode async --size 256 --rounds 9 --json
  eventbus compare --experiment window --url nats://localhost
  eventbus compare --experiment publishers,payload,keys,window --report out
  eventbus compare --from out/comparison.json          show that one again

Each measurement runs in a process of its own and has a topic of its own, which is removed
afterwards on NATS. All parties take turns, forwards and backwards, so that noise hits all
alike. Ratios are those of neighbours in time: the median of all rounds, and both ends.
`memory://` always takes part, and the buses that EVENTBUS_NATS_URL and EVENTBUS_KAFKA_URL
name; with EVENTBUS_PEER_NATS_CLI set to the path of the `nats` command, so does `nats bench`.
Ctrl-C ends the measurement that is running, tidies up and shows what there is.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// A bus to compare, besides `memory://`; can be given several times. `NAME=URL` gives it
    /// a name, to compare settings [default: those of the environment]
    #[arg(id = "url", long = "url", value_name = "[NAME=]URL")]
    urls: Vec<String>,
    /// What matters most, within two minutes
    #[arg(long)]
    quick: bool,
    /// A mode to measure; can be given several times [default: all]
    #[arg(long = "mode", value_name = "MODE")]
    modes: Vec<Mode>,
    /// A payload in bytes; can be given several times [default: 256, 1024, 16384]
    #[arg(long = "size", value_name = "BYTES")]
    sizes: Vec<usize>,
    /// A burst of so many messages; can be given several times; 0 for none
    /// [default: 500, 2000, 5000, 10000]
    #[arg(long = "burst", value_name = "N")]
    bursts: Vec<u64>,
    /// About how many bytes of payload a sustained run has; 0 for none
    #[arg(long, value_name = "BYTES")]
    sustained_bytes: Option<u64>,
    /// How often everything is measured [default: 5, with --quick 3]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Begin nothing after this time, such as `10m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
    /// Vary one thing instead: ack-strategies, publishers, payload, keys, window, topics,
    /// topics-consumed, topics-filtered or subscriptions; several are made one after the other,
    /// each with a report in a directory of its own
    #[arg(long = "experiment", value_name = "WHAT", value_delimiter = ',', conflicts_with_all = ["modes", "sizes", "bursts", "quick"])]
    experiments: Vec<Experiment>,
    /// Leave out the raw clients and the brokers' own tools
    #[arg(long)]
    only_buses: bool,
    /// Show an earlier comparison.json instead of measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["modes", "sizes", "bursts", "quick", "experiments", "url"])]
    from: Option<PathBuf>,
    /// Write report.html, comparison.json and the plots to this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

/// `--quick` promises two minutes; what has begun must be able to end, and tools to be tuned.
const QUICK: Duration = Duration::from_secs(105);

pub(crate) async fn run(
    global: &Global,
    args: &CompareArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    for directory in args.reports() {
        output::check_directory(&directory)?;
    }
    let mut clean = true;
    if let Some(path) = &args.from {
        let comparison = output::read(path)?;
        show(global, args.report.as_deref(), &comparison)?;
        clean = comparison.is_clean();
    } else {
        let targets = args.targets()?;
        interrupt.or(reach(&targets)).await?;
        // Mistakes are told before anything is measured.
        let plans: Vec<_> = args
            .chosen()
            .map(|experiment| args.plan(experiment, &targets))
            .collect::<Result<_, _>>()?;
        let mut reports = args.reports();
        for (experiment, plan) in args.chosen().zip(plans) {
            if interrupt.is_requested() {
                break;
            }
            let report = reports.next();
            let report = report.as_deref();
            let comparison = compare(global, args, (experiment, plan), report, interrupt).await?;
            show(global, report, &comparison)?;
            clean &= comparison.is_clean();
        }
    }
    Ok(match clean {
        _ if interrupt.is_requested() => Exit::Interrupted,
        true => Exit::Done,
        false => Exit::Failed,
    })
}

async fn compare(
    global: &Global,
    args: &CompareArgs,
    (experiment, mut plan): (Option<Experiment>, Plan),
    report: Option<&Path>,
    interrupt: &Interrupt,
) -> Result<Comparison, Failure> {
    let started = Instant::now();
    let mut progress = Steps::new(plan.len() as u64, global.json);
    let mut comparison = Comparison::new(title(experiment), Machine::this(), plan.rounds);
    comparison.command = output::command();
    comparison.experiment = experiment;
    comparison.parties = parties(&plan).await;
    tune(&mut plan, args.quick, &mut progress, interrupt).await?;
    comparison.warnings = warnings(&plan);
    let notes = experiment.map_or(&[][..], Experiment::notes);
    comparison.warnings.extend(notes.iter().map(|note| (*note).to_owned()));

    let limit = args.within.or(args.quick.then_some(QUICK));
    let mut round = 0;
    let watch = |step: &Step<'_>| {
        progress.show(step.done as u64, output::step(step));
        if let (Some(report), true) = (report, step.round > round) {
            round = step.round;
            keep(report, step);
        }
        let late = limit.is_some_and(|limit| started.elapsed() + step.expected > limit);
        if late || interrupt.is_requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let measure = async |job: &Job| child::measure(job, interrupt).await;
    carry_out(&plan, &mut comparison, measure, watch).await;
    progress.finish();
    comparison.forget_timelines();
    Ok(comparison)
}

/// Writes what the rounds until now gave: the rest may be killed.
fn keep(report: &Path, step: &Step<'_>) {
    let mut so_far = step.so_far.clone();
    so_far.stopped_after = Some(step.done);
    so_far.forget_timelines();
    // What keeps it from being written is told at the end.
    let _ = output::write_report(report, &so_far);
}

fn show(global: &Global, report: Option<&Path>, comparison: &Comparison) -> Result<(), Failure> {
    let mut out = out();
    if global.json {
        let line = serde_json::to_string(comparison)
            .map_err(|error| Failure::failed(format!("the comparison is no JSON: {error}")))?;
        writeln!(out, "{line}")?;
    } else {
        output::table(&mut out, comparison)?;
    }
    if let Some(directory) = report {
        let report = output::write_report(directory, comparison)?;
        if !global.json {
            writeln!(out, "\nreport: {}", report.display())?;
        }
    }
    Ok(out.flush()?)
}

/// Sees that every bus is there before anything is measured.
async fn reach(targets: &[Target]) -> Result<(), Failure> {
    for target in targets {
        eventbus::connect(&target.url).await?.close().await?;
    }
    Ok(())
}

/// Finds the batch with which each tool is at its best.
async fn tune(
    plan: &mut Plan,
    quick: bool,
    progress: &mut Steps,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    // With more than 4000 outstanding its client gives up now and then.
    const BATCHES: [usize; 5] = [100, 500, 1000, 2000, 4000];
    let (batches, rounds) = if quick { (&BATCHES[1..], 1) } else { (&BATCHES[..], 2) };
    for (tool, mode, job) in to_tune(plan) {
        progress.show(0, format!("finding the best batch of {tool} in mode {mode}"));
        let measure = async |job: &Job| child::measure(job, interrupt).await;
        let batch = best_batch(&job, batches, rounds, measure).await;
        let batch = batch.ok_or_else(Failure::interrupted)?.map_err(Failure::failed)?;
        plan.set_tool_batch(tool, mode, batch);
    }
    Ok(())
}

impl CompareArgs {
    /// The experiments, or once none.
    fn chosen(&self) -> impl Iterator<Item = Option<Experiment>> {
        let none = self.experiments.is_empty().then_some(None);
        self.experiments.iter().copied().map(Some).chain(none)
    }

    /// Where the reports go: several have a directory each.
    fn reports(&self) -> impl Iterator<Item = PathBuf> {
        let several = self.experiments.len() > 1;
        let of = move |experiment: Option<Experiment>| match experiment {
            Some(experiment) if several => Some(self.report.as_ref()?.join(experiment.as_str())),
            _ => self.report.clone(),
        };
        self.chosen().filter_map(of)
    }

    fn plan(&self, experiment: Option<Experiment>, targets: &[Target]) -> Result<Plan, Failure> {
        const SWEPT: u64 = 100_000;
        let rounds = self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1);
        if let Some(experiment) = experiment {
            return Ok(experiment.plan(targets, SWEPT, rounds)?);
        }
        let targets = targets.to_vec();
        let mut selection =
            if self.quick { Selection::quick(targets) } else { Selection::full(targets) };
        if !self.modes.is_empty() {
            selection.modes.clone_from(&self.modes);
        }
        if !self.sizes.is_empty() {
            selection.sizes.clone_from(&self.sizes);
        }
        if !self.bursts.is_empty() {
            selection.bursts = self.bursts.iter().copied().filter(|burst| *burst > 0).collect();
        }
        if let Some(bytes) = self.sustained_bytes {
            selection.sustained_bytes = bytes;
        }
        selection.clients = !self.only_buses;
        selection.tools = !self.only_buses;
        let plan = Plan::of(&selection, rounds)?;
        match plan.is_empty() {
            true => Err(Failure::usage("nothing is left to measure")),
            false => Ok(plan),
        }
    }

    /// `memory://`, and what the command line or else the environment names.
    fn targets(&self) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        for text in &self.urls {
            targets.push(target(text));
        }
        if targets.is_empty() {
            for variable in ["EVENTBUS_NATS_URL", "EVENTBUS_KAFKA_URL"] {
                if let Ok(url) = std::env::var(variable) {
                    targets.push(Target::new(url));
                }
            }
        }
        if targets.iter().all(|target| !target.url.starts_with("memory:")) {
            targets.insert(0, Target::new("memory://"));
        }
        Ok(targets)
    }
}

fn title(experiment: Option<Experiment>) -> String {
    match experiment {
        Some(Experiment::AckStrategies) => "How acknowledgements are waited for".to_owned(),
        Some(experiment) => format!("Throughput by {}", experiment.axis()),
        None => "Backends side by side".to_owned(),
    }
}

/// `NAME=URL`, where the `=` stands before the scheme.
fn target(text: &str) -> Target {
    match text.split_once('=') {
        Some((name, url)) if !name.contains("://") && url.contains("://") => {
            Target::new(url).named(name)
        }
        _ => Target::new(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_before_the_scheme() {
        assert_eq!(target("ring=nats://a?x=1"), Target::new("nats://a?x=1").named("ring"));
        assert_eq!(target("nats://a?x=b://c"), Target::new("nats://a?x=b://c"));
        assert_eq!(target("a=b"), Target::new("a=b"));
    }
}
