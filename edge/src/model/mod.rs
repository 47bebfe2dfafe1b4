//! ONNX into tract, with fused int8 operators.
