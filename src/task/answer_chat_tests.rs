//! Answers as chat models write them: dressed in Markdown, behind the question once more, cut off in their label.

use serde_json::json;

use super::{
    tests::{CHOICES, parts, read_by},
    *,
};
use crate::task::builtin;

#[test]
fn a_chat_models_emphasis_is_not_read() {
    for (name, text, rationale, label) in [
        ("text", "Because.\n\n**Answer:** Paris", "Because.", "Paris"),
        ("text", "**Reasoning:** Because.\n\n**Answer:** **Paris**", "Because.", "Paris"),
        ("text", "Because.\nAnswer: **Paris**", "Because.", "Paris"),
        ("text", "## Reasoning:\nBecause.\n\n### Answer:\nParis", "Because.", "Paris"),
        ("text", "Because.\n\n**Final Answer:** Paris", "Because.", "Paris"),
        ("text", "Because.\n\n**Final Answer:**\n\nParis", "Because.", "Paris"),
        ("esnli", "It rains.\n\n**Final Answer:** neutral", "It rains.", "neutral"),
        ("esnli", "It rains.\n\n**Answer: neutral**", "It rains.", "neutral"),
        ("esnli", "It rains.\n\n**Answer**: *Neutral*.", "It rains.", "neutral"),
        ("anli", "It rains. **So the answer is neutral.**", "It rains.", "neutral"),
        ("anli", "It rains. So the answer is **neutral**.", "It rains.", "neutral"),
        ("cqa", "Only NY. So the answer is **(b) New York**.", "Only NY.", "New York"),
        ("cqa", "Only NY. **So the answer is (b) New York.**", "Only NY.", "New York"),
        ("cqa", "Only NY. So the answer is **(b)** New York.", "Only NY.", "New York"),
        ("svamp", "So 2 + 3. **The answer is (2 + 3).**", "So 2 + 3.", "(2 + 3)"),
    ] {
        let parsed = read_by(name, CHOICES, text);
        assert_eq!(parts(&parsed), (Some(label), Some(rationale)), "{text:?} {parsed:?}");
    }
    let open = TaskDefinition::default();
    for text in [
        "**Final Answer:** yes\nReasoning: r",
        "**yes**\nReasoning: r",
        "**Answer: yes**\n\n**Reasoning:** r",
        "yes\n\n**Reasoning: r**",
    ] {
        let parsed = parse(&open, AnswerForm::LabelThenRationale, "", text, false);
        assert_eq!(parts(&parsed), (Some("yes"), Some("r")), "{text:?}");
    }
}

#[test]
fn a_label_of_signs_alone_is_read_only_where_the_set_lists_it() {
    let signs = ["+", "**", "\u{1f600}"];
    let listed =
        TaskDefinition { label_set: LabelSet::Fixed(signs.map(str::to_owned).to_vec()), ..TaskDefinition::default() };
    for sign in signs {
        for (form, text) in [
            (AnswerForm::RationaleThenLabel, format!("Because.\nAnswer: {sign}")),
            (AnswerForm::LabelThenRationale, format!("{sign}\nReasoning: Because.")),
            (AnswerForm::Json, json!({"rationale": "Because.", "label": sign}).to_string()),
        ] {
            assert_eq!(parts(&parse(&listed, form, "", &text, false)), (Some(sign), Some("Because.")), "{text}");
            let parsed = parse(&TaskDefinition::default(), form, "", &text, false);
            assert_eq!((parsed.status, parsed.label), (AnnotationStatus::Invalid, None), "{text}");
            assert!(parsed.reason.unwrap().contains("neither a letter nor a digit"));
        }
    }
    for label in ["\u{5317}\u{4eac}", "\u{0928}\u{0939}\u{0940}\u{0902}", "\u{0646}\u{0639}\u{0645}", "-5", "C++"] {
        let text = format!("Because.\nAnswer: {label}");
        let parsed = parse(&TaskDefinition::default(), AnswerForm::RationaleThenLabel, "", &text, false);
        assert_eq!(parsed.label.as_deref(), Some(label));
    }
}

#[test]
fn a_label_that_was_cut_off_is_valid_only_where_more_of_it_would_change_nothing() {
    let cut =
        |task: &TaskDefinition, text: &str| parse(task, AnswerForm::RationaleThenLabel, CHOICES, text, true).status;
    let fixed = |labels: &[&str]| TaskDefinition {
        label_set: LabelSet::Fixed(labels.iter().map(|label| (*label).to_owned()).collect()),
        ..TaskDefinition::default()
    };
    let (truncated, valid) = (AnnotationStatus::Truncated, AnnotationStatus::Valid);
    let open = TaskDefinition::default();
    assert_eq!(cut(&open, "Because.\nAnswer: New Yo"), truncated);
    assert_eq!(cut(&open, "Because.\nAnswer: New York\nSo I am"), valid);
    assert_eq!(cut(&open, "Because.\nAnswer: New York\n\nInput: x"), valid);
    assert_eq!(cut(&fixed(&["york", "new york", "New York City"]), "Because.\nAnswer: New York"), truncated);
    assert_eq!(cut(&fixed(&["York", "New York"]), "Because.\nAnswer: New York"), valid);
    assert_eq!(cut(&builtin::find("cqa").unwrap(), "Only NY. So the answer is (b) New York"), valid);
    assert_eq!(cut(&builtin::find("svamp").unwrap(), "So. The answer is (8 / 2) + (3"), truncated);
}

#[test]
fn a_question_that_is_repeated_before_its_answer_is_not_the_next_one() {
    let pair = "Premise: It rains.\nHypothesis: It is wet.\n";
    for (name, form, text) in [
        ("esnli", AnswerForm::RationaleThenLabel, format!("{pair}Reasonings: Rain.\nAnswer: neutral\n\nPremise: a")),
        ("anli", AnswerForm::RationaleThenLabel, format!("\n{pair}Answer: Rain. So the answer is neutral.")),
        ("esnli", AnswerForm::LabelThenRationale, format!("{pair}Answer: neutral\nReasoning: Rain.\n\nPremise: a")),
        ("esnli", AnswerForm::Json, format!("\n{pair}{{\"rationale\":\"Rain.\",\"label\":\"neutral\"}}")),
    ] {
        let parsed = parse(&builtin::find(name).unwrap(), form, "", &text, false);
        assert_eq!(parts(&parsed), (Some("neutral"), Some("Rain.")), "{text:?} {parsed:?}");
    }
    let alone = read_by("esnli", "", "Premise: It rains, and so it is wet.\nAnswer: neutral\nPremise: a");
    assert_eq!(alone.label.as_deref(), Some("neutral"), "{alone:?}");
    let cqa = read_by("cqa", CHOICES, "Q: Where?\nA: Only NY. So the answer is (b) New York.\nQ: What?");
    assert_eq!(parts(&cqa), (Some("New York"), Some("Only NY.")));
}

#[test]
fn choices_are_read_strictly_in_the_papers_form_alone() {
    let text = TaskDefinition { label_set: LabelSet::Choices, ..TaskDefinition::default() };
    for label in ["(c) pond", "pond.", "(c)", "**Pond**"] {
        let parsed =
            parse(&text, AnswerForm::RationaleThenLabel, CHOICES, &format!("It swims.\nAnswer: {label}"), false);
        assert_eq!(parts(&parsed), (Some("pond"), Some("It swims.")), "{label}");
    }
    let strict = read_by("cqa", CHOICES, "It swims. So the answer is (c) Pond.");
    assert_eq!(strict.status, AnnotationStatus::Invalid);
}
