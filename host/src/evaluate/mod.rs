//! fp32 against int8: metrics, significance, latency, the report.
