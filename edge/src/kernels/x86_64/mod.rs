//! x86-64: AVX-512 with VNNI, and AVX2 with and without VNNI.
mod avx2;
mod avx512;

pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
