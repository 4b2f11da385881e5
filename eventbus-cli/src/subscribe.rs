//! `eventbus sub`.

use std::{io::Write, pin::pin};

use clap::Args;
use eventbus::{
    Delivery, Error, EventBus, ReceiveError, SubscribeOptions, Subscription, TopicFilter,
    Undecodable,
};
use futures_util::{
    FutureExt,
    future::{Either, select},
};

use crate::{
    args::Global,
    connect::Target,
    event::{Printed, info, rfc3339},
    exit::{Exit, Failure, complain},
    interrupt::Interrupt,
    output::{FAINT, HEAD, Printable, count, events},
    start::{From, start},
};

const EXAMPLES: &str = "\
Examples:
  eventbus sub 'orders.>'                         all that comes from now on
  eventbus sub 'orders.*' --from earliest --json  all that is kept, as JSON lines
  eventbus sub orders.created --group billing     share with the group's other members
  eventbus sub orders.created --from 15m --count 10

Without --group it reads for itself and leaves nothing behind. With --group the position is
kept: run again, it goes on where it stopped. Each event is acknowledged after it was
printed, so what was not printed comes again. Ctrl-C ends it: what was received is printed
and acknowledged first. The exit code is then 0, or 130 if --count was not reached.";

/// So many deliveries are printed before they are acknowledged together.
const MOST_AT_ONCE: u64 = 256;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubArgs {
    /// A topic, or a pattern: `*` stands for one segment, a final `>` for one or more
    filter: TopicFilter,
    /// The group whose members share the events and whose position is kept
    #[arg(long)]
    group: Option<String>,
    /// Where to start if there is no position yet: earliest, latest, a position, a time, or
    /// how long ago [default: latest, or earliest for a group]
    #[arg(long, value_name = "START")]
    from: Vec<From>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) async fn run(
    global: &Global,
    args: SubArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let target = Target::new(global.url())?;
    let options = args.options()?;
    let bus = interrupt.or(async { Ok(eventbus::builder(&target.url).connect().await?) }).await?;
    let outcome = consume(&*bus, &args, options, global.json, &target, interrupt).await;
    let closed = bus.close().await;
    let exit = outcome?;
    closed?;
    Ok(exit)
}

impl SubArgs {
    fn options(&self) -> Result<SubscribeOptions, Failure> {
        let mut options = match &self.group {
            Some(group) => SubscribeOptions::group(group),
            None => SubscribeOptions::new(),
        };
        if let Some(start) = start(&self.from).map_err(Failure::usage)? {
            options = options.start(start);
        }
        // What is not going to be printed is left to the group's other members.
        let count = self.count.unwrap_or(u64::MAX);
        let most = options.max_in_flight;
        Ok(options.max_in_flight(usize::try_from(count).unwrap_or(most).min(most)))
    }
}

async fn consume(
    bus: &dyn EventBus,
    args: &SubArgs,
    options: SubscribeOptions,
    json: bool,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let subscription =
        interrupt.or(async { Ok(bus.subscribe(&args.filter, options).await?) }).await?;
    if target.is_memory() {
        complain(
            "note: memory:// lives in this process, so nothing can come from elsewhere; \
             try `eventbus run FILE`, or name a broker with --url",
        );
    }
    complain(&format!("subscribed to {} on {}; Ctrl-C ends", args.filter, target.place));
    let mut printer = Printer { out: events(json), json };
    let stopper = subscription.stopper();
    let stop = pin!(async {
        interrupt.requested().await;
        stopper.stop();
    });
    let printing = pin!(print_all(subscription, args.count, &mut printer));
    let printed = match select(stop, printing).await {
        // What was received is still printed.
        Either::Left(((), printing)) => printing.await?,
        Either::Right((printed, _)) => printed?,
    };
    if args.count.is_none_or(|count| printed < count) && interrupt.is_requested() {
        complain(&format!("{} printed and acknowledged", count(printed, "event")));
        if args.count.is_some() {
            return Ok(Exit::Interrupted);
        }
    }
    Ok(Exit::Done)
}

/// Prints what comes until the subscription ends or `most` are printed; tells how many.
async fn print_all(
    mut subscription: Subscription,
    most: Option<u64>,
    printer: &mut Printer<impl Write>,
) -> Result<u64, Failure> {
    let most = most.unwrap_or(u64::MAX);
    let mut printed = 0;
    while printed < most {
        let Some(first) = subscription.next().await else {
            break;
        };
        let mut items = vec![first];
        let room = MOST_AT_ONCE.min(most - printed);
        while (items.len() as u64) < room {
            match subscription.next().now_or_never() {
                Some(Some(item)) => items.push(item),
                _ => break,
            }
        }
        printed += print_then_ack(items, printer).await?;
    }
    Ok(printed)
}

/// Prints deliveries, and acknowledges them when they have left this process.
async fn print_then_ack(
    items: Vec<Result<Delivery, ReceiveError>>,
    printer: &mut Printer<impl Write>,
) -> Result<u64, Failure> {
    let mut deliveries = Vec::with_capacity(items.len());
    let mut others = Vec::new();
    let mut terminal = None;
    for item in items {
        match item {
            Ok(delivery) => {
                printer.delivery(&delivery)?;
                deliveries.push(delivery);
            }
            Err(ReceiveError::Undecodable(message)) => {
                printer.undecodable(&message)?;
                others.push(message);
            }
            Err(ReceiveError::Truncated(error)) => complain(&format!("warning: {error}")),
            Err(error) => terminal = Some(Error::from(error)),
        }
    }
    printer.out.flush()?;
    let printed = (deliveries.len() + others.len()) as u64;
    for delivery in deliveries {
        if let Err(error) = delivery.ack().await {
            warn_not_acked(error.error());
        }
    }
    for message in others {
        if let Err(error) = message.ack().await {
            warn_not_acked(error.error());
        }
    }
    match terminal {
        Some(error) => Err(error.into()),
        None => Ok(printed),
    }
}

fn warn_not_acked(error: &Error) {
    complain(&format!("warning: printed, but not acknowledged, so it may come again: {error}"));
}

struct Printer<W> {
    out: W,
    json: bool,
}

impl<W: Write> Printer<W> {
    fn delivery(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        let info = info(delivery);
        if self.json {
            return self.line(&Printed::delivery(delivery, &info));
        }
        let envelope = delivery.envelope();
        let (topic, time) = (delivery.topic(), rfc3339(envelope.timestamp()));
        let kind = Printable(envelope.event_type());
        write!(self.out, "{FAINT}{time}{FAINT:#}  {HEAD}{topic}{HEAD:#}")?;
        if envelope.event_type() != topic.as_str() {
            write!(self.out, "  {kind}")?;
        }
        if let Some(key) = envelope.aggregate_id() {
            write!(self.out, "  key={}", Printable(key))?;
        }
        for (name, value) in envelope.headers().iter() {
            write!(self.out, "  {}={}", Printable(name), Printable(value))?;
        }
        if delivery.attempt() > 1 {
            write!(self.out, "  attempt={}", delivery.attempt())?;
        }
        match std::str::from_utf8(envelope.payload()) {
            Ok(text) => writeln!(self.out, "  {}", Printable(text))?,
            Err(_) => writeln!(self.out, "  ({} bytes)", envelope.payload().len())?,
        }
        Ok(())
    }

    fn undecodable(&mut self, message: &Undecodable) -> Result<(), Failure> {
        if self.json {
            return self.line(&Printed::undecodable(message));
        }
        let (bytes, position) = (message.bytes().len(), &message.info().position);
        writeln!(self.out, "{position}: no envelope, {bytes} bytes: {}", message.error())?;
        Ok(())
    }

    fn line(&mut self, printed: &Printed<'_>) -> Result<(), Failure> {
        let line = serde_json::to_string(printed)
            .map_err(|error| Failure::failed(format!("a delivery is no JSON: {error}")))?;
        writeln!(self.out, "{line}")?;
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use eventbus::{Envelope, EventBusExt, Start, Topic};

    use super::*;

    const ORDERS: Topic = Topic::from_static("orders.created");

    async fn bus() -> Arc<dyn EventBus> {
        let bus = eventbus::connect("memory://").await.unwrap();
        for number in 0..5 {
            let envelope = Envelope::json("order.created", &number).unwrap().key("k");
            bus.publish_sync(&ORDERS, envelope).await.unwrap();
        }
        bus
    }

    async fn member(bus: &dyn EventBus) -> Subscription {
        let options = SubscribeOptions::group("g").start(Start::Earliest);
        bus.subscribe(&ORDERS.filter(), options).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_printed_is_acknowledged_and_no_more() {
        let bus = bus().await;
        for (json, expected) in [
            (false, "orders.created  order.created  key=k  0\n"),
            (true, "\"key\":\"k\",\"payload\":2"),
        ] {
            let mut printer = Printer { out: Vec::new(), json };
            let printed = print_all(member(&*bus).await, Some(2), &mut printer).await;
            assert_eq!(printed.unwrap(), 2);
            let text = anstream::adapter::strip_bytes(&printer.out).into_vec();
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(bus.stats().settled, 4);
        bus.close().await.unwrap();
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_cannot_be_printed_comes_again() {
        let bus = bus().await;
        let mut printer = Printer { out: Broken, json: true };
        let printed = print_all(member(&*bus).await, None, &mut printer).await;
        assert!(printed.is_err());
        assert_eq!(bus.stats().settled, 0);
        // A short wait, instead of the usual one for the deliveries of the first member.
        let options = SubscribeOptions::group("other").start(Start::Earliest);
        let options = options.ack_wait(Duration::from_millis(50));
        let again = bus.subscribe(&ORDERS.filter(), options.clone()).await.unwrap();
        assert!(print_all(again, None, &mut printer).await.is_err());
        let mut again = bus.subscribe(&ORDERS.filter(), options).await.unwrap();
        let delivery = again.try_next().await.unwrap().unwrap();
        assert_eq!((delivery.position().offset(), delivery.attempt()), (0, 2));
        bus.close().await.unwrap();
    }
}
