#!/usr/bin/env bash
# The bus and sea-streamer in turns, on the Kafka of `test-brokers`; prints pairs and their ratio:
#   cargo build --release -p eventbus-cli --features kafka
#   cargo build --release --manifest-path peers/sea-streamer/Cargo.toml
#   cargo run -q -p test-brokers -- with kafka -- peers/sea-streamer/compare.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-7} messages=${2:-500000} size=256 window=4096
peer=peers/sea-streamer/target/release/sea-streamer-peer
brokers=${EVENTBUS_KAFKA_URL#kafka://}
bus() {
    target/release/eventbus --url "$EVENTBUS_KAFKA_URL?partitions=1" bench --mode async --messages "$messages" \
        --size "$size" --window "$window" --json 2>/dev/null | sed 's/.*"msgs_per_s":\([0-9.]*\).*/\1/'
}
for round in $(seq "$rounds"); do
    topic="sea-$$-$round"
    if ((round % 2)); then ours=$(bus) theirs=$("$peer" "$brokers" "$topic" "$messages" "$size" "$window")
    else theirs=$("$peer" "$brokers" "$topic" "$messages" "$size" "$window") ours=$(bus); fi
    awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%10.0f %10.0f %6.2f\n", a, b, a / b }'
done | tee /dev/stderr | awk '{ print $3 }' | sort -n |
    awk '{ ratio[NR] = $1 } END { print "median", ratio[int((NR + 1) / 2)], "from", ratio[1], "to", ratio[NR] }'
