//! The URL of a bus.

use std::{fmt, str::FromStr};

use super::Parameters;
use crate::{Error, ErrorKind};

/// A URL `scheme://authority/path?parameter=value&…`.
///
/// The authority is kept as written, because it may name several servers, which a general
/// URL parser refuses. It may hold credentials, so `Debug` and errors never show it.
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl {
    scheme: String,
    authority: String,
    path: String,
    /// The parameters that nobody has taken yet.
    pub parameters: Parameters,
}

impl BusUrl {
    /// The scheme, which selects the backend.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between `://` and the path: servers, and credentials if any.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What follows the authority, without its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for BusUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |message: &'static str| Error::new(ErrorKind::InvalidConfig, message);
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .ok_or_else(|| invalid("a bus URL starts with a scheme, such as `memory://`"))?;
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(valid) {
            return Err(invalid("the scheme of a bus URL has only letters, digits, `+`, `-`, `.`"));
        }
        if rest.contains('#') {
            return Err(invalid("a bus URL has no fragment; write `#` as `%23`"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            parameters: Parameters::new(pairs)?,
        })
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusUrl")
            .field("scheme", &self.scheme)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BusConfig;

    fn config(url: &str) -> Result<BusConfig, Error> {
        let mut url: BusUrl = url.parse()?;
        let config = url.parameters.take(BusConfig::PARAMETERS)?;
        url.parameters.finish(BusConfig::PARAMETERS.iter().copied())?;
        Ok(config)
    }

    #[test]
    fn parts() {
        let url: BusUrl = "NATS://u:p@a:1,b:2/x/y?z=%20".parse().unwrap();
        assert_eq!((url.scheme(), url.authority(), url.path()), ("nats", "u:p@a:1,b:2", "x/y"));
    }

    #[test]
    fn parameters_become_configuration() {
        let config =
            config("memory://?max_in_flight=7&ack_timeout=1500ms&provision=verify").unwrap();
        assert_eq!(config.max_in_flight, 7);
        assert_eq!(config.ack_timeout.as_millis(), 1500);
        assert_eq!(config.provision, crate::Provision::Verify);
        assert_eq!(config.close_timeout, BusConfig::default().close_timeout);
    }

    #[test]
    fn bad_parameters_are_named() {
        for (url, expected) in [
            ("memory://?max_in_flight=-1", "max_in_flight"),
            ("memory://?max_in_flight=many", "whole number"),
            ("memory://?ack_timeout=5", "ack_timeout"),
            ("memory://?ack_timeout=soon", "500ms"),
            ("memory://?provision=maybe", "`create`, `verify`, `none`"),
            ("memory://?max_inflight=1", "max_in_flight, "),
            ("memory://?raw=a.*,b%20c", "parameter `raw`"),
            ("memory://?raw=a.*,b%20c", "b c"),
            ("memory://?max_in_flight=1&max_in_flight=2", "twice"),
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
            assert!(error.to_string().contains(expected), "{url}: {error}");
        }
    }

    #[test]
    fn prefixed_parameters_are_taken_as_they_are() {
        let mut url: BusUrl = "x://?lib.a.b=1&max_in_flight=2&lib.c=%26".parse().unwrap();
        let taken = url.parameters.take_prefixed("lib.");
        assert_eq!(taken, [("a.b".into(), "1".into()), ("c".into(), "&".into())]);
        assert!(url.parameters.take_prefixed("lib.").is_empty());
        let config: BusConfig = url.parameters.take(BusConfig::PARAMETERS).unwrap();
        assert_eq!(config.max_in_flight, 2);
        url.parameters.finish([]).unwrap();
    }

    #[test]
    fn bad_urls_are_refused() {
        for url in ["", "memory", "://", "me mory://", "memory://#x"] {
            assert!(url.parse::<BusUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let url: BusUrl = "nats://user:hunter2@host?password=hunter3".parse().unwrap();
        let shown = format!("{url:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
