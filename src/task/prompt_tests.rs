//! What a teacher is asked, the first time and again.

use super::*;
use crate::task::builtin;

const FIRST: AnswerForm = AnswerForm::RationaleThenLabel;

fn last(messages: &[Message]) -> &str {
    &messages.last().unwrap().content
}

#[test]
fn the_real_question_comes_last_in_each_surface_form() {
    for (name, input, asked, cue, other_cue) in [
        ("text", "a\nb", "Input: a\nb\n", "Reasoning:", "Answer:"),
        ("esnli", "It rains.</s>It is wet.", "Premise: It rains.\nHypothesis: It is wet.\n", "Reasonings:", "Answer:"),
        ("anli", "It rains.</s>It is wet.", "Premise: It rains.\nHypothesis: It is wet.\n", "Answer:", "Answer:"),
        ("cqa", "Where?\nAnswer Choices:\n(a) zoo", "Q: Where?\nAnswer Choices:\n(a) zoo\n", "A:", "A:"),
        ("svamp", "Ann has 2.\nHow many?", "Q: Ann has 2.\nHow many?\n", "A:", "A:"),
    ] {
        let task = builtin::find(name).unwrap();
        for form in AnswerForm::ALL {
            let end = format!("{asked}{}", if form == FIRST { cue } else { other_cue });
            for messages in [
                chat(&task, form, input),
                repair(&task, form, input, "x", "no label"),
                rationalize(&task, form, input, "y"),
            ] {
                assert!(last(&messages).ends_with(&end), "{name}: {messages:?}");
                assert_eq!((messages[0].role.as_str(), messages[1].role.as_str()), ("system", "user"));
            }
        }
    }
}

#[test]
fn worked_examples_end_as_the_answers_must() {
    let shown = |name: &str, form| chat(&builtin::find(name).unwrap(), form, "a</s>b").remove(1).content;
    assert!(shown("esnli", FIRST).contains("\nAnswer: contradiction\n\nPremise:"));
    assert!(shown("cqa", FIRST).contains("So the answer is (b) "));
    assert!(shown("svamp", FIRST).contains("The answer is (7 - 3).\n\nQ: "));
    let label_first = AnswerForm::LabelThenRationale;
    assert!(shown("anli", label_first).contains("\nAnswer: contradiction\nReasoning: The mill became"));
    assert!(shown("cqa", label_first).contains("\nA: (b) hallway stand\nReasoning: The answer must"));
    let json = AnswerForm::Json;
    assert!(
        shown("esnli", json).contains("\nAnswer: {\"rationale\":\"Apples are fruit.\",\"label\":\"entailment\"}\n\n")
    );
    assert!(shown("cqa", json).contains("only a hallway stand is.\",\"label\":\"hallway stand\"}"));
}

#[test]
fn own_instructions_say_what_and_the_form_says_how() {
    let task = TaskDefinition {
        instructions: Some("Decide.".to_owned()),
        label_set: LabelSet::Fixed(vec!["yes".to_owned(), "no".to_owned()]),
        ..TaskDefinition::default()
    };
    let told = |form| chat(&task, form, "a").remove(0).content;
    for (form, how) in AnswerForm::ALL.into_iter().zip(["`Answer: ` and the answer", "`Reasoning: ` and your", "JSON"])
    {
        let told = told(form);
        assert!(told.starts_with("Decide.\n") && told.contains(how), "{told}");
        assert!(told.ends_with("\nThe answer is one of: yes, no."), "{told}");
    }
    assert_eq!(chat(&task, FIRST, "a")[1].content, "Input: a\nReasoning:");
    assert_eq!(stop_sequences(&task), ["\nInput:"]);
}

#[test]
fn a_repair_shows_the_text_without_what_ran_on_and_why_it_was_refused() {
    let task = builtin::find("esnli").unwrap();
    let messages = repair(&task, FIRST, "a</s>b", "It may.\nAnswer: maybe\n\nPremise: c", "label \"maybe\" is none");
    assert_eq!(messages[..2], chat(&task, FIRST, "a</s>b"));
    assert_eq!((messages[2].role.as_str(), messages[2].content.as_str()), ("assistant", "It may.\nAnswer: maybe"));
    assert!(messages[3].role == "user" && messages[3].content.contains("label \"maybe\" is none. Answer once more."));
    assert_eq!(
        repair(&task, FIRST, "a</s>b", "", "it is empty")[2].content,
        "(nothing)",
        "an empty message is refused"
    );
    let endless = repair(&task, FIRST, "a</s>b", &"é".repeat(10_000), "no label");
    assert_eq!(endless[2].content, "é".repeat(2000));
}

#[test]
fn a_rationalization_shows_the_right_label_as_an_answer_writes_it() {
    let input = "Where?\nAnswer Choices:\n(a) zoo\n(b) pond";
    let asked = |form| rationalize(&builtin::find("cqa").unwrap(), form, input, "pond").remove(1).content;
    assert!(asked(FIRST).contains("The right answer to the next question: (b) pond\n\nQ: Where?"));
    assert!(asked(AnswerForm::Json).contains("The right answer to the next question: pond\n\nQ: Where?"));
    assert!(asked(FIRST).starts_with("Q: Where would you put a wet umbrella"), "worked examples stay");
}

#[test]
fn a_schema_names_the_labels_of_a_set_that_is_the_same_for_every_question() {
    let schema = |name: &str, form| answer_schema(&builtin::find(name).unwrap(), form);
    let labels = ["entailment", "neutral", "contradiction"].map(str::to_owned).to_vec();
    assert_eq!(schema("esnli", AnswerForm::Json), Some(AnswerSchema { labels: Some(labels) }));
    assert_eq!(schema("cqa", AnswerForm::Json), Some(AnswerSchema { labels: None }));
    assert_eq!(schema("esnli", FIRST), None);
}

#[test]
fn a_text_has_the_messages_in_the_form_of_worked_examples() {
    let task = TaskDefinition { instructions: Some("Decide.".to_owned()), ..TaskDefinition::default() };
    let how = instructions::how(task.form, FIRST);
    assert_eq!(as_text(&chat(&task, FIRST, "a")), format!("Decide.\n{how}\n\nInput: a\nReasoning:"));
    let again = as_text(&repair(&task, FIRST, "a", "b", "no label"));
    let end = format!(
        "Input: a\nReasoning: b\n\nThat answer cannot be used: no label. Answer once more. {how}\n\nInput: a\nReasoning:"
    );
    assert!(again.ends_with(&end), "{again}");
}
