//! What the fuzz targets stand on: each is a function of bytes, which libFuzzer drives (feature `libfuzzer`), or a test
//! that runs it over seeds.
//!
//! The seeds of a target are lines of `seeds/NAME.txt`, escaped as Rust escapes bytes. What a fuzzer finds is added there.

pub mod seeds;

/// A target: a closure over any input that the crate `arbitrary` can make of bytes. It may panic only for a bug.
#[macro_export]
macro_rules! target {
    (|$input:ident: $kind:ty| $body:block) => {
        #[cfg(feature = "libfuzzer")]
        libfuzzer_sys::fuzz_target!(|$input: $kind| $body);

        #[cfg(not(feature = "libfuzzer"))]
        pub fn run(bytes: &[u8]) {
            fn check($input: $kind) $body
            $crate::seeds::input(bytes, check);
        }
    };
}
