//! How the model wants to be asked, as a program that asks it.

use super::quoted;
use crate::domain::{Method, StudentCard, single_target};

pub fn render(card: Option<&StudentCard>) -> String {
    let (questions, note) = card.map_or_else(unknown, known);
    // What `stepwise` itself reads of such a model.
    let length = card.map_or_else(|| StudentCard::default().max_input_length, |card| card.max_input_length);
    format!(
        "## How to ask it\n\n```python\nfrom transformers import AutoTokenizer, T5ForConditionalGeneration\n\n\
         folder = \"PATH/TO/THIS/FOLDER\"\ntokenizer = AutoTokenizer.from_pretrained(folder)\n\
         model = T5ForConditionalGeneration.from_pretrained(folder)\n\n\ndef ask(question, max_new_tokens):\n    \
         inputs = tokenizer(question, return_tensors=\"pt\", truncation=True, max_length={length})\n    \
         output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)\n    \
         return tokenizer.decode(output[0], skip_special_tokens=True).rstrip()\n\n\ntext = \"…\"\n{questions}\n```\n\n{note}\n"
    )
}

/// The questions, and what there is to know of the answers.
fn known(card: &StudentCard) -> (String, String) {
    let (label, length) = (quoted(&card.label_prefix), card.max_label_length);
    let (questions, note) = match (&card.rationale_prefix, card.method) {
        (_, Method::RationaleThenLabel) => (
            format!("print(ask({label} + text, {}))", card.max_label_length + card.max_rationale_length),
            format!("The answer reads `rationale{}label`.", single_target::SEPARATOR),
        ),
        (Some(prefix), Method::StepByStep) => (
            format!(
                "print(ask({label} + text, {length}))  # the label\nprint(ask({} + text, {}))  # the rationale",
                quoted(prefix),
                card.max_rationale_length
            ),
            "The prefix says which of its two tasks is meant.".to_owned(),
        ),
        _ => (
            format!("print(ask({label} + text, {length}))  # the label"),
            "The prefix is part of what it learned.".to_owned(),
        ),
    };
    let here = "In `stepwise`, put the folder below `models_dir` and ask for it by the folder's name: prefixes and label set are \
                in `stepwise.json`.";
    (questions, format!("{note} {here}"))
}

/// The folder does not say what it learned to be asked.
fn unknown() -> (String, String) {
    let StudentCard { label_prefix, rationale_prefix, max_label_length, .. } = StudentCard::default();
    let note = format!(
        "Nothing came with it that says which words it expects around its input. Below `models_dir`, `stepwise` writes \
         `{label_prefix}` before it, and `{}` where a rationale is wanted; a `stepwise.json` beside the weights can say \
         otherwise.",
        rationale_prefix.unwrap_or_default()
    );
    (format!("print(ask(text, {max_label_length}))"), note)
}
