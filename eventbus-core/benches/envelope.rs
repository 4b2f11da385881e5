//! The wire format: `cargo bench -p eventbus-core --bench envelope`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use eventbus_core::Envelope;

const PAYLOADS: [usize; 3] = [256, 1024, 16 << 10];

fn envelope(payload: usize) -> Envelope {
    Envelope::new("order.created", vec![7; payload]).key("customer-42").with_source("shop")
}

/// Names too long to be kept inline, a trace and headers.
fn full(payload: usize) -> Envelope {
    envelope(payload)
        .with_correlation_id("a-correlation-id-that-is-not-short")
        .with_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=value")
        .with_header("tenant", "one")
        .with_header("region", "north")
}

fn wire_format(criterion: &mut Criterion) {
    type Make = fn(usize) -> Envelope;
    const KINDS: [(&str, Make); 2] = [("usual", envelope), ("full", full)];
    for (what, make) in KINDS {
        let mut group = criterion.benchmark_group(format!("envelope, {what}"));
        for payload in PAYLOADS {
            let envelope = make(payload);
            let encoded = envelope.to_bytes();
            group.throughput(Throughput::Bytes(encoded.len() as u64));
            group.bench_function(BenchmarkId::new("encode", payload), |bencher| {
                bencher.iter(|| black_box(&envelope).to_bytes());
            });
            group.bench_function(BenchmarkId::new("decode", payload), |bencher| {
                bencher.iter_batched(
                    || encoded.clone(),
                    Envelope::from_bytes,
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
    criterion.bench_function("envelope, made with id, time and key", |bencher| {
        let payload = bytes::Bytes::from_static(&[7; 256]);
        bencher.iter(|| Envelope::new("order.created", payload.clone()).key("customer-42"));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    wire_format(&mut criterion);
    criterion.final_summary();
}
