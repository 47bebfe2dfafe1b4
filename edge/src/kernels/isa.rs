//! The instruction sets that have kernels, and detection of those that this processor has.
use core::fmt;
use core::str::FromStr;

use super::KernelError;

/// An instruction set with kernels of its own. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust for any processor: the oracle.
    Portable,
    /// x86-64 AVX2 with FMA.
    Avx2,
    /// x86-64 AVX2 with FMA and AVX-VNNI (`vpdpbusd` on 256 bits).
    AvxVnni,
    /// x86-64 AVX-512 with VNNI (`vpdpbusd` on 512 bits).
    Avx512Vnni,
    /// x86-64 AVX-512 with VNNI, and AMX (`tdpbssd` on tiles).
    Avx512Amx,
    /// aarch64 Advanced SIMD without dot product (Cortex-A53, A72).
    Neon,
    /// aarch64 with SDOT (Cortex-A55, A76).
    NeonDot,
    /// aarch64 with SMMLA (Cortex-A710, Neoverse V1).
    NeonI8mm,
}

impl Isa {
    /// Every instruction set, slowest first within an architecture.
    pub const ALL: [Isa; 8] = [
        Isa::Portable,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512Vnni,
        Isa::Avx512Amx,
        Isa::Neon,
        Isa::NeonDot,
        Isa::NeonI8mm,
    ];

    /// Returns the name that `GOLDCREST_ISA` and `Display` use.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512Vnni => "avx512-vnni",
            Isa::Avx512Amx => "avx512-amx",
            Isa::Neon => "neon",
            Isa::NeonDot => "neon-dot",
            Isa::NeonI8mm => "neon-i8mm",
        }
    }

    /// Returns whether this processor can run it. Without the feature `std`, only target features set at
    /// compile time count. For AMX it asks Linux for the tile registers, for the whole process.
    pub fn available(self) -> bool {
        super::table::of(self).is_some() && detected(self)
    }

    /// Returns the fastest one that this processor can run.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().rev().find(|isa| isa.available()).unwrap_or(Isa::Portable)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Isa, KernelError> {
        Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| KernelError::UnknownIsa { name: name.into() })
    }
}

/// `true` if all features are available: checked at run time with `std`, at compile time without.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has {
    ($detect:ident: $($feature:tt),+) => {{
        #[cfg(feature = "std")]
        { $(std::arch::$detect!($feature))&&+ }
        #[cfg(not(feature = "std"))]
        { $(cfg!(target_feature = $feature))&&+ }
    }};
}

#[cfg(target_arch = "x86_64")]
fn detected(isa: Isa) -> bool {
    match isa {
        Isa::Portable => true,
        Isa::Avx2 => has!(is_x86_feature_detected: "avx2", "fma"),
        Isa::AvxVnni => has!(is_x86_feature_detected: "avx2", "fma", "avxvnni"),
        Isa::Avx512Vnni => {
            has!(is_x86_feature_detected: "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vnni")
        }
        Isa::Avx512Amx => detected(Isa::Avx512Vnni) && super::x86_64::has_amx(),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn detected(isa: Isa) -> bool {
    match isa {
        Isa::Portable => true,
        // tiles assume the lane order of little-endian
        _ if cfg!(target_endian = "big") => false,
        Isa::Neon => has!(is_aarch64_feature_detected: "neon"),
        Isa::NeonDot => has!(is_aarch64_feature_detected: "neon", "dotprod"),
        Isa::NeonI8mm => has!(is_aarch64_feature_detected: "neon", "i8mm"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected(isa: Isa) -> bool {
    isa == Isa::Portable
}
