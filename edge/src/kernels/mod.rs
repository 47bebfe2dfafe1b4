//! Integer and float kernels; the portable ones are the oracle.
