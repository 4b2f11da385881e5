//! Comparisons: the order of measurements, what becomes of failures, and what is typed.

use std::ops::ControlFlow;

use eventbus_bench::{
    Job, Load, Measured, Mode, Sample, Strategy, Tool,
    compare::{Comparison, Experiment, Machine, Plan, Selection, Target, best_batch, carry_out},
    is_there, measure, variable,
};
use eventbus_core::{Error, ErrorKind, Registry};

fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    registry
}

fn job(measured: Measured) -> Job {
    Job::new("memory://", measured, Load::new(Mode::Async, 500, 64)).expect("valid")
}

fn plan(rounds: usize) -> Plan {
    let targets = vec![Target::new("memory://").named("a"), Target::new("memory://").named("b")];
    let mut selection = Selection::full(targets);
    selection.modes = vec![Mode::Async];
    selection.sizes = vec![64];
    selection.bursts = vec![100, 200];
    selection.sustained_bytes = 0;
    Plan::of(&selection, rounds).expect("valid")
}

/// A sample as a child process would print it.
fn sample(rate: f64) -> Sample {
    let text = format!(r#"{{"acked":100,"failed":0,"elapsed_s":1.0,"msgs_per_s":{rate}}}"#);
    serde_json::from_str(&text).expect("a sample")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_through_json_and_is_measured() {
    for mode in Mode::ALL {
        let mut job = job(Measured::Bus);
        job.load.mode = mode;
        let text = serde_json::to_string(&job).unwrap();
        let job: Job = serde_json::from_str(&text).unwrap();
        let sample = measure(&job, &registry()).await.unwrap();
        assert_eq!((sample.acked, sample.failed, sample.leaked_tasks), (500, 0, Some(0)));
        assert_eq!(sample.order_violations, Some(0), "{mode}");
        assert!(sample.peak_tasks.is_some(), "{mode}");
        let text = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_says_why() {
    let strategy = Measured::Strategy(Strategy::TaskPerMessage);
    for measured in [Measured::Client, strategy] {
        let error = measure(&job(measured), &registry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    if !is_there(Tool::NatsBench) {
        let tool = Measured::Tool(Tool::NatsBench);
        let error = measure(&job(tool), &registry()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(variable(Tool::NatsBench)), "{error}");
    }
}

#[tokio::test]
async fn neighbours_take_turns_and_are_compared_round_by_round() {
    let plan = plan(3);
    let mut comparison = Comparison::new("test", Machine::this(), plan.rounds);
    let mut order = Vec::new();
    let measured = async |job: &Job| {
        order.push(job.party());
        // The machine becomes slower all the time; `b` is always twice as fast as `a`.
        let noise = 1.0 / order.len() as f64;
        let rate = if job.party().ends_with('b') { 2.0 * noise } else { noise };
        Some(Ok::<_, Error>(sample(rate)))
    };
    carry_out(&plan, &mut comparison, measured, |_| ControlFlow::Continue(())).await;
    let of_round = |round: usize| &order[round * 4..round * 4 + 2];
    assert_eq!(of_round(0), ["eventbus a", "eventbus b"]);
    assert_eq!(of_round(1), ["eventbus b", "eventbus a"]);
    assert_eq!(comparison.rows.len(), 4);
    let row = &comparison.rows[1];
    let ratio = comparison.ratio(row, "eventbus a").unwrap();
    assert!(ratio.rate.min < 2.0 && ratio.rate.max > 2.0, "{ratio:?}");
    assert_eq!(row.runs.len(), 3);
    assert_eq!(comparison.stopped_after, None);
    assert!(comparison.is_clean());
}

#[tokio::test]
async fn who_only_fails_is_left_out_and_shown() {
    let plan = plan(4);
    let mut comparison = Comparison::new("test", Machine::this(), plan.rounds);
    let mut tried = 0;
    let measured = async |job: &Job| match job.party().as_str() {
        "eventbus a" => Some(Ok(sample(1.0))),
        _ => {
            tried += 1;
            Some(Err(Error::new(ErrorKind::Unavailable, "gone")))
        }
    };
    carry_out(&plan, &mut comparison, measured, |_| ControlFlow::Continue(())).await;
    assert_eq!(tried, 3);
    assert!(comparison.warnings.iter().any(|warning| warning.contains("eventbus b failed 3")));
    assert!(!comparison.is_clean());
    let text = comparison.to_string();
    assert!(text.contains("gone") && text.contains("eventbus a"), "{text}");
}

#[tokio::test]
async fn a_round_that_failed_is_shown_beside_the_others() {
    let plan = plan(3);
    let mut comparison = Comparison::new("test", Machine::this(), plan.rounds);
    let mut tried = 0;
    let measured = async |job: &Job| {
        tried += usize::from(job.party() == "eventbus b");
        Some(match (job.party().as_str(), tried) {
            ("eventbus b", 2) => Err(Error::new(ErrorKind::Unavailable, "<gone>")),
            _ => Ok(sample(1.0)),
        })
    };
    carry_out(&plan, &mut comparison, measured, |_| ControlFlow::Continue(())).await;
    assert!(!comparison.is_clean());
    let expected = "1 of 3 rounds failed, the first: ";
    let (text, page) = (comparison.to_string(), comparison.to_html());
    assert!(text.contains(expected) && text.contains("<gone>"), "{text}");
    assert!(page.contains(expected) && page.contains("&lt;gone&gt;"), "{page}");
}

#[test]
fn buses_that_cannot_be_told_apart_are_refused() {
    let targets = |urls: &[&str]| urls.iter().map(|url| Target::new(*url)).collect::<Vec<_>>();
    let (same, other) = (["nats://a", "nats://a?strict_order=true"], ["nats://a", "kafka://b"]);
    let refused = Plan::of(&Selection::quick(targets(&same)), 1).unwrap_err();
    assert!(refused.to_string().contains("eventbus nats"), "{refused}");
    Plan::of(&Selection::quick(targets(&other)), 1).unwrap();
    let named: Vec<_> =
        targets(&same).into_iter().zip(["a", "b"]).map(|(bus, name)| bus.named(name)).collect();
    Plan::of(&Selection::quick(named.clone()), 1).unwrap();
    Experiment::Window.plan(&named, 1, 1).unwrap();
    let refused = Experiment::AckStrategies.plan(&named, 1, 1).unwrap_err();
    assert!(refused.to_string().contains("only one"), "{refused}");
}

#[tokio::test]
async fn a_comparison_that_is_stopped_keeps_what_it_has() {
    let plan = plan(5);
    let mut comparison = Comparison::new("test", Machine::this(), plan.rounds);
    let measured = async |_: &Job| Some(Ok::<_, Error>(sample(1.0)));
    carry_out(&plan, &mut comparison, measured, |step| match step.done {
        6 => ControlFlow::Break(()),
        done => {
            assert_eq!(step.left.is_some(), done > 0);
            ControlFlow::Continue(())
        }
    })
    .await;
    assert_eq!(comparison.stopped_after, Some(6));
    assert_eq!(comparison.rows.iter().map(|row| row.runs.len()).sum::<usize>(), 6);
    let text = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison);
}

#[tokio::test]
async fn a_measurement_that_is_interrupted_ends_it_and_does_not_count() {
    let plan = plan(5);
    let mut comparison = Comparison::new("test", Machine::this(), plan.rounds);
    let mut begun = 0;
    let measured = async |_: &Job| {
        begun += 1;
        (begun < 4).then(|| Ok::<_, Error>(sample(1.0)))
    };
    carry_out(&plan, &mut comparison, measured, |_| ControlFlow::Continue(())).await;
    assert_eq!(comparison.stopped_after, Some(3));
    assert_eq!(comparison.rows.iter().map(|row| row.runs.len()).sum::<usize>(), 3);
    assert!(comparison.is_clean());
}

#[tokio::test]
async fn tools_are_tuned_to_their_best_batch() {
    let measured = async |job: &Job| {
        Some(Ok::<_, Error>(sample(1000.0 - (job.tool_batch as f64 - 500.0).abs())))
    };
    let best = best_batch(&job(Measured::Bus), &[100, 500, 900], 2, measured).await;
    assert_eq!(best.unwrap().unwrap(), 500);
    let failing = async |_: &Job| Some(Err(Error::new(ErrorKind::Unavailable, "gone")));
    assert!(best_batch(&job(Measured::Bus), &[1, 2], 1, failing).await.unwrap().is_err());
    let interrupted = async |_: &Job| None::<Result<_, Error>>;
    assert!(best_batch(&job(Measured::Bus), &[1, 2], 1, interrupted).await.is_none());
}
