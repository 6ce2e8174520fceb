//! Whether arithmetic changes labels: the same rows in two of them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::Arguments;
use crate::{
    cli::CommandError,
    domain::ServingPrecision,
    inference::{Engine, EngineSettings, InferenceError, ModelFiles, Prediction, PredictionRequest},
};

/// Inputs that are asked at once.
const AT_ONCE: usize = 16;

/// How many rows get another label than in the other arithmetic, and how far probabilities are apart at most and in the middle.
pub async fn compare(
    arguments: &Arguments,
    other: ServingPrecision,
    texts: &[String],
) -> Result<serde_json::Value, CommandError> {
    let one = predict(arguments, arguments.precision, texts).await?;
    let two = predict(arguments, other, texts).await?;
    let changed = one.iter().zip(&two).filter(|(one, two)| one.label != two.label).count();
    let mut apart: Vec<f64> = one.iter().zip(&two).map(|(one, two)| farthest(one, two)).collect();
    apart.sort_by(f64::total_cmp);
    let (median, most) = (apart[apart.len() / 2], apart[apart.len() - 1]);
    Ok(json!({"work": "labels", "rows": texts.len(), "changed": changed, "median_apart": median, "most_apart": most}))
}

fn farthest(one: &Prediction, two: &Prediction) -> f64 {
    let none = BTreeMap::new();
    let (one, two) = (one.label_probs.as_ref().unwrap_or(&none), two.label_probs.as_ref().unwrap_or(&none));
    one.iter().map(|(label, share)| (share - two.get(label).unwrap_or(&0.0)).abs()).fold(0.0, f64::max)
}

async fn predict(
    arguments: &Arguments,
    precision: ServingPrecision,
    texts: &[String],
) -> Result<Vec<Prediction>, CommandError> {
    let engine = Engine::start(EngineSettings {
        device: arguments.device.clone(),
        max_batch: AT_ONCE,
        ..EngineSettings::on_cpu(arguments.threads, precision)
    })?;
    let model = ModelFiles::folder("model", arguments.model.clone());
    let labels: Arc<[String]> = arguments.labels.as_slice().into();
    let mut predictions = Vec::with_capacity(texts.len());
    for part in texts.chunks(AT_ONCE) {
        let request = |input: &String| PredictionRequest {
            input: input.clone(),
            label_set: Some(Arc::clone(&labels)),
            ..PredictionRequest::default()
        };
        let answers = engine.predict(&model, part.iter().map(request).collect()).await?;
        predictions.extend(answers.into_iter().collect::<Result<Vec<_>, InferenceError>>()?);
    }
    engine.stop().await;
    Ok(predictions)
}
