//! The text of the demo.

use std::io::Write;

use eventbus::Stats;
use serde_json::{Map, Value, json};

use super::{
    groups::{HOPELESS, Letter, RETRY_AFTER, Served, UNLUCKY},
    shop::{CUSTOMERS, MAX_ATTEMPTS, PublishedAsync, PublishedBatch, PublishedSync, Shop},
};
use crate::{
    connect::Target,
    exit::Failure,
    output::{FAINT, HEAD, Out, count, out, rate, short, thousands},
    verdict::{self, Verdict},
};

/// Tells the story as it goes, or collects the facts for a program.
pub(super) struct Story {
    out: Out,
    /// The facts, if they are wanted as JSON.
    facts: Option<Map<String, Value>>,
    on_memory: bool,
    dead: String,
}

impl Story {
    pub(super) fn begin(target: &Target, shop: &Shop, json: bool) -> Result<Self, Failure> {
        let mut story = Self {
            out: out(),
            facts: json.then(Map::new),
            on_memory: target.is_memory(),
            dead: shop.dead.to_string(),
        };
        let place = &target.place;
        let about = match target.is_memory() {
            true => "in this process: no broker, nothing to install",
            false => "a real broker",
        };
        story.fact("url", json!(place));
        story.fact("topic", json!(shop.orders.as_str()));
        let lines = [
            format!("{HEAD}eventbus demo on {place}{HEAD:#}  {FAINT}({about}){FAINT:#}"),
            format!("A shop publishes orders to {}; two groups consume them.\n", shop.orders),
        ];
        story.tell(&lines)?;
        Ok(story)
    }

    pub(super) fn published_async(
        &mut self,
        published: &PublishedAsync,
        failed: u64,
    ) -> Result<(), Failure> {
        let PublishedAsync { accepted, accept_time, total_time, .. } = published;
        self.fact(
            "async",
            json!({"accepted": accepted, "failed": failed, "accept_s": accept_time.as_secs_f64(),
                   "total_s": total_time.as_secs_f64()}),
        );
        let line = format!(
            "{HEAD}publish{HEAD:#}   async     {} accepted in {}, all acknowledged after {}   {}",
            count(*accepted, "order"),
            short(*accept_time),
            short(*total_time),
            rate(*accepted, *total_time),
        );
        self.tell(&[line])
    }

    pub(super) fn published_batch(&mut self, batch: &PublishedBatch) -> Result<(), Failure> {
        let failed: Vec<_> = batch
            .failed
            .iter()
            .map(|(index, error, _)| json!({"index": index, "error": error.to_string()}))
            .collect();
        self.fact("batch", json!({"size": batch.size, "stored": batch.stored, "failed": failed}));
        let mut line = format!("          batch     {} of {} stored", batch.stored, batch.size);
        for (index, error, _) in &batch.failed {
            let facts: Vec<_> = error
                .context()
                .filter(|(name, _)| matches!(*name, "bytes" | "limit"))
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            line += &format!("; index {index} came back: {} ({})", error.kind(), facts.join(", "));
        }
        self.tell(&[line])
    }

    pub(super) fn published_sync(&mut self, single: &PublishedSync) -> Result<(), Failure> {
        let position = single.position.as_ref().map(ToString::to_string);
        self.fact("sync", json!({"latency_s": single.latency.as_secs_f64(), "position": position}));
        let at = position.map_or_else(String::new, |position| format!(" at {position}"));
        let latency = short(single.latency);
        self.tell(&[format!("          sync      1 order stored after {latency}{at}\n")])
    }

    pub(super) fn consumed(
        &mut self,
        groups: &[Served; 2],
        letter: Option<&Letter>,
    ) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let heading = if at == 0 { "consume" } else { "" };
            let mut line = format!(
                "{HEAD}{heading:8}{HEAD:#}  {:8}  {} received, {} acknowledged",
                group.name,
                count(group.orders.len() as u64, "order"),
                thousands(group.acknowledged),
            );
            if group.dead_lettered > 0 {
                line += &format!(", {} moved to {}", group.dead_lettered, self.dead);
            }
            lines.push(line);
            self.fact(
                group.name,
                json!({"received": group.orders.len(), "acknowledged": group.acknowledged,
                       "retried": group.retried, "dead_lettered": group.dead_lettered,
                       "out_of_order": group.out_of_order}),
            );
        }
        // One more retry than the hopeless order had.
        if groups[0].retried == u64::from(MAX_ATTEMPTS) {
            let retry = short(RETRY_AFTER);
            lines.push(format!(
                "          order {UNLUCKY:<2}  failed once in billing, was retried after {retry}, then billed",
            ));
        }
        if let Some(letter) = letter {
            self.fact(
                "dead_letter",
                json!({"order": letter.order, "reason": letter.reason,
                       "attempts": letter.attempts, "from": letter.from}),
            );
            lines.push(format!(
                "          order {:<2}  failed {} attempts, moved with its reason ({:?}) and origin",
                letter.order, letter.attempts, letter.reason,
            ));
        }
        lines.push(String::new());
        self.tell(&lines)
    }

    pub(super) fn end(mut self, verdicts: &[Verdict]) -> Result<(), Failure> {
        if let Some(mut facts) = self.facts.take() {
            facts.insert("promises".to_owned(), json!(verdicts));
            facts.insert("ok".to_owned(), json!(verdict::all_ok(verdicts)));
            writeln!(self.out, "{}", Value::Object(facts))?;
            return Ok(self.out.flush()?);
        }
        verdict::print(&mut self.out, &format!("{HEAD}promises{HEAD:#}  "), verdicts)?;
        writeln!(self.out)?;
        let others: Vec<_> = eventbus::registry()
            .schemes()
            .filter(|scheme| *scheme != "memory")
            .map(|scheme| format!("{scheme}://"))
            .collect();
        if self.on_memory && !others.is_empty() {
            let others = others.join(" or ");
            writeln!(self.out, "The same on a broker:  eventbus demo --url {others}…")?;
        }
        writeln!(self.out, "Your own events:       eventbus run FILE.jsonl")?;
        writeln!(self.out, "How fast:              eventbus bench")?;
        Ok(self.out.flush()?)
    }

    fn fact(&mut self, name: &str, value: Value) {
        if let Some(facts) = &mut self.facts {
            facts.insert(name.to_owned(), value);
        }
    }

    fn tell(&mut self, lines: &[String]) -> Result<(), Failure> {
        if self.facts.is_none() {
            for line in lines {
                writeln!(self.out, "{line}")?;
            }
            self.out.flush()?;
        }
        Ok(())
    }
}

/// What the promises are judged by.
pub(super) struct Outcome {
    pub(super) stats: Stats,
    pub(super) batch: PublishedBatch,
    pub(super) stored: u64,
    pub(super) groups: [Served; 2],
    pub(super) letter: Option<Letter>,
    pub(super) working: usize,
    pub(super) left: usize,
}

impl Outcome {
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let Stats { published, acknowledged, failed, .. } = self.stats;
        let groups = &self.groups;
        let letters: u64 = groups.iter().map(|group| group.dead_lettered).sum();
        let out_of_order: u64 = groups.iter().map(|group| group.out_of_order).sum();
        let stored = self.stored;
        let each_got_all = groups.iter().all(|group| group.orders.len() as u64 == stored);
        let letter_came = self.letter.as_ref().is_some_and(|letter| {
            letter.order == HOPELESS && letter.attempts == MAX_ATTEMPTS.to_string()
        });
        vec![
            Verdict::new(
                "nothing accepted is lost",
                published == acknowledged + failed && published == stored + letters + failed,
                format!(
                    "{} + {}: {} acknowledged, {} failed",
                    count(stored, "order"),
                    count(letters, "dead letter"),
                    thousands(acknowledged),
                    thousands(failed),
                ),
            ),
            Verdict::new(
                "what is refused comes back",
                self.batch.is_as_promised(),
                format!(
                    "{} of the batch, with its index, error and envelope",
                    self.batch.failed.len()
                ),
            ),
            Verdict::new(
                "each group gets everything",
                each_got_all,
                format!("2 groups, {} each", count(stored, "order")),
            ),
            Verdict::new(
                "a key keeps its order",
                out_of_order == 0,
                format!("{CUSTOMERS} customers, {out_of_order} out of order, retries included"),
            ),
            Verdict::new(
                "a bad event stops nobody",
                letter_came && letters == 1,
                format!(
                    "{}, the other {} acknowledged",
                    count(letters, "dead letter"),
                    thousands(groups[0].acknowledged),
                ),
            ),
            Verdict::new(
                "no task per message",
                self.left == 0,
                format!("{} tasks under load, {} after close", self.working, self.left),
            ),
        ]
    }
}
