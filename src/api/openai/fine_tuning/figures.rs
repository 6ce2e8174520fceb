//! A job's figures under OpenAI's names where it has one for the same thing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::metric;

/// Figures at a step.
pub fn named(step: i64, values: &BTreeMap<String, f64>) -> Map<String, Value> {
    let figures = values.iter().map(|(name, value)| (metric::openai_name(name).to_owned(), json!(value)));
    [("step".to_owned(), json!(step))].into_iter().chain(figures).collect()
}

/// What they say, in a sentence.
pub fn sentence(step: i64, total: Option<i64>, values: &BTreeMap<String, f64>) -> String {
    let of = total.map(|total| format!("/{total}")).unwrap_or_default();
    let told = [(metric::LOSS, "training loss"), (metric::LABEL_ACCURACY, "label accuracy")];
    let figures: Vec<String> =
        told.iter().filter_map(|(name, words)| Some(format!("{words}={:.4}", values.get(*name)?))).collect();
    format!("Step {step}{of}: {}", if figures.is_empty() { "figures".to_owned() } else { figures.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_openais_names_where_there_are_any() {
        let values = BTreeMap::from([("loss".to_owned(), 0.5), ("label_loss".to_owned(), 0.25)]);
        assert_eq!(Value::from(named(10, &values)), json!({"step": 10, "train_loss": 0.5, "label_loss": 0.25}));
        assert_eq!(sentence(10, Some(40), &values), "Step 10/40: training loss=0.5000");
        assert_eq!(sentence(10, None, &BTreeMap::new()), "Step 10: figures");
    }
}
