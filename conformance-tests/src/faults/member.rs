//! A member of the group in a process of its own, to be killed while it holds deliveries.

use std::{
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::OnceLock,
    time::Duration,
};

use eventbus_conformance::{
    Failure, Request, Result, within,
    workload::{Running, Settled, Value},
};
use eventbus_core::{Delivery, Ordering, Position, SubscribeOptions, Topic};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

/// The program that has the command [`COMMAND`], where it is not this one.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
/// What makes a process a member.
pub(crate) const COMMAND: &str = "member";
/// Deliveries that it acknowledges before it holds some.
const ACKNOWLEDGED: usize = 5;
const HELD: usize = 5;

/// Says which program that is.
pub(super) fn started_from(program: &str) {
    // Said twice, it is the same one.
    let _ = PROGRAM.set(program.into());
}

/// Starts a member, and kills it when it holds deliveries.
pub(super) async fn kill_one(url: &str, run: &mut Running) -> Result {
    let program = match PROGRAM.get() {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    let mut child = Command::new(program)
        .arg(COMMAND)
        .arg(url)
        .arg(run.topic().as_str())
        .args(to_arguments(run.group())?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    run.joined_by_another();
    let output = child.stdout.take().ok_or_else(|| Failure::new("the member says nothing"))?;
    let mut lines = BufReader::new(output).lines();
    within("a member to hold deliveries", write_down(&mut lines, run)).await??;
    child.kill().await?;
    Ok(())
}

/// Writes down what the member says, until it holds enough.
async fn write_down(lines: &mut Lines<BufReader<ChildStdout>>, run: &Running) -> Result {
    let mut held = 0;
    while held < HELD {
        let Some(line) = lines.next_line().await? else {
            return Err(Failure::new("the member has ended by itself"));
        };
        let said: Vec<&str> = line.split(' ').collect();
        match said[..] {
            ["delivered", value, position, attempt] => {
                let position: Position = position.parse()?;
                run.recorder().delivered(value.parse().ok(), position, attempt.parse()?);
            }
            ["acknowledged", position] => run.recorder().settled(position.parse()?, Settled::Sent),
            ["held"] => held += 1,
            _ => return Err(Failure::new(format!("the member says {line:?}"))),
        }
    }
    Ok(())
}

fn to_arguments(options: &SubscribeOptions) -> Result<[String; 6]> {
    let group = options.group.clone().ok_or_else(|| Failure::new("the workload has a group"))?;
    Ok([
        group,
        options.ack_wait.as_millis().to_string(),
        options.max_in_flight.to_string(),
        options.max_attempts.map(|max| max.to_string()).unwrap_or_default(),
        options.dead_letter.as_ref().map(ToString::to_string).unwrap_or_default(),
        (options.ordering == Ordering::PerKey).to_string(),
    ])
}

fn from_arguments(arguments: &[String]) -> Result<SubscribeOptions> {
    let [group, wait, in_flight, attempts, dead, per_key] = arguments else {
        return Err(Failure::new("a member needs its group"));
    };
    let mut options = SubscribeOptions::group(group.clone())
        .ack_wait(Duration::from_millis(wait.parse()?))
        .max_in_flight(in_flight.parse()?);
    if let Ok(attempts) = attempts.parse() {
        options = options.max_attempts(attempts);
    }
    if let Ok(dead) = dead.parse::<Topic>() {
        options = options.dead_letter(dead);
    }
    if per_key == "true" {
        options = options.ordering(Ordering::PerKey);
    }
    Ok(options)
}

/// What a member process does: it acknowledges a few, holds the next and waits for its end.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome =
        runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(be(arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn be(arguments: &[String]) -> Result {
    let [url, topic, group @ ..] = arguments else {
        return Err(Failure::new("a member needs a URL and a topic"));
    };
    let bus = crate::registry::connect(url, Request::default()).await?;
    let topic: Topic = topic.parse()?;
    let mut subscription = bus.subscribe(&topic.filter(), from_arguments(group)?).await?;
    let mut held: Vec<Delivery> = Vec::new();
    let mut count = 0;
    while let Some(delivery) = subscription.try_next().await? {
        count += 1;
        let value = Value::of(delivery.envelope());
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        let position = delivery.position().to_string();
        println!("delivered {value} {position} {}", delivery.attempt());
        if count <= ACKNOWLEDGED {
            delivery.ack().await?;
            println!("acknowledged {position}");
        } else {
            held.push(delivery);
            println!("held");
        }
    }
    Ok(())
}
