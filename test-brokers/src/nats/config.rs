//! The configuration file of nats-server, which takes JSON values.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::builder::{Auth, Tls};
use crate::Certificates;

/// What one server's file is made from.
#[derive(Debug)]
pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    /// What to listen on, for clients and monitoring.
    pub(super) address: &'a str,
    pub(super) client_port: u16,
    pub(super) monitor_port: u16,
    /// Where JetStream keeps its data, if it is enabled.
    pub(super) store: Option<&'a Path>,
    pub(super) tls: Option<(Tls, &'a Certificates)>,
    pub(super) auth: &'a Auth,
    pub(super) cluster: Option<Cluster<'a>>,
    /// Appended as it is.
    pub(super) extra: &'a str,
}

/// A member's view of its cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster<'a> {
    pub(super) port: u16,
    /// The ports of all members.
    pub(super) all: &'a [u16],
}

impl Config<'_> {
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: Value| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}: {value}");
        };
        line("server_name", json!(self.name));
        line("listen", json!(format!("{}:{}", self.address, self.client_port)));
        line("http", json!(format!("{}:{}", self.address, self.monitor_port)));
        if let Some(store) = self.store {
            line("jetstream", json!({ "store_dir": store }));
        }
        if let Some((tls, certificates)) = self.tls {
            line("tls", tls_block(tls, certificates));
        }
        match self.auth {
            Auth::None => {}
            Auth::Token(token) => line("authorization", json!({ "token": token })),
            Auth::Users(users) => {
                let users: Vec<Value> = users.iter().map(super::User::to_config).collect();
                line("authorization", json!({ "users": users }));
            }
            Auth::Operator(lines) => {
                for (key, value) in lines {
                    line(key, value.clone());
                }
            }
        }
        if let Some(cluster) = self.cluster {
            let routes: Vec<String> = cluster
                .all
                .iter()
                .map(|port| format!("nats-route://{}", loopback(*port)))
                .collect();
            line(
                "cluster",
                json!({ "name": "test", "listen": loopback(cluster.port), "routes": routes }),
            );
        }
        text.push_str(self.extra);
        text
    }
}

fn tls_block(tls: Tls, certificates: &Certificates) -> Value {
    let identity = match tls {
        Tls::Server | Tls::Mutual => &certificates.server,
        Tls::Expired => &certificates.expired,
        Tls::OtherCa => &certificates.other,
    };
    let mut block = json!({
        "cert_file": identity.certificate,
        "key_file": identity.key,
        "timeout": 5,
    });
    if let Tls::Mutual = tls {
        block["ca_file"] = json!(certificates.ca);
        block["verify"] = json!(true);
    }
    block
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
