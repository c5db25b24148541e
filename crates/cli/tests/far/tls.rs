//! TLS with a server that was built with it.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::fixture::{Expect as _, kennel};
use crate::server::{Place, program, wait_until};

#[test]
fn the_server_s_certificate_is_checked() {
    let Some(mut place) = Place::without_server() else { return };
    let folder = place.dir.path().to_owned();
    let file = |name: &str| folder.join(name).display().to_string();
    let (authority, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(file("ca"), params.self_signed(&authority).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, authority);
    let server = CertificateParams::new(vec!["cache.internal".into()]).unwrap().signed_by(&own, &issuer).unwrap();
    fs::write(file("crt"), server.pem()).unwrap();
    fs::write(file("key"), own.serialize_pem()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let files = ["--tls-cert-file", &file("crt"), "--tls-key-file", &file("key"), "--tls-ca-cert-file", &file("ca")];
    let options = [&["--tls-port", &port, "--tls-auth-clients", "no"][..], &files[..]].concat();
    if !speaks_tls(&options) {
        println!("left out, because the server was built without TLS");
        return;
    }
    place.start(&options);
    let (url, ca) = (format!("rediss://127.0.0.1:{port}"), file("ca"));
    let far = |name: &str, args: &[&str]| {
        let near = ["--prefix", "app:"];
        kennel().args(["far", name, &url]).arg(&place.near).args(args).args(near).output().unwrap()
    };
    let known = ["--tls-ca", &ca, "--tls-name", "cache.internal"];
    let log = fs::File::create(file("log")).unwrap();
    let mut keep = kennel();
    keep.args(["far", "keep", &url]).arg(&place.near).args(["--prefix", "app:"]).args(known).stdout(log);
    let mut keep = keep.stdin(Stdio::null()).spawn().unwrap();
    wait_until("nothing is proved", || place.is_proved());
    far("set", &[&["app:k", "Ann"], &known[..]].concat()).expect_status(0);
    assert_eq!(far("get", &[&["app:k"], &known[..]].concat()).expect_status(0).text(), "Ann");
    far("get", &["app:k", "--tls-ca", &ca]).expect_status(2).expect_error("certificate");
    far("get", &["app:k", "--tls-name", "cache.internal"]).expect_status(2).expect_error("certificate");
    far("get", &["app:k", "--tls-cert", &ca]).expect_status(2).expect_error("--tls-key");
    keep.kill().unwrap();
    keep.wait().unwrap();
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
