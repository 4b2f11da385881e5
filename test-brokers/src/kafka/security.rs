//! Who may connect to a broker, and how.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Certificates, Error, Tls};

/// What the listener for clients asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Security {
    pub(super) tls: Option<Tls>,
    /// Names and passwords.
    pub(super) plain: Vec<(String, String)>,
    /// Names and passwords.
    pub(super) scram: Vec<(String, String)>,
}

impl Security {
    /// As `listener.security.protocol.map` has it.
    pub(super) fn protocol(&self) -> &'static str {
        match (self.tls.is_some(), self.mechanisms().is_empty()) {
            (false, true) => "PLAINTEXT",
            (true, true) => "SSL",
            (false, false) => "SASL_PLAINTEXT",
            (true, false) => "SASL_SSL",
        }
    }

    fn mechanisms(&self) -> Vec<&'static str> {
        let mut mechanisms = Vec::new();
        if !self.plain.is_empty() {
            mechanisms.push("PLAIN");
        }
        if !self.scram.is_empty() {
            mechanisms.push("SCRAM-SHA-512");
        }
        mechanisms
    }

    /// Arguments of Kafka's `format`, which writes these users into the store.
    pub(super) fn format_arguments(&self) -> Vec<String> {
        let add = |(name, password): &(String, String)| {
            ["--add-scram".to_owned(), format!("SCRAM-SHA-512=[name={name},password={password}]")]
        };
        self.scram.iter().flat_map(add).collect()
    }

    /// Lines for the broker's properties.
    pub(super) fn properties(&self, tls: Option<&Stores>) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "listener.name.client.{key}={value}");
        };
        if let Some(stores) = tls {
            line("ssl.keystore.type", "PEM");
            line("ssl.keystore.location", &stores.key.to_string_lossy());
            line("ssl.truststore.type", "PEM");
            line("ssl.truststore.location", &stores.trust.to_string_lossy());
            let mutual = matches!(self.tls, Some(Tls::Mutual));
            line("ssl.client.auth", if mutual { "required" } else { "none" });
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            line("sasl.enabled.mechanisms", &mechanisms.join(","));
        }
        if !self.plain.is_empty() {
            let users: Vec<String> = self
                .plain
                .iter()
                .map(|(name, password)| format!("user_{name}=\"{password}\""))
                .collect();
            let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
            let value = format!("{module} required {};", users.join(" "));
            line("plain.sasl.jaas.config", &value);
        }
        if !self.scram.is_empty() {
            let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
            line("scram-sha-512.sasl.jaas.config", &format!("{module} required;"));
        }
        text
    }
}

/// The two PEM files that Java reads certificates from.
#[derive(Debug)]
pub(super) struct Stores {
    key: PathBuf,
    trust: PathBuf,
}

impl Stores {
    /// Java wants a key and its certificate in one file.
    pub(super) fn create(
        directory: &Path,
        tls: Tls,
        certificates: &Certificates,
    ) -> Result<Self, Error> {
        let identity = match tls {
            Tls::Server | Tls::Mutual => &certificates.server,
            Tls::Expired => &certificates.expired,
            Tls::OtherCa => &certificates.other,
        };
        let key = directory.join("keystore.pem");
        fs::write(&key, identity.in_one()?).map_err(Error::io("cannot write", &key))?;
        Ok(Self { key, trust: certificates.ca.clone() })
    }
}
