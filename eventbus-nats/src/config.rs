//! How to reach the servers, and which streams hold the topics.

mod ingest;
mod streams;
mod url;

use std::{path::PathBuf, time::Duration};

use eventbus_core::{Error, ErrorKind, backend::RAW_FIELDS, duration};
use serde::{Deserialize, Serialize};

use crate::headers;
pub use eventbus_core::Secret;
pub use ingest::FastIngest;
pub use streams::{StreamMapping, StreamMappings};

/// Where a stream keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In the memory of the servers: lost when they stop.
    Memory,
}

impl Storage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// The configuration of a NATS bus. Every field but `servers` is also a URL parameter of the
/// same name; the servers, and user and password or a token, stand in the URL itself:
/// `nats://user:password@a:4222,b:4222?storage=memory`.
///
/// What says how a stream is to be (`storage`, `replicas`, `max_bytes`, `max_age`,
/// `duplicate_window`) is used when a stream is created; an existing stream is compared with
/// what is set, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NatsConfig {
    /// `host` or `host:port` of each server, port 4222 by default. Further members of a
    /// cluster are learned from these.
    pub servers: Vec<String>,
    /// The name of the connection, as the server's monitoring shows it; `eventbus` by default.
    pub name: String,
    /// The user.
    pub user: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// A token, instead of user and password.
    pub token: Option<Secret>,
    /// A file with the JWT and the NKey of a user, as `nsc` makes it.
    pub credentials: Option<PathBuf>,
    /// A file with the seed of an NKey.
    pub nkey: Option<PathBuf>,
    /// Refuse to talk without TLS. (A server that requires TLS gets it anyway.)
    pub tls: bool,
    /// Start TLS before the server's greeting, for servers with `handshake_first`.
    pub tls_first: bool,
    /// A PEM file with the authorities to trust instead of those of the system.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate to show to the server; needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The first tokens of the subjects on which answers come, for users whose permissions
    /// name others; `_INBOX` by default.
    pub inbox_prefix: String,
    /// The JetStream domain, if it is not the server's own.
    pub domain: Option<String>,
    /// The first token of all subjects: the topic `a.b` is the subject `{prefix}.a.b`;
    /// `eb` by default.
    pub prefix: String,
    /// Which stream holds which topics; by default `EVENTBUS` holds all.
    pub streams: StreamMappings,
    /// Where streams keep messages; `file` by default.
    pub storage: Option<Storage>,
    /// How many servers of a cluster keep each message; 1 by default.
    pub replicas: Option<usize>,
    /// How many bytes a stream keeps before the oldest messages go; unlimited by default.
    pub max_bytes: Option<u64>,
    /// How long a stream keeps messages; unlimited by default.
    #[serde(with = "duration::optional")]
    pub max_age: Option<Duration>,
    /// How long a stream remembers ids for `idempotent` and `strict_order`; 2 minutes by
    /// default.
    #[serde(with = "duration::optional")]
    pub duplicate_window: Option<Duration>,
    /// Keeps the order of a key even across a lost connection, at the price of one envelope
    /// in flight per key: capability `ordered_across_reconnect`.
    pub strict_order: bool,
    /// Whether messages go through batches, which are faster and keep their order; `auto` by
    /// default.
    pub fast_ingest: FastIngest,
    /// The header that holds the ordering key in raw topics, which NATS itself does not know;
    /// `eb-key` by default.
    pub raw_key_header: String,
    /// How long connecting to a server may take; 5 s by default.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often a silent server is asked whether it is there; after two questions without
    /// an answer the connection counts as lost. 5 s by default.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
}

impl NatsConfig {
    /// The names of all fields that are URL parameters.
    pub const PARAMETERS: &'static [&'static str] = &[
        "name",
        "user",
        "password",
        "token",
        "credentials",
        "nkey",
        "tls",
        "tls_first",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "inbox_prefix",
        "domain",
        "prefix",
        "streams",
        "storage",
        "replicas",
        "max_bytes",
        "max_age",
        "duplicate_window",
        "strict_order",
        "fast_ingest",
        "raw_key_header",
        "connect_timeout",
        "ping_interval",
    ];

    /// A configuration for these servers.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the parameter and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        if self.servers.is_empty() || self.servers.iter().any(String::is_empty) {
            return Err(invalid("servers", "name at least one server, and none that is empty"));
        }
        check_tokens("prefix", &self.prefix)?;
        check_tokens("inbox_prefix", &self.inbox_prefix)?;
        if let Some(domain) = &self.domain {
            check_tokens("domain", domain)?;
        }
        if self.password.is_some() != self.user.is_some() {
            return Err(invalid("password", "`user` and `password` belong together"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(invalid("tls_cert", "`tls_cert` and `tls_key` belong together"));
        }
        let ways = [
            self.user.is_some(),
            self.token.is_some(),
            self.credentials.is_some(),
            self.nkey.is_some(),
        ];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            let message = "give one of user and password, `token`, `credentials`, `nkey`";
            return Err(invalid("user", message));
        }
        self.check_paths()?;
        if self.replicas.is_some_and(|replicas| !(1..=5).contains(&replicas)) {
            return Err(invalid("replicas", "must be between 1 and 5"));
        }
        if self.duplicate_window.is_some_and(|window| window < Duration::from_millis(100)) {
            return Err(invalid("duplicate_window", "must be at least 100ms"));
        }
        if let (Some(window), Some(age)) = (self.duplicate_window, self.max_age)
            && window > age
        {
            return Err(invalid("duplicate_window", "must not be longer than `max_age`"));
        }
        if self.strict_order && self.fast_ingest == FastIngest::Always {
            let message = "`always` keeps the order by itself; leave out `strict_order`";
            return Err(invalid("fast_ingest", message));
        }
        let key = &self.raw_key_header;
        let is_field = RAW_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(key));
        if !headers::is_name(key) || headers::is_servers_own(key) || is_field {
            let message = "the name of a header that has no meaning yet: printable ASCII without \
                           spaces and colons";
            return Err(invalid("raw_key_header", message));
        }
        if self.connect_timeout.is_zero() || self.ping_interval.is_zero() {
            return Err(invalid(
                "connect_timeout",
                "it and `ping_interval` must be more than zero",
            ));
        }
        self.streams.validate()
    }

    /// A secret where the path of its file belongs would be shown as the path is.
    fn check_paths(&self) -> Result<(), Error> {
        let paths = [
            ("credentials", &self.credentials),
            ("nkey", &self.nkey),
            ("tls_ca", &self.tls_ca),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
        ];
        let mut given = paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
        match given.find(|(_, path)| looks_secret(&path.to_string_lossy())) {
            Some((parameter, _)) => {
                Err(invalid(parameter, "give the path of a file, not what is in it"))
            }
            None => Ok(()),
        }
    }
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: vec!["localhost:4222".to_owned()],
            name: "eventbus".to_owned(),
            user: None,
            password: None,
            token: None,
            credentials: None,
            nkey: None,
            tls: false,
            tls_first: false,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            inbox_prefix: "_INBOX".to_owned(),
            domain: None,
            prefix: "eb".to_owned(),
            streams: StreamMappings::default(),
            storage: None,
            replicas: None,
            max_bytes: None,
            max_age: None,
            duplicate_window: None,
            strict_order: false,
            fast_ingest: FastIngest::Auto,
            raw_key_header: "eb-key".to_owned(),
            connect_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
        }
    }
}

fn check_tokens(parameter: &'static str, value: &str) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let fits = |token: &str| !token.is_empty() && token.chars().all(valid);
    if value.split('.').all(fits) {
        return Ok(());
    }
    Err(invalid(parameter, "dot-separated tokens of A-Z, a-z, 0-9, `_`, `-`"))
}

/// PEM, or the seed of an NKey.
fn looks_secret(text: &str) -> bool {
    let is_seed = text.len() >= 58
        && text.starts_with('S')
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_seed || text.contains("-----BEGIN")
}

pub(crate) fn invalid(parameter: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with_context("parameter", parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_fields() {
        let json = serde_json::to_value(NatsConfig::default()).unwrap();
        let mut fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        fields.retain(|field| field != "servers");
        let mut parameters: Vec<_> =
            NatsConfig::PARAMETERS.iter().map(|p| (*p).to_owned()).collect();
        fields.sort();
        parameters.sort();
        assert_eq!(fields, parameters);
    }

    #[test]
    fn contradictions_are_named() {
        let with = |change: fn(&mut NatsConfig)| {
            let mut config = NatsConfig::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(with(|c| c.servers.clear()).contains("servers"));
        assert!(with(|c| c.prefix = "a..b".into()).contains("prefix"));
        assert!(with(|c| c.user = Some("u".into())).contains("password"));
        assert!(with(|c| c.tls_key = Some("k".into())).contains("tls_key"));
        assert!(with(|c| c.replicas = Some(6)).contains("replicas"));
        assert!(
            with(|c| {
                c.token = Some(Secret::new("t"));
                c.nkey = Some("f".into());
            })
            .contains("one of")
        );
    }

    #[test]
    fn a_secret_in_place_of_its_path_is_not_shown() {
        let key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----";
        let seed = format!("SU{}", "HUNTER2".repeat(8));
        for config in [
            NatsConfig {
                tls_key: Some(key.into()),
                tls_cert: Some("c".into()),
                ..Default::default()
            },
            NatsConfig { credentials: Some(key.into()), ..Default::default() },
            NatsConfig { nkey: Some(seed.into()), ..Default::default() },
        ] {
            let error = config.validate().unwrap_err();
            let shown = format!("{error} {error:?}").to_ascii_lowercase();
            assert!(shown.contains("path of a file") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let config = NatsConfig {
            password: Some(Secret::new("hunter2")),
            token: Some(Secret::new("hunter3")),
            ..NatsConfig::default()
        };
        assert!(!format!("{config:?}").contains("hunter"));
    }
}
