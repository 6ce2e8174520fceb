//! What lines of each form become, and with which words the others are refused.

use super::*;

#[track_caller]
fn refused(text: &str, code: &str, field: Option<&str>, part: &str) {
    let fault = read(text, 1).unwrap_err();
    assert_eq!((fault.code, fault.field.as_deref()), (code, field), "{}", fault.message);
    assert!(fault.message.contains(part), "{}", fault.message);
}

#[test]
fn premise_and_hypothesis_make_an_input() {
    let example = read(r#"{"premise":"It rains.","hypothesis":"It is wet.","label":"neutral"}"#, 3).unwrap();
    assert_eq!((example.id.as_str(), example.input.as_str()), ("line-3", "It rains.</s>It is wet."));
}

#[test]
fn an_empty_label_or_rationale_is_absent() {
    let example = read(r#"{"input":"a","label":" ","rationale":"","teacher_label":null}"#, 1).unwrap();
    assert_eq!((example.label, example.rationale, example.teacher_label), (None, None, None));
}

#[test]
fn an_annotations_output_line_is_a_training_line() {
    let line = |status: &str| {
        format!(
            r#"{{"id":"a","input":"x","label":null,"teacher_label":"l","rationale":"r","agreement":1,"status":"{status}"}}"#
        )
    };
    assert_eq!(read(&line("valid"), 1).unwrap().teacher_label.as_deref(), Some("l"));
    assert_eq!(read(&line("invalid"), 1).unwrap().teacher_label, None);
    refused(&line("fine"), "wrong_type", Some("status"), "unknown annotation status");
}

#[test]
fn bad_lines_say_what_is_wrong_and_what_would_be_right() {
    refused("{", "invalid_json", None, "each object on one line");
    refused(r#"{"input":"a",}"#, "invalid_json", None, "column");
    refused(r#"{"input":"\ud800"}"#, "invalid_json", None, "hex escape");
    refused(r#"{"input":NaN}"#, "invalid_json", None, "not JSON");
    refused("\"a\"", "not_object", None, "not a string");
    refused("[1]", "not_object", None, "not an array");
    refused("{}", "missing_field", Some("input"), "lacks \"input\"");
    refused(r#"{"input":" "}"#, "empty", Some("input"), "empty");
    refused(r#"{"premise":"a"}"#, "missing_field", Some("hypothesis"), "hypothesis");
    refused(r#"{"premise":"a","hypothesis":"b","input":"c"}"#, "conflicting_fields", Some("input"), "not several");
    refused(r#"{"input":"a","label":1}"#, "wrong_type", Some("label"), "must be a string, not a number");
    refused(r#"{"input":["a"]}"#, "wrong_type", Some("input"), "not an array");
    refused(r#"{"input":"a","input":"b"}"#, "duplicate_field", Some("input"), "twice");
    refused(r#"{"input":"a","lable":"b"}"#, "unknown_field", Some("lable"), "did you mean \"label\"?");
    refused(r#"{"turns":[]}"#, "unknown_field", Some("turns"), "id, input, label");
    refused(r#"{"input":"a\u0000b"}"#, "invalid_character", Some("input"), "U+0000");
    refused(&format!(r#"{{"input":{}1{}}}"#, "[".repeat(9999), "]".repeat(9999)), "invalid_json", None, "recursion");
}

#[test]
fn a_prompt_and_its_completion_are_an_input_and_its_label() {
    let example = read(r#"{"prompt":"Is it?","completion":" yes\n","rationale":"It is."}"#, 1).unwrap();
    assert_eq!((example.input.as_str(), example.label.as_deref()), ("Is it?", Some("yes")));
    assert_eq!(example.rationale.as_deref(), Some("It is."));
    assert_eq!(read(r#"{"prompt":"Is it?"}"#, 1).unwrap().label, None);
    refused(r#"{"prompt":"a","completion":"b","label":"c"}"#, "conflicting_fields", Some("label"), "already holds");
    refused(r#"{"completion":"b"}"#, "conflicting_fields", Some("completion"), "goes with \"prompt\"");
    refused(r#"{"prompt":["a"],"completion":"b"}"#, "wrong_type", Some("prompt"), "not an array");
    refused(r#"{"prompt":"","completion":"b"}"#, "empty", Some("prompt"), "empty");
}

#[test]
fn one_line_has_one_form() {
    for text in [
        r#"{"input":"a","prompt":"b"}"#,
        r#"{"input":"a","messages":[{"role":"user","content":"b"}]}"#,
        r#"{"premise":"a","hypothesis":"b","prompt":"c"}"#,
        r#"{"hypothesis":"b","messages":[{"role":"user","content":"b"}]}"#,
    ] {
        assert_eq!(read(text, 1).unwrap_err().code, "conflicting_fields", "{text}");
    }
    let both = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"label":"c"}"#;
    refused(both, "conflicting_fields", Some("label"), "already holds");
}

#[test]
fn a_null_is_not_there_when_the_form_is_chosen() {
    let native =
        read(r#"{"input":"a","premise":null,"hypothesis":null,"completion":null,"messages":null}"#, 1).unwrap();
    assert_eq!(native.input, "a");
    let pair = read(r#"{"input":null,"prompt":null,"completion":null,"premise":"a","hypothesis":"b"}"#, 1).unwrap();
    assert_eq!(pair.input, "a</s>b");
    let prompt = r#"{"input":null,"label":null,"prompt":"a","completion":"b","messages":null,"premise":null}"#;
    assert_eq!(read(prompt, 1).unwrap().label.as_deref(), Some("b"));
    let chat = r#"{"messages":[{"role":"user","content":"a"}],"input":null,"completion":null,"label":null}"#;
    assert_eq!(read(chat, 1).unwrap().input, "a");
    refused(r#"{"input":null}"#, "empty", Some("input"), "empty");
    refused(r#"{"premise":null,"hypothesis":null}"#, "missing_field", Some("input"), "lacks");
    refused(r#"{"premise":"a","hypothesis":null}"#, "empty", Some("hypothesis"), "empty");
    refused(r#"{"prompt":null,"completion":"b"}"#, "conflicting_fields", Some("completion"), "goes with \"prompt\"");
    refused(r#"{"input":"a","input":null}"#, "duplicate_field", Some("input"), "twice");
}

#[test]
fn a_name_that_comes_twice_in_a_message_is_refused_by_its_place() {
    let twice = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","content":"c"}]}"#;
    refused(twice, "duplicate_field", Some("messages[1].content"), "twice in its object");
    let null = r#"{"messages":[{"role":"user","role":null,"content":"a"}]}"#;
    refused(null, "duplicate_field", Some("messages[0].role"), "twice");
    let deep = r#"{"input":"a","agreement":{"by":[1,{"x":1,"y":2,"x":3}]}}"#;
    refused(deep, "duplicate_field", Some("agreement.by[1].x"), "twice");
    let long = format!(r#"{{"input":"a","agreement":{{"{0}":1,"{0}":2}}}}"#, "n".repeat(900));
    assert_eq!(read(&long, 1).unwrap_err().field, Some(format!("agreement.{}", "n".repeat(40))));
}

#[test]
fn lines_that_rank_answers_or_call_tools_are_refused_as_a_format() {
    let ranked = r#"{"input":{"messages":[]},"preferred_output":[],"non_preferred_output":[]}"#;
    refused(ranked, "unsupported_format", Some("preferred_output"), "the better one");
    refused(r#"{"prompt":"a","chosen":"b","rejected":"c"}"#, "unsupported_format", Some("chosen"), "the better one");
    refused(r#"{"messages":[],"tools":[]}"#, "empty", Some("messages"), "no message");
    refused(r#"{"tools":[],"messages":[]}"#, "unsupported_format", Some("tools"), "tools are not supported");
}

#[test]
fn a_split_and_a_weight_say_what_a_row_is_for() {
    assert_eq!(read(r#"{"input":"a","split":"test"}"#, 1).unwrap().split, Some(Split::Test));
    refused(r#"{"input":"a","split":"dev"}"#, "wrong_type", Some("split"), "use train, validation or test");
    let weightless = read(r#"{"input":"a","label":"b","rationale":"c","weight":0}"#, 1).unwrap();
    assert_eq!((weightless.label, weightless.rationale), (None, None));
    assert_eq!(read(r#"{"input":"a","label":"b","weight":1.0}"#, 1).unwrap().label.as_deref(), Some("b"));
    refused(r#"{"input":"a","weight":0.5}"#, "unsupported_format", Some("weight"), "0 (its answer");
    refused(r#"{"input":"a","weight":"1"}"#, "wrong_type", Some("weight"), "a number");
}

#[test]
fn a_lines_own_label_set_is_held_to() {
    let line = |label: &str| format!(r#"{{"input":"a","label":"{label}","label_set":["yes","no"]}}"#);
    assert_eq!(read(&line("no"), 1).unwrap().label.as_deref(), Some("no"));
    refused(&line("maybe"), "label_not_in_set", Some("label"), "is not one of: yes, no");
    let long = format!(r#"{{"input":"a","label_set":["b","{}"]}}"#, "c".repeat(501));
    refused(&long, "label_too_long", Some("label_set"), "500 characters at most");
    refused(r#"{"input":"a","label_set":[1]}"#, "wrong_type", Some("label_set"), "an array of strings");
    refused(r#"{"input":"a","label_set":"yes"}"#, "wrong_type", Some("label_set"), "not a string");
}

#[test]
fn a_rejected_annotation_can_be_sent_again() {
    let line = r#"{"id":"a","input":"x","label":null,"teacher_label":"l","rationale":null,"status":"invalid","reason":"no label","raw_output":"Hm."}"#;
    let example = read(line, 1).unwrap();
    assert_eq!((example.input.as_str(), example.teacher_label), ("x", None));
}

#[test]
fn a_line_may_bring_several_rationales_each_once() {
    let line = r#"{"input":"a","rationale":"one","rationales":["two"," ","one","two","three"]}"#;
    let example = read(line, 1).unwrap();
    assert_eq!(example.rationales().collect::<Vec<_>>(), ["one", "two", "three"]);
    let alone = read(r#"{"input":"a","rationales":["one"]}"#, 1).unwrap();
    assert_eq!((alone.rationale.as_deref(), alone.more_rationales.len()), (Some("one"), 0));
    let weightless = read(r#"{"input":"a","label":"l","rationales":["one","two"],"weight":0}"#, 1).unwrap();
    assert_eq!((weightless.rationales().count(), weightless.label), (0, None));
    refused(r#"{"input":"a","rationales":"one"}"#, "wrong_type", Some("rationales"), "an array");
    refused(r#"{"input":"a","rationales":["one",2]}"#, "wrong_type", Some("rationales"), "an array of strings");
    refused(r#"{"input":"a","rationales":["a\u0000b"]}"#, "invalid_character", Some("rationales"), "U+0000");
    let many = vec!["\"r\""; 101].join(",");
    refused(&format!(r#"{{"input":"a","rationales":[{many}]}}"#), "unsupported_format", Some("rationales"), "100");
}
