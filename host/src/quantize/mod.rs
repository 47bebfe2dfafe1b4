//! Post-training quantization by the numeric contract.
