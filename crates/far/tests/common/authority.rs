//! Certificates for tests.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::fs;
use std::path::{Path, PathBuf};

/// An authority, which issues certificates into a folder.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    name: &'static str,
}

impl Authority {
    pub fn new(folder: &Path, name: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(folder.join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder: folder.into(), name }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// The files of a certificate for these names and of its key.
    pub fn issue(&self, file: &str, names: &[&str], year_of_end: i32) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|&name| name.into()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year_of_end, 1, 1));
        let place = |end: &str| self.folder.join(format!("{file}.{end}"));
        fs::write(place("crt"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(place("key"), key.serialize_pem()).unwrap();
        (place("crt"), place("key"))
    }
}
