//! Which offsets of a partition are settled: `cargo bench -p eventbus-kafka --bench tracker`.
//!
//! Its source is compiled in here, so that it need not be public.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

#[path = "../src/consumer/offsets.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod offsets;
#[path = "../src/consumer/tracker.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod tracker;

use offsets::Progress;
use tracker::Tracker;

fn fetched(window: i64) -> Tracker {
    let mut tracker = Tracker::new(Some(0), Progress::default());
    for offset in 0..window {
        tracker.fetch(offset);
    }
    tracker
}

fn settle(mut tracker: Tracker, offsets: impl Iterator<Item = i64>) -> Tracker {
    offsets.for_each(|offset| tracker.settle(offset));
    tracker
}

fn offsets_of_a_partition(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker");
    for window in [64, 1024, 16_384] {
        group.throughput(Throughput::Elements(window as u64));
        group.bench_function(BenchmarkId::new("fetch", window), |bencher| {
            bencher.iter(|| fetched(black_box(window)));
        });
        group.bench_function(BenchmarkId::new("settle in order", window), |bencher| {
            let tracker = || fetched(window);
            bencher.iter_batched(tracker, |t| settle(t, 0..window), BatchSize::LargeInput);
        });
        // The oldest last, as when the first delivery takes longest.
        group.bench_function(BenchmarkId::new("settle backwards", window), |bencher| {
            let tracker = || fetched(window);
            bencher.iter_batched(tracker, |t| settle(t, (0..window).rev()), BatchSize::LargeInput);
        });
        group.bench_function(BenchmarkId::new("commit with gaps", window), |bencher| {
            let mut tracker = settle(fetched(window), (0..window).filter(|at| at % 16 != 0));
            bencher.iter(|| tracker.commit(&[]));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    offsets_of_a_partition(&mut criterion);
    criterion.final_summary();
}
