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
}
