//! TLS: files that cannot be used, and what a failed handshake means.

use std::{error::Error as StdError, io, path::Path};

use async_nats::rustls::{
    AlertDescription, CertificateError, Error as TlsError,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use eventbus_core::{Error, ErrorKind};

use crate::{
    config::{NatsConfig, invalid},
    error,
};

/// Reads the files of the configuration, so that an error can name the one that is wrong.
/// Blocks.
pub(crate) fn check_files(config: &NatsConfig) -> Result<(), Error> {
    if let Some(path) = &config.tls_ca {
        check_certificates("tls_ca", path)?;
    }
    if let Some(path) = &config.tls_cert {
        check_certificates("tls_cert", path)?;
    }
    if let Some(path) = &config.tls_key {
        PrivateKeyDer::from_pem_file(path).map_err(|failure| {
            unusable("tls_key", "no readable PEM file with a private key", path, &failure)
        })?;
    }
    Ok(())
}

fn check_certificates(parameter: &'static str, path: &Path) -> Result<(), Error> {
    let read = || {
        let mut all = CertificateDer::pem_file_iter(path)?;
        all.next().unwrap_or(Err(pem::Error::NoItemsFound))
    };
    read().map(|_| ()).map_err(|failure| {
        unusable(parameter, "no readable PEM file with a certificate", path, &failure)
    })
}

fn unusable(
    parameter: &'static str,
    message: &'static str,
    path: &Path,
    failure: &pem::Error,
) -> Error {
    // The other texts may quote the file, which may be the wrong one and secret.
    let cause = match failure {
        pem::Error::Io(failure) => failure.kind().to_string(),
        pem::Error::NoItemsFound => "it has none".to_owned(),
        _ => "it is not PEM".to_owned(),
    };
    unreadable(parameter, message, path).with_context("cause:", cause)
}

/// The error of a file of the configuration that cannot be used.
pub(crate) fn unreadable(parameter: &'static str, message: &'static str, path: &Path) -> Error {
    invalid(parameter, message).with_backend(crate::SCHEME).with_context("file", path.display())
}

/// What the failure of a handshake means; `None` when it was something else.
pub(crate) fn explain(failure: &async_nats::ConnectError, has_certificate: bool) -> Option<Error> {
    let (kind, message) = match find(failure)? {
        TlsError::InvalidCertificate(why) => (ErrorKind::Unavailable, of_the_server(why)),
        TlsError::AlertReceived(alert) => of_the_client(*alert, has_certificate),
        TlsError::InvalidMessage(_) => (
            ErrorKind::Unavailable,
            "the TLS handshake failed: the server does not speak TLS (or, with `tls_first`, not \
             before its greeting); set it up there, or connect without `tls` and `tls_first`",
        ),
        _ => (ErrorKind::Unavailable, "the TLS handshake failed"),
    };
    Some(error::error(kind, message))
}

fn of_the_server(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the TLS handshake failed: the server's certificate is from an authority that is not \
             trusted here; set `tls_ca` to the PEM file of its authority"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the TLS handshake failed: the server's certificate has expired; renew it, or set \
             this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the TLS handshake failed: the server's certificate is not valid yet; set the clocks"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the TLS handshake failed: the server's certificate is for another host; connect to \
             a name or address that it lists"
        }
        CertificateError::Revoked => {
            "the TLS handshake failed: the server's certificate was revoked; replace it"
        }
        _ => "the TLS handshake failed: the server's certificate cannot be accepted",
    }
}

fn of_the_client(alert: AlertDescription, has_certificate: bool) -> (ErrorKind, &'static str) {
    let message = match alert {
        // TLS 1.2 has no alert of its own for a missing certificate.
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::HandshakeFailure
            if !has_certificate =>
        {
            "the server wants a client certificate, and none is configured; set `tls_cert` and \
             `tls_key`"
        }
        AlertDescription::UnknownCA => {
            "the server does not trust the authority of the client certificate; set `tls_cert` to \
             one from an authority that the server trusts"
        }
        AlertDescription::CertificateExpired => {
            "the client certificate has expired; renew the one in `tls_cert`"
        }
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            "the server refused the client certificate; check `tls_cert`"
        }
        _ => {
            return (
                ErrorKind::Unavailable,
                "the TLS handshake failed: the server broke it off; its log says why",
            );
        }
    };
    (ErrorKind::Unauthorized, message)
}

/// The TLS error within, which an I/O error does not give as its source.
fn find<'a>(failure: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(failure);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use async_nats::{ConnectError, ConnectErrorKind};

    use super::*;

    fn explained(failure: TlsError, has_certificate: bool) -> Error {
        let io = io::Error::new(io::ErrorKind::InvalidData, failure);
        let failure = ConnectError::with_source(ConnectErrorKind::Io, io);
        explain(&failure, has_certificate).unwrap()
    }

    #[test]
    fn the_servers_certificate_is_not_the_users_fault() {
        for (why, said) in [
            (CertificateError::UnknownIssuer, "tls_ca"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidForName, "another host"),
            (CertificateError::Revoked, "revoked"),
        ] {
            let error = explained(TlsError::InvalidCertificate(why), true);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_missing_certificate_is_told_from_a_bad_one() {
        for (alert, has_certificate, said) in [
            (AlertDescription::CertificateRequired, false, "none is configured"),
            (AlertDescription::BadCertificate, false, "none is configured"),
            (AlertDescription::BadCertificate, true, "refused the client certificate"),
            (AlertDescription::UnknownCA, true, "does not trust"),
            (AlertDescription::CertificateExpired, true, "has expired"),
        ] {
            let error = explained(TlsError::AlertReceived(alert), has_certificate);
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn other_failures_are_left_alone() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failure = ConnectError::with_source(ConnectErrorKind::Io, refused);
        assert!(explain(&failure, true).is_none());
    }
}
