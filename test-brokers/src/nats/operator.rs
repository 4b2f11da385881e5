use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::users::Nkey;
use crate::Error;

/// An operator with one account: users prove themselves with signed credentials,
/// as with a hosted NATS.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::{Nats, Operator};
/// let operator = Operator::generate()?;
/// let nats = Nats::builder().operator(&operator).start().await?;
/// let file = nats.directory().join("billing.creds");
/// std::fs::write(&file, operator.credentials("billing")?).expect("a writable directory");
/// # Ok(())
/// # }
/// ```
pub struct Operator {
    account: KeyPair,
    config: Vec<(&'static str, Value)>,
}

impl Operator {
    /// With new keys.
    pub fn generate() -> Result<Self, Error> {
        let operator = KeyPair::new_operator();
        let system = KeyPair::new_account().public_key();
        let account = KeyPair::new_account();
        let public = account.public_key();
        let claims = json!({ "type": "operator", "version": 2, "system_account": system });
        let token = sign(&operator, &operator.public_key(), "operator", &claims)?;
        // The system account must have no JetStream.
        let accounts = json!({
            (system.as_str()): account_token(&operator, &system, "system", 0)?,
            (public.as_str()): account_token(&operator, &public, "account", -1)?,
        });
        Ok(Self {
            account,
            config: vec![
                ("operator", json!(token)),
                ("system_account", json!(system)),
                ("resolver", json!("MEMORY")),
                ("resolver_preload", accounts),
            ],
        })
    }

    /// The text of a credentials file for a new user of the account.
    pub fn credentials(&self, user: &str) -> Result<String, Error> {
        let key = Nkey::generate()?;
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let token = sign(&self.account, key.public(), user, &claims)?;
        let seed = key.seed();
        Ok(format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))
    }

    /// The lines of the server's configuration.
    pub(super) fn config(&self) -> &[(&'static str, Value)] {
        &self.config
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Operator")
            .field("account", &self.account.public_key())
            .finish_non_exhaustive()
    }
}

/// `storage` is how much JetStream may keep, -1 for no limit.
fn account_token(
    operator: &KeyPair,
    account: &str,
    name: &str,
    storage: i64,
) -> Result<String, Error> {
    let claims = json!({
        "type": "account",
        "version": 2,
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": storage, "disk_storage": storage,
            "streams": storage, "consumer": storage,
        },
    });
    sign(operator, account, name, &claims)
}

/// A JWT about `subject`, as NATS has them.
fn sign(issuer: &KeyPair, subject: &str, name: &str, nats: &Value) -> Result<String, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": subject,
        "iat": now.as_secs(),
        "iss": issuer.public_key(),
        "sub": subject,
        "name": name,
        "nats": nats,
    });
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = issuer.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}
