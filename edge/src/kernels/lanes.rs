//! Sixteen virtual lanes: the one shape in which every float operator is written.
//!
//! A lane set is one AVX-512 register, two of AVX2, four of NEON, or an array. Operators are generic over
//! [`Lanes`] and compiled once per instruction set, so each runs the same IEEE-754 operations in the same order.
//!
//! Soundness: the methods are safe to call although they are made of intrinsics, because the SIMD types are
//! private to `kernels` and only named in the `#[target_feature]` entries of [`super::table`], which are reached
//! after the processor was asked.

/// Lanes in a set.
pub(super) const LANES: usize = 16;

/// Sixteen f32. All methods work lane by lane unless said.
pub(super) trait Lanes: Copy {
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
    /// The polynomial of [`GELU`] of two sets: what takes a set in a chain of twelve leaves room for another beside it.
    #[inline(always)]
    fn gelu_polynomials(x: [Self; 2]) -> [Self; 2] {
        [gelu_polynomial(x[0]), gelu_polynomial(x[1])]
    }
    /// `if self < b { self } else { b }`: `b` when either is NaN or both are zeros.
    fn min(self, b: Self) -> Self;
    /// `if self > b { self } else { b }`: `b` when either is NaN or both are zeros.
    fn max(self, b: Self) -> Self;
    /// Within `low` to `high`, neither of them zero; NaN, which must not be a signalling one, gives `low`.
    #[inline(always)]
    fn clamp(self, low: f32, high: f32) -> Self {
        self.at_least(low).min(Self::splat(high))
    }
    /// `low` or above, `low` not zero; NaN, which must not be a signalling one, gives `low`.
    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        self.max(Self::splat(low))
    }
    fn abs(self) -> Self;
    /// Adds the low integer of `n` (a float made by adding [`super::math::ROUND`]) to the exponent: `self * 2^n`.
    fn scale_by_power(self, n: Self) -> Self;
    /// The larger bit pattern, for non-negative floats: like `max`, but NaN is above infinity.
    fn max_bits(self, b: Self) -> Self;
    /// Lanes `n..` become zero.
    fn keep(self, n: usize) -> Self;
    /// The sum by the one tree: lane i + lane i+8, then i+4, i+2, i+1.
    fn sum(self) -> f32;
    /// [`Lanes::max`] over all lanes by the same tree.
    fn highest(self) -> f32;
    /// [`Lanes::max_bits`] over all lanes, as bits.
    fn highest_bits(self) -> u32;

    /// Up to sixteen floats, the missing ones zero.
    #[inline(always)]
    fn load_part(x: &[f32]) -> Self {
        let mut all = [0.0; LANES];
        all[..x.len()].copy_from_slice(x);
        Self::load(&all)
    }

    /// The first `to.len()` lanes.
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        let mut all = [0.0; LANES];
        self.store(&mut all);
        to.copy_from_slice(&all[..to.len()]);
    }

    /// Lanes from `x[i..]`, zeros past its end.
    #[inline(always)]
    fn at(x: &[f32], i: usize) -> Self {
        let rest = &x[i..];
        match rest.first_chunk() {
            Some(all) => Self::load(all),
            None => Self::load_part(rest),
        }
    }

    /// Writes lanes to `x[i..]`, none past its end.
    #[inline(always)]
    fn put(self, x: &mut [f32], i: usize) {
        let rest = &mut x[i..];
        match rest.first_chunk_mut() {
            Some(all) => self.store(all),
            None => self.store_part(rest),
        }
    }

    /// Lane `i` of set `j` becomes lane `j` of set `i`.
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

    /// NaN and infinities become the nearest finite number (NaN the lowest).
    #[inline(always)]
    fn finite(self) -> Self {
        self.clamp(-f32::MAX, f32::MAX)
    }
}

/// Coefficients of GELU's polynomial (see [`super::math::gelu`]), the highest power's first, each in all lanes.
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

/// The polynomial of [`GELU`] by Horner's rule.
#[inline(always)]
pub(super) fn gelu_polynomial<L: Lanes>(x: L) -> L {
    let mut p = L::splat(GELU[0][0]);
    for c in &GELU[1..] {
        p = p.fma(x, L::splat(c[0]));
    }
    p
}

/// The integer side of an instruction set: how activations and weights lie in memory, and the product of a tile.
pub(super) trait Dot: Lanes {
    /// Outputs of a panel of weights: a multiple of sixteen, at most [`MAX_COLUMNS`].
    const COLUMNS: usize;
    /// Rows of a tile, at most 8, or [`MAX_ROWS`] where they are [`Dot::EVEN`].
    const ROWS: usize;
    /// Whether all tiles of a product have one height, which [`Dot::begin`] is told; the last one begins early enough. They are
    /// [`Dot::even_tile`]s then.
    const EVEN: bool = false;
    /// Query rows that attention works on together, at most [`MAX_QUERIES`].
    const QUERIES: usize;
    /// Lane sets of keys (or of values) that attention works on together, 1 or 2: two share the loads of a query.
    const SETS: usize = 1;
    /// Inputs a step of a tile consumes: k is padded to a multiple, with zero weights.
    const STEP: usize;
    /// Bytes of an activation in memory.
    const ACTIVATION_BYTES: usize;
    /// What is added to an activation in memory; a tile starts from minus this times the sum of the weights.
    const OFFSET: i32;

    /// Inputs of a column that lie side by side in a panel: 1, 2, 4, 8 or 16.
    const GROUP: usize;
    /// Columns that lie side by side, group by group; then all their inputs, then the next so many columns.
    const STRIP: usize = Self::COLUMNS;

    /// Rounds half to even and stores sixteen activations. Lanes round to within ±127.
    ///
    /// # Safety
    /// `to` has room for `16 * ACTIVATION_BYTES` bytes.
    unsafe fn store_activations(self, to: *mut u8);

    /// `acc[r * COLUMNS + c] = start[c] + sum over k of activation[r][k] * weight[k][c]`, for `R` rows.
    ///
    /// Where tiles of all heights are inlined side by side, the compiler may join their ends, and for that keep the sums of the last
    /// row in memory: scripts/check-tiles tells. Then it is to be a function of its own, or assembly.
    ///
    /// # Safety
    /// Between [`Dot::begin`] and [`Dot::end`]. `x` holds `R` rows of `stride` bytes with `steps * STEP` activations each, `panel` `steps * STEP * COLUMNS`
    /// weights, on any boundary, `start` COLUMNS values, `acc` room for `R * COLUMNS`.
    unsafe fn tile<const R: usize>(
        x: *const u8,
        stride: usize,
        panel: *const i8,
        steps: usize,
        start: *const i32,
        acc: *mut i32,
    );

    /// As [`Dot::tile`] for as many rows as [`Dot::begin`] was told, with sums that start from zero.
    ///
    /// # Safety
    /// As for [`Dot::tile`], with those rows; tiles are [`Dot::EVEN`].
    #[inline(always)]
    unsafe fn even_tile(
        _x: *const u8,
        _stride: usize,
        _panel: *const i8,
        _steps: usize,
        _turn: Turn,
        _acc: *mut i32,
    ) {
        unreachable!("tiles of this instruction set are not even");
    }

    /// Called before the tiles of a product, of which the highest has so many rows.
    ///
    /// # Safety
    /// `rows` is 1 to [`Dot::ROWS`].
    #[inline(always)]
    unsafe fn begin(_rows: usize) {}

    /// Called after them.
    ///
    /// # Safety
    /// [`Dot::begin`] was called before, in this thread.
    #[inline(always)]
    unsafe fn end() {}
}

/// Which of the tiles that read the same panel of weights: they come one after the other, and the next panel lies behind.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AMX has even tiles"))]
pub(super) struct Turn {
    pub tile: usize,
    pub tiles: usize,
}

/// Bound of [`Dot::COLUMNS`].
pub(super) const MAX_COLUMNS: usize = 48;
/// Bound of [`Dot::ROWS`].
pub(super) const MAX_ROWS: usize = 16;
/// Bound of [`Dot::QUERIES`].
pub(super) const MAX_QUERIES: usize = 8;
