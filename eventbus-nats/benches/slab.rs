//! The ring of unanswered messages: `cargo bench -p eventbus-nats --bench slab`.
//!
//! Its source is compiled in here, so that it need not be public.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

#[path = "../src/slab.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod slab;

use slab::Slab;

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slab");
    for window in [64, 1024, 16_384] {
        group.throughput(Throughput::Elements(window));
        group.bench_function(BenchmarkId::new("send and answer a window", window), |bencher| {
            let (mut slab, mut tokens) = (Slab::new(), Vec::new());
            bencher.iter(|| {
                tokens.extend((0..window).map(|entry| slab.insert(entry)));
                for token in tokens.drain(..) {
                    black_box(slab.remove(token));
                }
            });
        });
        // An answer carries the token in its subject.
        group.bench_function(BenchmarkId::new("read the token of a window", window), |bencher| {
            let mut slab = Slab::new();
            let tokens = (0..window).map(|entry| slab.insert(entry));
            let subjects: Vec<String> =
                tokens.map(|token| format!("_INBOX.eb.0123456789abcdef.1.{token:x}")).collect();
            let prefix = subjects[0].rfind('.').map_or(0, |dot| dot + 1);
            bencher.iter(|| {
                for subject in &subjects {
                    black_box(u64::from_str_radix(&subject[prefix..], 16).ok());
                }
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    ring(&mut criterion);
    criterion.final_summary();
}
