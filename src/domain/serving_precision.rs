//! What students answer in.

use serde::Deserialize;

use super::Precision;

/// The arithmetic of answers. Never fp16: T5 overflows in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServingPrecision {
    /// `bf16` where the processor multiplies it natively, else `fp32`.
    Auto,
    /// bf16 weights and matrix products.
    Bf16,
    /// fp32 throughout.
    Fp32,
    /// Weights in eight bits, bf16 matrix products. It only answers: no training computes in it.
    Int8,
}

impl ServingPrecision {
    /// What matrix products are computed in.
    pub fn products(self) -> Precision {
        match self {
            Self::Auto => Precision::Auto,
            Self::Bf16 | Self::Int8 => Precision::Bf16,
            Self::Fp32 => Precision::Fp32,
        }
    }
}
