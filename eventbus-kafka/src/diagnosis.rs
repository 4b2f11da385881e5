//! What librdkafka says of a connection in words, and what a user can do about it.

use eventbus_core::ErrorKind;

/// What a kind of trouble means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) kind: ErrorKind,
    pub(crate) message: &'static str,
    /// A guess gives way to whatever is known later.
    pub(crate) is_guess: bool,
}

/// Parts of librdkafka's and OpenSSL's texts: the codes alone do not tell these apart.
const KNOWN: [(&[&str], Diagnosis); 4] = [
    (
        &["mechanism handshake failed"],
        certain(
            ErrorKind::Unauthorized,
            "the broker does not take this way to authenticate; set `sasl` to one that it takes, \
             or leave out the user",
        ),
    ),
    (
        &["certificate verify failed"],
        certain(
            ErrorKind::Unavailable,
            "the broker's certificate is not trusted here; set `tls_ca` to the authority that \
             signed it, and check its dates and host names",
        ),
    ),
    (
        &["alert bad certificate", "alert certificate", "alert unknown ca"],
        certain(
            ErrorKind::Unauthorized,
            "the broker wants a client certificate that it trusts; set `tls_cert` and `tls_key` \
             to one of its authority that has not expired",
        ),
    ),
    (
        &["PLAINTEXT broker listener"],
        certain(
            ErrorKind::Unavailable,
            "the broker does not speak TLS on this port; leave out `tls`, or name another port",
        ),
    ),
];

/// A broker that gets something else than it speaks says nothing. The state tells how far it
/// came.
const HANGS_UP: [(&str, Diagnosis); 2] = [
    (
        "in state APIVERSION_QUERY",
        guess("the broker hangs up; if it speaks TLS on this port, set `tls=true`"),
    ),
    (
        "in state UP",
        guess("the broker hangs up; if it wants a user, set `user`, `password` and `sasl`"),
    ),
];

const fn certain(kind: ErrorKind, message: &'static str) -> Diagnosis {
    Diagnosis { kind, message, is_guess: false }
}

const fn guess(message: &'static str) -> Diagnosis {
    Diagnosis { kind: ErrorKind::Unavailable, message, is_guess: true }
}

/// What trouble in these words means, if that is known.
pub(crate) fn diagnose(reason: &str) -> Option<Diagnosis> {
    let says = |part: &&str| reason.contains(*part);
    let known = KNOWN.iter().find(|(parts, _)| parts.iter().any(says));
    let hangs_up = || HANGS_UP.iter().find(|(state, _)| says(state) && says(&"Disconnected"));
    known.map(|(_, known)| *known).or_else(|| hangs_up().map(|(_, guess)| *guess))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_all_tls_versions() {
        for alert in [
            "sslv3 alert bad certificate: SSL alert number 42",
            "sslv3 alert certificate unknown: SSL alert number 46",
            "sslv3 alert certificate expired: SSL alert number 45",
            "tlsv1 alert unknown ca: SSL alert number 48",
            "tlsv13 alert certificate required: SSL alert number 116",
        ] {
            let diagnosis = diagnose(alert).unwrap();
            assert_eq!(diagnosis.kind, ErrorKind::Unauthorized, "{alert}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_reason_is_survived(before in ".{0,40}", at in 0..KNOWN.len(), after in ".{0,40}") {
            let _ = diagnose(&before);
            let (parts, known) = KNOWN[at];
            let found = diagnose(&format!("{before}{}{after}", parts[0]));
            proptest::prop_assert_eq!(found, Some(known));
        }
    }

    #[test]
    fn others_have_no_diagnosis() {
        assert_eq!(diagnose("1/1 brokers are down"), None);
        assert_eq!(diagnose("Connect to ipv4#127.0.0.1:1 failed: Connection refused"), None);
    }
}
