#!/usr/bin/env bash
# Builds images of both brokers where no registry can be reached, equal to the public
# ones as far as the tests go: `test-brokers/images/build.sh [nats] [kafka]`.
# Needs an engine, and for Kafka root, debootstrap and a Debian mirror. What takes long is
# kept in target/test-brokers; `build.sh kafka-files` makes only that, without an engine.
set -euo pipefail
cd "$(dirname "$0")/../.."

prepared() { cargo run -q -p test-brokers -- prepare "$1" 2>&1 | tee -a /dev/stderr | sed -n "s|^test-brokers: $2 is ||p"; }
version() { sed -n "s/^pub const $1_VERSION: .*\"\(.*\)\";/\1/p" test-brokers/src/prepare.rs; }
scratch=$(mktemp -d)
trap 'rm -rf --one-file-system "$scratch"' EXIT

nats() {
    cp "$(prepared nats nats-server)" "$scratch/nats-server"
    mkdir -m 1777 "$scratch/tmp"
    tar -c -C "$scratch" nats-server tmp | docker import \
        -c 'ENTRYPOINT ["/nats-server"]' - "eventbus-test/nats:$(version NATS_SERVER)"
}

# Java on a small Debian, and Kafka's jars where the public image has them.
kafka_files() {
    files=target/test-brokers/kafka-$(version KAFKA)-image.tar
    mkdir -p target/test-brokers
    exec 9>"$files.lock"
    flock 9
    [ ! -e "$files" ] || return 0
    root=$scratch/root
    debootstrap --variant=minbase --include="${KAFKA_JRE:-openjdk-17-jre-headless}" \
        "${DEBIAN_SUITE:-bookworm}" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" \
        >"$scratch/log" || { tail "$scratch/log" >&2; exit 1; }
    path=$(prepared kafka "Kafka's class path")
    mkdir -p "$root/opt/kafka"
    cp -r "${path%%/lib/\**}/lib" "$root/opt/kafka/libs"
    rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/{doc,man,locale}
    tar -c -C "$root" -f "$files.part" .
    mv "$files.part" "$files"
}

kafka() {
    kafka_files
    docker import "$files" "eventbus-test/kafka:$(version KAFKA)"
}

for broker in "${@:-nats kafka}"; do
    for one in $broker; do "${one/-/_}"; done
done
