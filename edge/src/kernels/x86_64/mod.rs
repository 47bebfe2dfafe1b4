//! x86-64: AVX-512 with VNNI or AMX, and AVX2 with and without VNNI.
mod amx;
mod avx2;
mod avx512;

pub(super) use amx::available as has_amx;
pub(super) use avx2::Avx2;
pub(super) use avx512::Avx512;
