fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let p = std::path::Path::new(&dir).join("x.cache");
    let _ = std::fs::remove_file(&p);
    let c = kennel::Options::new().capacity(1 << 20).mean_item(80).seed(1).create(&p).unwrap();
    for i in 0..1000u64 {
        let mut k = *b"item:00000000000";
        k[8..].copy_from_slice(&i.to_le_bytes());
        c.set(k, [7u8; 64]).unwrap();
    }
    let mut b = [0u8; 64];
    for j in 0..n {
        let i = j % 1000;
        let mut k = *b"item:00000000000";
        k[8..].copy_from_slice(&i.to_le_bytes());
        std::hint::black_box(c.get_into(k, &mut b)).unwrap().unwrap();
    }
    let _ = kennel::Options::new().destroy(&p);
}
