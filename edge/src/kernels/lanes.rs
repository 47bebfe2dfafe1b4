//! Sixteen virtual lanes, over which every float operator is written.
//!
//! A lane set is one AVX-512 register, two of AVX2, four of NEON, or an array. Operators are generic over
//! [`Lanes`] and compiled once per instruction set, so each runs the same IEEE-754
//! operations in the same order.
//!
//! Soundness: the methods are safe to call although they use intrinsics, because the SIMD types are private
//! to `kernels` and named only in the `#[target_feature]` entries of [`super::table`], which are reached only
//! after the processor's features were checked.

/// Lanes in a set.
pub(super) const LANES: usize = 16;

/// Sixteen f32. Methods work lane by lane unless stated otherwise.
pub(super) trait Lanes: Copy {
    /// Whether [`fetch`](Lanes::fetch) does anything: on processors that are known to wait for weights.
    const FETCHES: bool = false;

    /// Fetches a line into the second-level cache.
    #[inline(always)]
    fn fetch(_line: *const u8) {}

    fn splat(x: f32) -> Self;
    fn load(x: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn from_i32(x: &[i32; LANES]) -> Self;
    fn from_i8(x: &[i8; LANES]) -> Self;
    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `factors[LANE] * b + self`, rounded once.
    #[inline(always)]
    fn add_scaled<const LANE: i32>(self, factors: &[f32; 4], b: Self) -> Self {
        Self::splat(factors[LANE as usize]).fma(b, self)
    }
    /// Evaluates the polynomial of [`GELU`] for two sets. One set is a chain of twelve dependent steps, so a
    /// second one fits into the gaps.
    #[inline(always)]
    fn gelu_polynomials(x: [Self; 2]) -> [Self; 2] {
        [gelu_polynomial(x[0]), gelu_polynomial(x[1])]
    }
    /// `if self < b { self } else { b }`: `b` when either is NaN or both are zeros.
    fn min(self, b: Self) -> Self;
    /// `if self > b { self } else { b }`: `b` when either is NaN or both are zeros.
    fn max(self, b: Self) -> Self;
    /// Clamps to `low` to `high`, neither of which may be zero. NaN, which must not be a signalling one,
    /// gives `low`.
    #[inline(always)]
    fn clamp(self, low: f32, high: f32) -> Self {
        self.at_least(low).min(Self::splat(high))
    }
    /// Raises values below `low`, which may not be zero. NaN, which must not be a
    /// signalling one, gives `low`.
    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        self.max(Self::splat(low))
    }
    fn abs(self) -> Self;
    /// Returns `self * 2^n`: adds the integer in the low bits of `n` (a float made by adding
    /// [`super::math::ROUND`]) to the exponent.
    fn scale_by_power(self, n: Self) -> Self;
    /// Returns the larger bit pattern of non-negative floats: like `max`, but NaN is above infinity.
    fn max_bits(self, b: Self) -> Self;
    /// Sets lanes `n..` to zero.
    fn keep(self, n: usize) -> Self;
    /// Adds all lanes in a fixed tree: lane i + lane i+8, then i+4, i+2, i+1.
    fn sum(self) -> f32;
    /// [`Lanes::max`] over all lanes, in the same tree.
    fn highest(self) -> f32;
    /// [`Lanes::max_bits`] over all lanes, as bits.
    fn highest_bits(self) -> u32;

    /// Loads up to sixteen floats; missing ones are zero.
    #[inline(always)]
    fn load_part(x: &[f32]) -> Self {
        let mut all = [0.0; LANES];
        all[..x.len()].copy_from_slice(x);
        Self::load(&all)
    }

    /// Stores the first `to.len()` lanes.
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        to.copy_from_slice(&all[..to.len()]);
    }

    /// Loads lanes from `x[i..]`, with zeros past its end.
    #[inline(always)]
    fn at(x: &[f32], i: usize) -> Self {
        let rest = &x[i..];
        match rest.first_chunk() {
            Some(all) => Self::load(all),
            None => Self::load_part(rest),
        }
    }

    /// Stores lanes to `x[i..]`, none past its end.
    #[inline(always)]
    fn put(self, x: &mut [f32], i: usize) {
        let rest = &mut x[i..];
        match rest.first_chunk_mut() {
            Some(all) => self.store(all),
            None => self.store_part(rest),
        }
    }

    /// Moves lane `i` of set `j` to lane `j` of set `i`.
    #[inline(always)]
    fn transpose(sets: [Self; LANES]) -> [Self; LANES] {
        let mut from = [[0.0; LANES]; LANES];
        for (set, to) in sets.into_iter().zip(&mut from) {
            set.store(to);
        }
        let mut turned = sets;
        for (i, set) in turned.iter_mut().enumerate() {
            let mut column = [0.0; LANES];
            for (to, row) in column.iter_mut().zip(&from) {
                *to = row[i];
            }
            *set = Self::load(&column);
        }
        turned
    }

    /// Replaces NaN and infinities by the nearest finite number (NaN by the lowest).
    #[inline(always)]
    fn finite(self) -> Self {
        self.clamp(-f32::MAX, f32::MAX)
    }
}

/// Coefficients of GELU's polynomial (see [`super::math::gelu`]), from the highest power
/// down, each in all lanes.
pub(super) static GELU: [[f32; LANES]; 12] = {
    let coefficients = [
        -0.001_051_867_5,
        0.003_176_931_5,
        -0.003_991_388,
        0.005_149_223_4,
        -0.010_077_447,
        0.016_884_895,
        -0.023_656_813,
        0.031_363_755,
        -0.040_387_377,
        0.051_524_736,
        -0.070_298_4,
        0.141_363_75,
    ];
    let mut all = [[0.0; LANES]; 12];
    let mut i = 0;
    while i < all.len() {
        all[i] = [coefficients[i]; LANES];
        i += 1;
    }
    all
};

/// Evaluates the polynomial of [`GELU`] by Horner's rule.
#[inline(always)]
pub(super) fn gelu_polynomial<L: Lanes>(x: L) -> L {
    let mut p = L::splat(GELU[0][0]);
    for c in &GELU[1..] {
        p = p.fma(x, L::splat(c[0]));
    }
    p
}

/// The integer side of an instruction set: the memory layout of activations and weights,
/// and the product of a tile.
pub(super) trait Dot: Lanes {
    /// Outputs per panel of weights: a multiple of sixteen, at most [`MAX_COLUMNS`].
    const COLUMNS: usize;
    /// Maximum rows per tile: at most 8, or [`MAX_ROWS`] for [`Dot::EVEN`] tiles.
    const ROWS: usize;
    /// Whether all tiles of a product have the same height, which is passed to [`Dot::begin`]; the last one
    /// may overlap the one before. They are computed by [`Dot::even_tile`].
    const EVEN: bool = false;
    /// Query rows that attention computes together, at most [`MAX_QUERIES`].
    const QUERIES: usize;
    /// Lane sets of keys (or of values) that attention computes together, 1 or 2: two
    /// share the loads of a query.
    const SETS: usize = 1;
    /// Inputs that a tile consumes per step: k is padded to a multiple of it, with zero weights.
    const STEP: usize;
    /// Bytes per activation in memory.
    const ACTIVATION_BYTES: usize;
    /// Offset that is added to activations in memory. To compensate for it, sums start from `-OFFSET` times
    /// the sum of the weights.
    const OFFSET: i32;

    /// Inputs of a column that are side by side in a panel: 1, 2, 4, 8 or 16.
    const GROUP: usize;
    /// Columns per strip of a panel. A strip has one group of inputs of each of its columns, then the next
    /// groups, until all inputs are there; then the next strip follows.
    const STRIP: usize = Self::COLUMNS;

    /// Rounds half to even and stores sixteen activations. Lanes must round to within ±127.
    ///
    /// # Safety
    /// `to` has room for `16 * ACTIVATION_BYTES` bytes.
    unsafe fn store_activations(self, to: *mut u8);

    /// For `R` rows, computes
    /// `acc[r * COLUMNS + c] = start[c] + sum over k of activation[r][k] * weight[k][c]`. Without an
    /// [`OFFSET`](Dot::OFFSET), `start` is zeros and need not be read.
    ///
    /// If tiles of all heights are inlined side by side, the compiler may merge their ends and, to do so,
    /// keep the sums of the last row in memory. scripts/check-tiles detects this; the tile must then be a
    /// separate function, or assembly.
    ///
    /// # Safety
    /// The call is between [`Dot::begin`] and [`Dot::end`]. `steps` is not 0. `x` has `R` rows of `stride` bytes, with
    /// `steps * STEP` activations each; `panel` has `steps * STEP * COLUMNS` weights of any alignment; `start` has
    /// COLUMNS values; `acc` has room for `R * COLUMNS` values.
    unsafe fn tile<const R: usize>(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        start: *const i32,
        acc: *mut i32,
    );

    /// Like [`Dot::tile`], for as many rows as [`Dot::begin`] was told, with sums that start from zero.
    ///
    /// # Safety
    /// The same as for [`Dot::tile`], with that number of rows; tiles are [`Dot::EVEN`].
    #[inline(always)]
    unsafe fn even_tile(
        _x: *const u8,
        _stride: usize,
        _panel: *const i8,
        _steps: usize,
        _order: TileOrder,
        _acc: *mut i32,
    ) {
        unreachable!("tiles of this instruction set are not even");
    }

    /// Called before the tiles of a product, the highest of which has `rows` rows.
    ///
    /// # Safety
    /// `rows` is 1 to [`Dot::ROWS`].
    #[inline(always)]
    unsafe fn begin(_rows: usize) {}

    /// Called after the tiles of a product.
    ///
    /// # Safety
    /// [`Dot::begin`] was called before, on this thread.
    #[inline(always)]
    unsafe fn end() {}
}

/// The position of a tile among those that read the same panel of weights. They run one after another, and
/// the next panel follows in memory.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX has even tiles"))]
pub(super) struct TileOrder {
    pub tile: usize,
    pub tiles: usize,
}

/// Maximum of [`Dot::COLUMNS`].
pub(super) const MAX_COLUMNS: usize = 48;
/// Maximum of [`Dot::ROWS`].
pub(super) const MAX_ROWS: usize = 16;
/// Maximum of [`Dot::QUERIES`].
pub(super) const MAX_QUERIES: usize = 8;
