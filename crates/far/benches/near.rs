//! What a near hit costs, beside reads of the same value from the near file without the far tier.
//!
//! `cargo bench -p kennel-far --bench near`. It needs a server: without one it measures nothing and says so.
#![allow(missing_docs, reason = "macros make items without")]

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[allow(dead_code)]
#[path = "../tests/common/server.rs"]
mod server;

#[cfg(unix)]
fn main() {
    unix::run();
}

#[cfg(unix)]
mod unix {
    use super::server::{self, Server};
    use criterion::Criterion;
    use kennel_far::{Expiry, Far, Options, inspect};
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    const KEY: &str = "app:user:0000007";
    const VALUE: [u8; 64] = [7; 64];

    pub(super) fn run() {
        let Some(program) = server::program() else {
            println!("left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
            return;
        };
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let server = Server::start(&program, folder.path());
        let near = folder.path().join("near");
        let far = Options::new(server.url())
            .prefix("app:")
            .near(kennel::Options::new().capacity(1 << 20))
            .open(&near)
            .expect("a near file");
        far.set(KEY, VALUE, Expiry::Never).expect("a set");
        until_near(&far);

        // The same value, with an end as near values have: in the same namespace, and in none.
        let file = kennel::Options::new().open(&near).expect("the near file");
        let tier = inspect(&near, &kennel::Options::new()).expect("the near file").pop().expect("its near tier");
        let name = tier.namespace;
        let namespace = file.namespace(&name, &kennel::NamespaceOptions::new()).expect("its handle");
        let how = kennel::SetOptions::new().expiry(Expiry::After(Duration::from_secs(3600)));
        file.set_with(KEY, VALUE, &how).expect("a set");

        let mut criterion = Criterion::default().configure_from_args();
        let mut group = criterion.benchmark_group("hit of 64 B");
        let mut buf = [0; 64];
        group.bench_function("Cache::get_into", |b| b.iter(|| file.get_into(black_box(KEY), &mut buf)));
        group.bench_function("Cache::get_into in a namespace", |b| {
            b.iter(|| namespace.get_into(black_box(KEY), &mut buf));
        });
        group.bench_function("Cache::get in a namespace", |b| b.iter(|| namespace.get(black_box(KEY))));
        group.bench_function("Far::get_into", |b| b.iter(|| far.get_into(black_box(KEY), &mut buf)));
        group.bench_function("Far::get", |b| b.iter(|| far.get(black_box(KEY))));
        group.finish();
        let fetches = far.stats();
        println!("{} near hits, {} far reads", fetches.hits, fetches.fills + fetches.bypasses);
        criterion.final_summary();
    }

    fn until_near(far: &Far) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while far.stats().hits < 2 {
            assert!(Instant::now() < deadline, "the near tier is not proved: {:?}", far.problem());
            far.get(KEY).expect("a read");
        }
    }
}
