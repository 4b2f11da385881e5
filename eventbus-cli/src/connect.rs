//! What can be told from a URL.

use eventbus::BusUrl;

use crate::exit::Failure;

/// A URL that was read.
#[derive(Debug)]
pub(crate) struct Target {
    /// The URL to connect to.
    pub(crate) url: String,
    /// The scheme, which names the backend.
    pub(crate) backend: String,
    /// The URL without credentials and parameters.
    pub(crate) place: String,
}

impl Target {
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        let parsed: BusUrl = url.parse().map_err(|error: eventbus::Error| {
            let known: Vec<_> = eventbus::registry().schemes().collect();
            let tip = format!("this program knows {}", known.join("://, ") + "://");
            Failure::from(error).tip(&tip)
        })?;
        let servers = parsed
            .authority()
            .split(',')
            .map(|server| server.rsplit('@').next().unwrap_or(server))
            .collect::<Vec<_>>()
            .join(",");
        let slash = if parsed.path().is_empty() { "" } else { "/" };
        Ok(Self {
            url: url.to_owned(),
            backend: parsed.scheme().to_owned(),
            place: format!("{}://{servers}{slash}{}", parsed.scheme(), parsed.path()),
        })
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.backend == "memory"
    }

    /// Whether both name the same topics, as far as can be told without asking a server: one
    /// server in common, and the same of what parts its topics.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        let servers = |target: &Self| -> Vec<String> {
            let place = target.place.split("://").nth(1).unwrap_or_default();
            let authority = place.split('/').next().unwrap_or_default();
            authority.split(',').map(|server| target.with_port(server)).collect()
        };
        let others = servers(other);
        self.backend == other.backend
            && servers(self).iter().any(|server| others.contains(server))
            && ["prefix", "domain"].iter().all(|name| self.parameter(name) == other.parameter(name))
    }

    /// A server as it would be written in full.
    fn with_port(&self, server: &str) -> String {
        let server = server.to_ascii_lowercase().replace("localhost", "127.0.0.1");
        let port = if self.backend == "kafka" { "9092" } else { "4222" };
        let host = if server.is_empty() { "127.0.0.1" } else { &server };
        let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if has_port { host.to_owned() } else { format!("{host}:{port}") }
    }

    /// A parameter of the URL, or what it is by default.
    fn parameter(&self, name: &str) -> &str {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back();
        value.unwrap_or(if name == "prefix" { "eb" } else { "" })
    }

    /// In this process nobody else decides how much a topic keeps: at least `bytes`, unless
    /// the URL says something.
    pub(crate) fn keeping(mut self, bytes: u64) -> Self {
        const DEFAULT: u64 = 64 << 20;
        if self.is_memory() && bytes > DEFAULT && !self.url.contains("retention_bytes=") {
            let separator = if self.url.contains('?') { '&' } else { '?' };
            self.url = format!("{}{separator}retention_bytes={bytes}", self.url);
        }
        self
    }
}

/// A short name that no other run has.
pub(crate) fn run_suffix() -> String {
    let id = uuid::Uuid::now_v7();
    // The last bytes are the random ones.
    data_encoding::BASE32_NOPAD.encode(&id.as_bytes()[11..]).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_hold_no_secrets() {
        let url = "nats://user:hunter2@a:1,user:hunter3@b:2/x?password=hunter4";
        let target = Target::new(url).unwrap();
        assert_eq!(target.place, "nats://a:1,b:2/x");
        assert_eq!(target.backend, "nats");
    }

    #[test]
    fn the_same_place_is_known_by_any_name() {
        let target = |url: &str| Target {
            url: url.to_owned(),
            backend: url.split(':').next().unwrap_or_default().to_owned(),
            place: url.split('?').next().unwrap_or_default().replace("u:p@", ""),
        };
        let same = |a: &str, b: &str| target(a).is_same_place(&target(b));
        assert!(same("nats://a", "nats://u:p@A:4222?ack_timeout=1s"));
        assert!(same("nats://localhost", "nats://127.0.0.1:4222?prefix=eb"));
        assert!(same("kafka://a,b", "kafka://b:9092,c"));
        assert!(!same("nats://a", "nats://a:4223"));
        assert!(!same("nats://a", "nats://a?prefix=copy"));
        assert!(!same("nats://a?domain=x", "nats://a"));
        assert!(!same("nats://a:1", "kafka://a:1"));
    }

    #[test]
    fn retention_is_the_users_if_given() {
        let keep = |url: &str| Target::new(url).unwrap().keeping(1 << 30).url;
        assert_eq!(keep("memory://"), "memory://?retention_bytes=1073741824");
        assert_eq!(keep("memory://?retention_bytes=5"), "memory://?retention_bytes=5");
        assert_eq!(
            keep("memory://?ack_timeout=1s"),
            "memory://?ack_timeout=1s&retention_bytes=1073741824"
        );
        assert_eq!(keep("nats://a"), "nats://a");
    }

    proptest::proptest! {
        #[test]
        fn any_url_is_survived_and_no_secret_shown(
            text in ".{0,40}", place in "[a-z0-9:@,/\\[\\]]{0,30}", query in "[a-z_=&0-9]{0,30}",
        ) {
            for text in [text, format!("nats://u:hunter2@{place}?{query}")] {
                let Ok(target) = Target::new(&text) else { continue };
                proptest::prop_assert!(!target.place.contains("hunter2"), "{}", target.place);
                proptest::prop_assert!(target.is_same_place(&target));
                let _ = target.keeping(1 << 30);
            }
        }
    }
}
