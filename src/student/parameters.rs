//! Which tensors a T5 has: name, shape and initial size, from its configuration. Loading, checking and initializing
//! all read this one list.

use std::collections::BTreeMap;

use super::weights::{EMBEDDING, OUTPUT};
use super::{StudentError, T5Config, Weights};

/// One tensor of a T5.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    pub shape: Vec<i64>,
    pub initial: Initial,
}

/// How a tensor starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Initial {
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// Every tensor by its Hugging Face name. The standard deviations are those of the original T5 code: they make up for
/// the missing division of attention scores by sqrt(d_kv). `transformers` differs in one: it draws an untied output
/// layer from N(0, 1), which starts training at several times the loss of a uniform guess.
pub(super) fn parameters(config: &T5Config) -> BTreeMap<String, Parameter> {
    let mut list = List { config, parameters: BTreeMap::new() };
    list.add_tensor(EMBEDDING, &[config.vocab_size, config.d_model], 1.0);
    list.stack("encoder", config.num_layers);
    list.stack("decoder", config.decoder_layers());
    if !config.tie_word_embeddings {
        list.add_tensor(OUTPUT, &[config.vocab_size, config.d_model], inverse_root(config.d_model));
    }
    list.parameters
}

/// Refuses weights that lack tensors, have others, or have them in other shapes; names the first few at fault.
pub(super) fn check(config: &T5Config, weights: &Weights) -> Result<(), StudentError> {
    let expected = parameters(config);
    let missing: Vec<&str> = expected.keys().filter(|name| !weights.contains_key(*name)).map(String::as_str).collect();
    let surplus: Vec<&str> = weights.keys().filter(|name| !expected.contains_key(*name)).map(String::as_str).collect();
    for (problem, names) in [("lack", missing), ("have, besides what the configuration describes,", surplus)] {
        if !names.is_empty() {
            let first = names[..names.len().min(3)].join(", ");
            return Err(StudentError::Weights(format!("they {problem} {} tensors: {first} …", names.len())));
        }
    }
    let misshapen = weights.iter().find(|(name, tensor)| tensor.size() != expected[*name].shape);
    misshapen.map_or(Ok(()), |(name, tensor)| {
        let (found, right) = (tensor.size(), &expected[name].shape);
        Err(StudentError::Weights(format!("{name} has the shape {found:?} where the configuration says {right:?}")))
    })
}

/// How many numbers a T5 of this configuration learns.
pub fn parameter_count(config: &T5Config) -> i64 {
    parameters(config).values().map(|parameter| parameter.shape.iter().product::<i64>()).sum()
}

struct List<'a> {
    config: &'a T5Config,
    parameters: BTreeMap<String, Parameter>,
}

impl List<'_> {
    fn stack(&mut self, stack: &str, layers: i64) {
        let feed_forward = if stack == "decoder" { 2 } else { 1 };
        for layer in 0..layers {
            let block = format!("{stack}.block.{layer}.layer");
            self.attention(&format!("{block}.0"), "SelfAttention");
            if stack == "decoder" {
                self.attention(&format!("{block}.1"), "EncDecAttention");
            }
            self.feed_forward(&format!("{block}.{feed_forward}"));
        }
        let (buckets, heads) = (self.config.relative_attention_num_buckets, self.config.num_heads);
        let bias = format!("{stack}.block.0.layer.0.SelfAttention.relative_attention_bias");
        self.add(&bias, &[buckets, heads], inverse_root(self.config.d_model));
        self.norm(&format!("{stack}.final_layer_norm"));
    }

    fn attention(&mut self, layer: &str, name: &str) {
        let (d_model, d_kv, inner) = (self.config.d_model, self.config.d_kv, self.config.inner_width());
        self.add(&format!("{layer}.{name}.q"), &[inner, d_model], inverse_root(d_model * d_kv));
        self.add(&format!("{layer}.{name}.k"), &[inner, d_model], inverse_root(d_model));
        self.add(&format!("{layer}.{name}.v"), &[inner, d_model], inverse_root(d_model));
        self.add(&format!("{layer}.{name}.o"), &[d_model, inner], inverse_root(inner));
        self.norm(&format!("{layer}.layer_norm"));
    }

    fn feed_forward(&mut self, layer: &str) {
        let (d_model, d_ff) = (self.config.d_model, self.config.d_ff);
        let inputs: &[&str] = if self.config.feed_forward_proj.is_gated() { &["wi_0", "wi_1"] } else { &["wi"] };
        for input in inputs {
            self.add(&format!("{layer}.DenseReluDense.{input}"), &[d_ff, d_model], inverse_root(d_model));
        }
        self.add(&format!("{layer}.DenseReluDense.wo"), &[d_model, d_ff], inverse_root(d_ff));
        self.norm(&format!("{layer}.layer_norm"));
    }

    fn norm(&mut self, name: &str) {
        let parameter = Parameter { shape: vec![self.config.d_model], initial: Initial::Ones };
        self.parameters.insert(format!("{name}.weight"), parameter);
    }

    fn add(&mut self, name: &str, shape: &[i64], deviation: f64) {
        self.add_tensor(&format!("{name}.weight"), shape, deviation);
    }

    fn add_tensor(&mut self, name: &str, shape: &[i64], deviation: f64) {
        let parameter = Parameter { shape: shape.to_vec(), initial: Initial::Normal(deviation) };
        self.parameters.insert(name.to_owned(), parameter);
    }
}

#[expect(clippy::cast_precision_loss, reason = "validated widths are far below 2^52")]
fn inverse_root(width: i64) -> f64 {
    (width as f64).powf(-0.5)
}
