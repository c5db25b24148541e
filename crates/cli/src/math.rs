//! Replaces the few functions of `libm.so.6` that the program calls by those of a Rust crate, under the names of the C
//! library. The program then loads one library less, which makes `kennel memo` start faster.
//!
//! Other systems have no separate library for these functions.
#![cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
#![expect(unsafe_code, reason = "names that the linker looks for")]

/// Defines a function of the C library that calls the function of the same name in the crate.
macro_rules! define {
    ($($name:ident($($argument:ident),+);)*) => {$(
        // SAFETY: it has the signature and the meaning of the C library's function of this name.
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: f64),+) -> f64 {
            libm::$name($($argument),+)
        }
    )*};
}

define! {
    exp(x);
    exp2(x);
    log(x);
    log2(x);
    log10(x);
    pow(x, y);
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_the_function_of_its_name() {
        let x = std::hint::black_box(2.5_f64);
        let pairs = [
            (x.exp(), 12.182_493_960_703_473),
            (x.exp2(), 5.656_854_249_492_381),
            (x.ln(), 0.916_290_731_874_155),
            (x.log2(), 1.321_928_094_887_362_3),
            (x.log10(), 0.397_940_008_672_037_6),
            (x.powf(1.5), 3.952_847_075_210_474),
        ];
        for (found, expected) in pairs {
            assert!((found - expected).abs() < 1e-14, "expected {expected}, found {found}");
        }
    }
}
