//! ONNX writer and packing.
