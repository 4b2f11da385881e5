//! Certificates for tests, made as they are needed.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::Error;

/// A certificate and its private key, as PEM files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, in PKCS #8.
    pub key: PathBuf,
}

impl Identity {
    /// The key and the certificate in one text, as Java reads them.
    pub fn in_one(&self) -> Result<String, Error> {
        let read = |path: &Path| fs::read_to_string(path).map_err(Error::io("cannot read", path));
        Ok(read(&self.key)? + &read(&self.certificate)?)
    }
}

/// An authority with what it signed, and a second authority that nobody trusts.
///
/// All identities are good for `localhost`, `127.0.0.1` and `::1`, as a server
/// and as a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Certificates {
    /// The authority that servers and clients trust, as a PEM file.
    pub ca: PathBuf,
    /// Signed by the authority, for a server.
    pub server: Identity,
    /// Signed by the authority, for a client; its common name is `client`.
    pub client: Identity,
    /// Signed by the authority, and expired.
    pub expired: Identity,
    /// The other authority, as a PEM file.
    pub other_ca: PathBuf,
    /// Signed by the other authority.
    pub other: Identity,
}

impl Certificates {
    /// Makes all of them and writes them to `directory`.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(Error::io("cannot create", directory))?;
        let ca = Authority::create(directory, "ca")?;
        let other_ca = Authority::create(directory, "other-ca")?;
        Ok(Self {
            server: ca.sign(directory, "server", Validity::Current)?,
            client: ca.sign(directory, "client", Validity::Current)?,
            expired: ca.sign(directory, "expired", Validity::Expired)?,
            other: other_ca.sign(directory, "other", Validity::Current)?,
            ca: ca.file,
            other_ca: other_ca.file,
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Validity {
    Current,
    Expired,
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn create(directory: &Path, name: &str) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let issuer = CertifiedIssuer::self_signed(params, key)?;
        let file = write(directory, &format!("{name}.pem"), &issuer.pem())?;
        Ok(Self { issuer, file })
    }

    fn sign(&self, directory: &Path, name: &str, validity: Validity) -> Result<Identity, Error> {
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if let Validity::Expired = validity {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: write(directory, &format!("{name}.pem"), &certificate.pem())?,
            key: write(directory, &format!("{name}.key"), &key.serialize_pem())?,
        })
    }
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = directory.join(name);
    fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
    Ok(path)
}
