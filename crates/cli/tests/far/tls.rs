//! TLS with a server that was built with it.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::fixture::{Expect as _, kennel};
use crate::server::{Place, program, wait_until};

/// A server that speaks TLS, and its authority.
struct Encrypted {
    place: Place,
    url: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Encrypted {
    /// `asks`: whether the server wants a certificate of the client. `None`: there is no server, or one without TLS.
    fn start(asks: &str) -> Option<Self> {
        let place = Place::without_server()?;
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(place.dir.path().join("ca"), params.self_signed(&authority).unwrap().pem()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let url = format!("rediss://127.0.0.1:{port}");
        let mut encrypted = Self { place, url, issuer: Issuer::new(params, authority) };
        encrypted.issue("server", &["cache.internal"]);
        let [crt, key, ca] = ["server.crt", "server.key", "ca"].map(|name| encrypted.file(name));
        let files = ["--tls-cert-file", &crt, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let options = [&["--tls-port", &port, "--tls-auth-clients", asks][..], &files[..]].concat();
        if !speaks_tls(&options) {
            println!("left out, because the server was built without TLS");
            return None;
        }
        encrypted.place.start(&options);
        Some(encrypted)
    }

    fn file(&self, name: &str) -> String {
        self.place.dir.path().join(name).display().to_string()
    }

    /// Writes a certificate for these hosts, and its key.
    fn issue(&self, name: &str, hosts: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(hosts.iter().map(|&host| host.into()).collect::<Vec<_>>()).unwrap();
        // With the name of the authority it would look as if it were signed by itself.
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(self.file(&format!("{name}.crt")), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// `kennel far NAME URL FILE ARGS --prefix app:`
    fn far(&self, name: &str, args: &[&str]) -> Output {
        let near = ["--prefix", "app:"];
        kennel().args(["far", name, &self.url]).arg(&self.place.near).args(args).args(near).output().unwrap()
    }
}

#[test]
fn the_server_s_certificate_is_checked() {
    let Some(encrypted) = Encrypted::start("no") else { return };
    let ca = encrypted.file("ca");
    let known = ["--tls-ca", &ca, "--tls-name", "cache.internal"];
    let log = fs::File::create(encrypted.file("log")).unwrap();
    let mut keep = kennel();
    keep.args(["far", "keep", &encrypted.url]).arg(&encrypted.place.near).args(["--prefix", "app:"]).args(known);
    let mut keep = keep.stdout(log).stdin(Stdio::null()).spawn().unwrap();
    wait_until("nothing is proved", || encrypted.place.is_proved());
    encrypted.far("set", &[&["app:k", "Ann"], &known[..]].concat()).expect_status(0);
    assert_eq!(encrypted.far("get", &[&["app:k"], &known[..]].concat()).expect_status(0).text(), "Ann");
    encrypted.far("get", &["app:k", "--tls-ca", &ca]).expect_status(2).expect_error("certificate");
    encrypted.far("get", &["app:k", "--tls-name", "cache.internal"]).expect_status(2).expect_error("certificate");
    encrypted.far("get", &["app:k", "--tls-cert", &ca]).expect_status(2).expect_error("--tls-key");
    keep.kill().unwrap();
    keep.wait().unwrap();
}

/// `check` and `demo` start processes of their own, which connect as they do.
#[test]
fn checks_benches_and_demos_trust_an_authority_and_show_a_certificate() {
    let Some(encrypted) = Encrypted::start("yes") else { return };
    encrypted.issue("client", &["client"]);
    let [ca, crt, key] = ["ca", "client.crt", "client.key"].map(|name| encrypted.file(name));
    let named = ["--tls-ca", &ca, "--tls-name", "cache.internal"];
    let known = [&named[..], &["--tls-cert", &crt, "--tls-key", &key]].concat();
    let url = encrypted.url.as_str();
    let run = |args: &[&str], tls: &[&str]| kennel().arg("far").args(args).args(tls).output().unwrap();
    let text = run(&["check", url, "--seconds", "2", "--workers", "1"], &known).expect_status(0).text();
    assert!(text.trim_end().ends_with("violations 0"), "{text}");
    let text = run(&["bench", url, "--seconds", "0.05"], &known).expect_status(0).text();
    assert!(text.contains("get_fresh"), "{text}");
    let text = run(&["demo", "--seconds", "2", "--url", url], &known).expect_status(0).text();
    assert!(text.contains("  wrong         0 of "), "{text}");
    for args in [["check", url].as_slice(), &["bench", url], &["demo", "--url", url]] {
        run(args, &named).expect_status(2).expect_error("certificate of the client");
        run(args, &["--tls-cert", &crt, "--tls-key", &key]).expect_status(2).expect_error("certificate");
        run(args, &["--tls-ca", &encrypted.file("none")]).expect_status(2).expect_error("none");
    }
    run(&["check", "redis://127.0.0.1:1"], &["--tls-ca", &ca]).expect_status(2).expect_error("rediss");
}

/// A server that was built without TLS ends at once: it does not know these options.
fn speaks_tls(options: &[&str]) -> bool {
    let Some(program) = program() else { return false };
    let mut command = Command::new(program);
    let ends = [&["--port", "0"][..], options].concat();
    let mut server = command.args(ends).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let is_running = server.try_wait().unwrap().is_none();
    let _ = server.kill();
    let _ = server.wait();
    is_running
}
