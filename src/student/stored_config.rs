//! `config.json` as it is written, by whichever version of `transformers`: what it leaves out, and what it says in other words.
//! What would change the arithmetic and is not known here is refused by its name.

use serde::Deserialize;
use serde_json::Value;

use super::{FeedForwardKind, T5Config};
use crate::layout;

/// The members that decide what a T5 computes; others are ignored.
#[derive(Debug, Deserialize)]
pub struct StoredConfig {
    vocab_size: i64,
    d_model: i64,
    d_kv: i64,
    d_ff: i64,
    num_layers: i64,
    num_decoder_layers: Option<i64>,
    num_heads: i64,
    relative_attention_num_buckets: Option<i64>,
    relative_attention_max_distance: Option<i64>,
    dropout_rate: Option<f64>,
    layer_norm_epsilon: Option<f64>,
    feed_forward_proj: Option<String>,
    /// The parts of `feed_forward_proj`; where they are given, they decide.
    dense_act_fn: Option<String>,
    is_gated_act: Option<bool>,
    tie_word_embeddings: Option<bool>,
    scale_decoder_outputs: Option<bool>,
    #[serde(default)]
    tie_encoder_decoder: bool,
    pad_token_id: Option<i64>,
    eos_token_id: Option<Value>,
    decoder_start_token_id: Option<i64>,
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
    is_encoder_decoder: Option<bool>,
    quantization_config: Option<Value>,
    transformers_version: Option<String>,
}

impl TryFrom<StoredConfig> for T5Config {
    type Error = String;

    fn try_from(stored: StoredConfig) -> Result<Self, String> {
        let model_type = stored.model_type.clone().unwrap_or_else(|| "t5".to_owned());
        let is_mt5 = check_kind(&stored, &model_type)?;
        let scale = stored.scales_output(is_mt5);
        let pad = stored.pad_token_id.unwrap_or(0);
        Ok(Self {
            feed_forward_proj: stored.feed_forward(is_mt5)?,
            // Since version 5 it says true of every T5: whether there are weights for the output, the weights say.
            tie_word_embeddings: scale.unwrap_or_else(|| stored.tie_word_embeddings.unwrap_or(!is_mt5)),
            scale_decoder_outputs: scale,
            pad_token_id: pad,
            eos_token_id: one_token(stored.eos_token_id)?,
            decoder_start_token_id: stored.decoder_start_token_id.unwrap_or(pad),
            vocab_size: stored.vocab_size,
            d_model: stored.d_model,
            d_kv: stored.d_kv,
            d_ff: stored.d_ff,
            num_layers: stored.num_layers,
            num_decoder_layers: stored.num_decoder_layers,
            num_heads: stored.num_heads,
            relative_attention_num_buckets: stored.relative_attention_num_buckets.unwrap_or(32),
            relative_attention_max_distance: stored.relative_attention_max_distance.unwrap_or(128),
            dropout_rate: stored.dropout_rate.unwrap_or(0.1),
            layer_norm_epsilon: stored.layer_norm_epsilon.unwrap_or(1e-6),
            model_type,
            architectures: stored.architectures.unwrap_or_else(|| vec!["T5ForConditionalGeneration".to_owned()]),
            is_encoder_decoder: true,
        })
    }
}

impl StoredConfig {
    /// As version 5 says it. An mT5 of that version says nothing and is never scaled.
    fn scales_output(&self, is_mt5: bool) -> Option<bool> {
        let version = self.transformers_version.as_deref().and_then(|version| version.split('.').next()?.parse().ok());
        let silent = is_mt5 && version.is_some_and(|version: u32| version >= 5);
        self.scale_decoder_outputs.or_else(|| silent.then_some(false))
    }

    fn feed_forward(&self, is_mt5: bool) -> Result<FeedForwardKind, String> {
        let usual = if is_mt5 { "gated-gelu" } else { "relu" };
        let named = self.feed_forward_proj.as_deref().unwrap_or(usual);
        let (gate, activation) = named.rsplit_once('-').unwrap_or(("", named));
        let is_gated = self.is_gated_act.unwrap_or(gate == "gated");
        let activation = match (&self.dense_act_fn, named) {
            (Some(activation), _) => activation,
            (None, "gated-gelu") => "gelu_new",
            (None, _) => activation,
        };
        match (is_gated, activation) {
            _ if !["", "gated"].contains(&gate) => {}
            (false, "relu") => return Ok(FeedForwardKind::Relu),
            (true, "gelu_new" | "gelu_pytorch_tanh") => return Ok(FeedForwardKind::GatedGelu),
            (true, "silu" | "swish") => return Ok(FeedForwardKind::GatedSilu),
            _ => {}
        }
        let parts = [
            ("is_gated_act", self.is_gated_act.map(|gated| gated.to_string())),
            ("dense_act_fn", self.dense_act_fn.clone()),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!(" with {name} {:?}", value?)));
        let parts: String = parts.collect();
        Err(format!("feed_forward_proj is {named:?}{parts}; supported are relu, gated-gelu and gated-silu"))
    }
}

/// Whether it is an mT5; refuses what is neither that nor a T5.
fn check_kind(stored: &StoredConfig, model_type: &str) -> Result<bool, String> {
    if !layout::MODEL_TYPES.contains(&model_type) {
        let why = if model_type == "umt5" { " (a umT5 has a position bias in every layer)" } else { "" };
        let supported = layout::MODEL_TYPES.join(" and ");
        return Err(format!("model_type is {model_type:?}{why}; supported are {supported}"));
    }
    if stored.is_encoder_decoder == Some(false) {
        return Err("is_encoder_decoder is false; a student has both".to_owned());
    }
    if stored.tie_encoder_decoder {
        return Err("tie_encoder_decoder is true; supported are an encoder and a decoder of their own".to_owned());
    }
    if stored.quantization_config.as_ref().is_some_and(|config| !config.is_null()) {
        return Err("quantization_config is set; supported are tensors of plain numbers".to_owned());
    }
    Ok(model_type == "mt5")
}

/// The end token, 1 where none is given.
fn one_token(given: Option<Value>) -> Result<i64, String> {
    let given = given.filter(|given| !given.is_null());
    let one = match &given {
        None => Some(1),
        Some(Value::Array(tokens)) if tokens.len() == 1 => tokens[0].as_i64(),
        Some(token) => token.as_i64(),
    };
    one.ok_or_else(|| format!("eos_token_id is {}; supported is one token", given.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(members: &Value) -> Result<T5Config, String> {
        let mut config =
            json!({"vocab_size": 100, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2});
        config.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let config: T5Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_feed_forward_layer_is_what_its_parts_say() {
        let kind = |members: &Value| read(members).map(|config| config.feed_forward_proj);
        assert_eq!(kind(&json!({})), Ok(FeedForwardKind::Relu));
        assert_eq!(kind(&json!({"model_type": "mt5"})), Ok(FeedForwardKind::GatedGelu));
        let both = json!({"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": true});
        assert_eq!(kind(&both), Ok(FeedForwardKind::GatedGelu));
        // What transformers does with these: a part that is given takes the place of the one in the name.
        assert_eq!(kind(&json!({"dense_act_fn": "silu", "is_gated_act": true})), Ok(FeedForwardKind::GatedSilu));
        for (members, word) in [
            (json!({"feed_forward_proj": "gated-relu"}), "gated-relu"),
            (json!({"feed_forward_proj": "gelu"}), "gelu"),
            (json!({"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"}), "dense_act_fn \"gelu\""),
            (json!({"feed_forward_proj": "gated-gelu", "is_gated_act": false}), "is_gated_act \"false\""),
            (json!({"feed_forward_proj": "twice-gated-silu"}), "twice-gated-silu"),
        ] {
            let error = kind(&members).unwrap_err();
            assert!(error.contains(word) && error.contains("feed_forward_proj"), "{error}");
        }
    }

    #[test]
    fn an_output_layer_is_what_either_version_means() {
        let output = |members: &Value| {
            let config = read(members).unwrap();
            (config.tie_word_embeddings, config.scales_output())
        };
        assert_eq!(output(&json!({})), (true, true));
        assert_eq!(output(&json!({"tie_word_embeddings": false})), (false, false));
        assert_eq!(output(&json!({"model_type": "mt5"})), (false, false));
        assert_eq!(output(&json!({"model_type": "mt5", "tie_word_embeddings": true})), (true, true));
        let five =
            json!({"tie_word_embeddings": true, "scale_decoder_outputs": false, "transformers_version": "5.15.1"});
        assert_eq!(output(&five), (false, false));
        let five = json!({"model_type": "mt5", "tie_word_embeddings": true, "transformers_version": "5.15.1"});
        assert_eq!(output(&five), (false, false));
    }

    #[test]
    fn what_no_student_computes_is_refused_by_its_name() {
        for (members, word) in [
            (json!({"model_type": "umt5"}), "position bias in every layer"),
            (json!({"model_type": "bart"}), "bart"),
            (json!({"is_encoder_decoder": false}), "is_encoder_decoder"),
            (json!({"tie_encoder_decoder": true}), "tie_encoder_decoder"),
            (json!({"quantization_config": {"load_in_8bit": true}}), "quantization_config"),
            (json!({"eos_token_id": [1, 2]}), "eos_token_id is [1,2]"),
            (json!({"eos_token_id": 100}), "eos_token_id is 100"),
            (json!({"relative_attention_num_buckets": 7}), "relative_attention_num_buckets"),
            (json!({"layer_norm_epsilon": 0}), "layer_norm_epsilon"),
        ] {
            let error = read(&members).unwrap_err();
            assert!(error.contains(word), "{error} lacks {word}");
        }
        let nulls = json!({"eos_token_id": null, "decoder_start_token_id": null, "num_decoder_layers": null});
        assert_eq!(read(&nulls).unwrap().decoder_start_token_id, 0);
        assert_eq!(read(&json!({"eos_token_id": [1]})).unwrap().eos_token_id, 1);
    }
}
