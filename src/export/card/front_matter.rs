//! What the Hub reads of a card.

use std::fmt::Write;

use super::{
    Subject,
    figures::{Figure, ScoredBy, figures},
    quoted,
};
use crate::domain::Method;

pub fn render(subject: &Subject<'_>) -> String {
    let mut text = "---\nlibrary_name: transformers\npipeline_tag: text2text-generation\n".to_owned();
    if let Some(base) = subject.lineage.map(|lineage| lineage.base.as_str()).filter(|base| is_hub_id(base)) {
        let _ = writeln!(text, "base_model: {}", quoted(base));
    }
    text += "tags:\n- t5\n";
    if let Some(lineage) = subject.lineage {
        text += "- stepwise\n";
        if lineage.method == Method::StepByStep {
            text += "- distilling-step-by-step\n";
        }
    }
    if let Some(card) = subject.card {
        let _ = writeln!(text, "- {}", quoted(&card.task.name));
    }
    text + &model_index(subject) + "---\n"
}

/// Accuracies by ground truth alone: the Hub sets them beside those of other models. Agreement with a teacher is none, and
/// rows from nobody knows where are no data set.
fn model_index(subject: &Subject<'_>) -> String {
    let figures = figures(subject);
    let result = |figure: &Figure| {
        let (data, split) = (figure.data.as_deref()?, figure.split.as_str());
        let task = quoted(&subject.card?.task.name);
        (figure.scored_by == ScoredBy::GroundTruth).then(|| {
            format!(
                "  - task: {{type: text2text-generation, name: {task}}}\n    dataset: {{name: {}, type: jsonl, split: {split}}}\n    \
                 metrics:\n    - {{type: accuracy, name: {split} accuracy, value: {}}}\n",
                quoted(data),
                figure.accuracy
            )
        })
    };
    let results: String = figures.iter().filter_map(result).collect();
    if results.is_empty() {
        results
    } else {
        format!("model-index:\n- name: {}\n  results:\n{results}", quoted(subject.name))
    }
}

/// Whether a base's name is one of the Hub's: `owner/name`. Others are names of this service, which mean nothing there.
fn is_hub_id(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_with_an_owner_is_one_of_the_hubs() {
        assert!(is_hub_id("google/t5-v1_1-small"));
        for local in ["mini-t5", "desk:ckpt-step-20", "from_scratch", "a/b/c", "/b", "a/", "a b/c", "C:/models"] {
            assert!(!is_hub_id(local), "{local}");
        }
    }
}
