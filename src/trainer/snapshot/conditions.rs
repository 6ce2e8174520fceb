//! What changes the last bits of a training's sums and not their meaning.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::device;
use crate::trainer::learner::Learner;

/// Under equal conditions a training that was interrupted ends byte for byte as one that never was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    micro_batch_size: u32,
    threads: i32,
    processor: String,
    device: String,
    arithmetic: String,
}

impl Conditions {
    /// The conditions here and now.
    pub fn of(micro_batch_size: usize, learner: &Learner) -> Self {
        Self {
            micro_batch_size: micro_batch_size.try_into().unwrap_or(u32::MAX),
            threads: tch::get_num_threads(),
            processor: device::processor_capability(),
            device: if learner.device.is_cuda() { "cuda" } else { "cpu" }.to_owned(),
            arithmetic: format!("{:?}", learner.kind),
        }
    }

    /// Examples computed at once.
    pub fn micro_batch_size(&self) -> usize {
        self.micro_batch_size as usize
    }

    /// What is not as it was: name by name, what it was and what it is.
    pub fn differences(&self, now: &Self) -> Map<String, Value> {
        let pairs = [
            ("micro_batch_size", json!(self.micro_batch_size), json!(now.micro_batch_size)),
            ("threads", json!(self.threads), json!(now.threads)),
            ("processor", json!(self.processor), json!(now.processor)),
            ("device", json!(self.device), json!(now.device)),
            ("arithmetic", json!(self.arithmetic), json!(now.arithmetic)),
        ];
        let different = pairs.into_iter().filter(|(_, was, is)| was != is);
        different.map(|(name, was, is)| (name.to_owned(), json!({"was": was, "is": is}))).collect()
    }
}
