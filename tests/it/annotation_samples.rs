//! How an annotation comes to its verdicts: several samples and their vote, repairs, and the rationales that are kept.

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    talker::{ANSWER_TOKENS, Heard, PROMPT_TOKENS, Talker},
};

/// The words of an answer in the form that the task wants.
fn says(rationale: &str, label: &str) -> String {
    format!("{rationale}\nAnswer: {label}")
}

/// The verdicts of a job.
async fn verdicts(app: &TestApp, job: &Value) -> Vec<Value> {
    let path = format!("/v1/jobs/{}/annotations?limit=100", job["id"].as_str().unwrap());
    app.get(&path).await.body["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn several_samples_vote_and_all_rationales_of_the_label_are_kept() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| {
        Ok(match heard.seed.unwrap() {
            0 => says("the lamp is whole", "reject"),
            1 => says("it broke", "refund"),
            2 => "I wonder.".to_owned(),
            3 => says("it broke on the way", "refund"),
            _ => says("it broke", "refund"),
        })
    })
    .await;
    let file = app.file(&[json!({"input": "a lamp"})]).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "samples": 5, "repair": false});
    let job = teacher.annotate(&app, request).await;
    assert_eq!((&job["state"], &job["spec"]["temperature"]), (&json!("succeeded"), &json!(0.7)), "{job:#}");
    assert_eq!((&job["result"]["agreement"], &job["result"]["calls"]["answered"]), (&json!(0.6), &json!(5)), "{job:#}");
    let verdict = &verdicts(&app, &job).await[0];
    assert_eq!(
        (&verdict["teacher_label"], &verdict["agreement"], &verdict["samples"]),
        (&json!("refund"), &json!(0.6), &json!(5)),
        "{verdict:#}"
    );
    assert_eq!((&verdict["rationale"], &verdict["rationales"]), (&json!("it broke"), &json!(["it broke on the way"])));
    assert_eq!(verdict["input_tokens"], 5 * PROMPT_TOKENS);
    let heard = teacher.heard();
    assert!(heard.iter().all(|heard| heard.temperature == 0.7), "{heard:?}");
    // The output is a training file whose line has both rationales.
    let output = job["result"]["output_file"].as_str().unwrap();
    let line: Value = serde_json::from_slice(&app.get(&format!("/v1/files/{output}/content")).await.bytes).unwrap();
    assert_eq!((&line["rationales"], &line["agreement"]), (&json!(["it broke on the way"]), &json!(0.6)), "{line:#}");
}

#[tokio::test]
async fn samples_that_would_all_be_alike_are_refused() {
    let app = TestApp::start().await;
    let file = app.file(&[json!({"input": "a"})]).await;
    let ask = async |more: Value| {
        let mut request = json!({"file": file, "teacher": "large"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post("/v1/annotation-jobs", request).await
    };
    ask(json!({"samples": 3, "temperature": 0})).await.refused(400, "invalid_value", "#/temperature");
    ask(json!({"samples": 0})).await.refused(400, "invalid_value", "#/samples");
    ask(json!({"samples": 41})).await.refused(400, "invalid_value", "#/samples");
    ask(json!({"rationales": "correct_only"})).await.refused(400, "invalid_value", "#/rationales");
    ask(json!({"smoke": {"rows": 2, "min_valid": 3}})).await.refused(400, "invalid_value", "#/smoke/min_valid");
    ask(json!({"smoke": {"rows": 2, "min_valid": 2}})).await.refused(400, "invalid_value", "#/smoke/min_valid");
    ask(json!({"smoke": {"rows": 0, "min_valid": 1}})).await.refused(400, "invalid_value", "#/smoke/rows");
    ask(json!({"budget": {}})).await.refused(400, "invalid_value", "#/budget");
    ask(json!({"budget": {"max_tokens": 0}})).await.refused(400, "invalid_value", "#/budget/max_tokens");
    ask(json!({"budget": {"max_usd": -1}})).await.refused(400, "invalid_value", "#/budget/max_usd");
    let free = json!({"file": file, "teacher": "scripted", "budget": {"max_usd": 1}});
    app.post("/v1/annotation-jobs", free).await.refused(400, "invalid_value", "#/budget/max_usd");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_repaired_once() {
    let app = TestApp::start().await;
    // Of the lamp the second answer can be read, of the chair none.
    let teacher = Talker::start(|heard: &Heard| {
        let is_repair = heard.idempotency_key.ends_with("-repair");
        Ok(match (heard.prompt.contains("a lamp"), is_repair) {
            (true, true) => says("it broke", "refund"),
            (_, false) => says("who knows", "perhaps"),
            (false, true) => says("nobody knows", "maybe"),
        })
    })
    .await;
    let file = app.file(&[json!({"input": "a lamp"}), json!({"input": "a chair"})]).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns"});
    let job = teacher.annotate(&app, request.clone()).await;
    assert_eq!((&job["result"]["counts"]["valid"], &job["result"]["counts"]["invalid"]), (&json!(1), &json!(1)));
    let found = verdicts(&app, &job).await;
    assert_eq!((&found[0]["teacher_label"], &found[0]["repaired"]), (&json!("refund"), &json!(true)), "{found:#?}");
    assert_eq!(found[0]["output_tokens"], 2 * ANSWER_TOKENS, "both answers were paid for");
    assert_eq!((&found[1]["status"], &found[1]["repaired"]), (&json!("invalid"), &json!(false)));
    assert!(found[1]["reason"].as_str().unwrap().contains("perhaps"), "the first answer's fault is told: {found:#?}");
    let heard = teacher.heard();
    assert_eq!(heard.len(), 4, "one repair each: {heard:?}");
    let repair = heard.iter().find(|heard| heard.idempotency_key.ends_with("-repair")).unwrap();
    assert!(repair.prompt.contains(r#"label "perhaps" is not one of"#), "{repair:?}");

    let mut strict = request;
    strict.as_object_mut().unwrap().extend([("repair".to_owned(), json!(false)), ("reuse".to_owned(), json!(false))]);
    let job = teacher.annotate(&app, strict).await;
    assert_eq!((&job["result"]["counts"]["invalid"], teacher.heard().len()), (&json!(2), 6), "{job:#}");
}

#[tokio::test]
async fn wrong_answers_are_told_by_the_ground_truth_and_their_reasons_are_asked_for_again() {
    let app = TestApp::start().await;
    // The teacher is right about the lamp, wrong about the chair, and never convinced about the desk.
    let teacher = Talker::start(|heard: &Heard| {
        let is_told = heard.idempotency_key.ends_with("-rationalization");
        let last = heard.prompt.rsplit("Input:").next().unwrap();
        Ok(match (last.contains("a lamp"), last.contains("a chair"), is_told) {
            (true, ..) => says("it broke", "refund"),
            (_, true, true) => says("it is too large", "exchange"),
            _ => says("it is used", "reject"),
        })
    })
    .await;
    let rows = [("a lamp", "refund"), ("a chair", "exchange"), ("a desk", "refund")];
    let file = app.file(&rows.map(|(input, label)| json!({"input": input, "label": label}))).await;
    let request =
        |rationales: &str| json!({"file": file, "teacher": "scripted", "task": "returns", "rationales": rationales});
    let rationales = async |keeping: &str| {
        let job = teacher.annotate(&app, request(keeping)).await;
        assert_eq!(job["result"]["teacher_accuracy"], json!(1.0 / 3.0), "{job:#}");
        let found = verdicts(&app, &job).await;
        let kept: Vec<_> = found.iter().map(|verdict| verdict["rationale"].clone()).collect();
        let shown: Vec<_> = found.iter().map(|verdict| verdict["rationalized"].clone()).collect();
        assert_eq!(found[1]["teacher_label"], "reject", "the label stays the teacher's own");
        (json!(kept), json!(shown), job["result"]["rationalized"].clone())
    };
    let none = json!([false, false, false]);
    assert_eq!(rationales("all").await, (json!(["it broke", "it is used", "it is used"]), none.clone(), json!(0)));
    assert_eq!(rationales("correct_only").await, (json!(["it broke", null, null]), none, json!(0)));
    assert_eq!(teacher.heard().len(), 3, "the second job reuses what the first one has paid for");
    let told = json!([false, true, false]);
    assert_eq!(rationales("rationalize").await, (json!(["it broke", "it is too large", null]), told, json!(1)));
    assert_eq!(teacher.heard().len(), 5);
}

#[tokio::test]
async fn an_example_of_which_no_sample_could_be_read_is_rejected_and_not_rationalized() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|_: &Heard| Ok("I wonder.".to_owned())).await;
    let file = app.file(&[json!({"input": "a lamp", "label": "refund"})]).await;
    let request = json!({"file": file, "teacher": "scripted", "task": "returns", "rationales": "rationalize"});
    let job = teacher.annotate(&app, request).await;
    let verdict = &verdicts(&app, &job).await[0];
    assert_eq!((&verdict["status"], &verdict["rationale"]), (&json!("invalid"), &Value::Null), "{verdict:#}");
    let heard = teacher.heard();
    assert!(heard.iter().all(|heard| !heard.idempotency_key.ends_with("-rationalization")), "{heard:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_rationale_is_noted_with_its_verdict() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|heard: &Heard| {
        let last = heard.prompt.rsplit("Input:").next().unwrap();
        Ok(match last.contains("a lamp") {
            true => says("It came late, so they get an exchange.", "refund"),
            false => says("It broke on the way to them.", "refund"),
        })
    })
    .await;
    let file = app.file(&["a lamp", "a chair", "a desk"].map(|input| json!({"input": input}))).await;
    let job = teacher.annotate(&app, json!({"file": file, "teacher": "scripted", "task": "returns"})).await;
    let output = job["result"]["output_file"].as_str().unwrap();
    let output = app.get(&format!("/v1/files/{output}/content")).await.bytes;
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let faults: Vec<_> =
        lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()["rationale_faults"].clone()).collect();
    assert_eq!(faults, [json!(["contradicts_label"]), json!([]), json!([])], "{job:#}");
    // Of two rationales of the same words one is a duplicate.
    assert_eq!(job["result"]["rationales"]["faults"]["duplicate"], 1, "{:#}", job["result"]);
}

#[tokio::test]
async fn a_teacher_receives_the_messages_that_the_dry_run_shows() {
    let app = TestApp::start().await;
    let teacher = Talker::start(|_: &Heard| Ok(says("it broke", "refund"))).await;
    let file = app.file(&[json!({"input": "a lamp\nin two lines"}), json!({"input": "a \u{201c}chair\u{201d}"})]).await;
    for form in ["rationale_then_label", "label_then_rationale", "json"] {
        let request =
            json!({"file": file, "teacher": "scripted", "task": "returns", "answer_form": form, "repair": false});
        let shown = app.post("/v1/annotation-jobs?dry_run=true", request.clone()).await.body;
        let shown: Vec<_> = shown["questions"].as_array().unwrap().iter().map(|one| one["messages"].clone()).collect();
        let before = teacher.heard().len();
        teacher.annotate(&app, request).await;
        let mut heard: Vec<_> = teacher.heard().split_off(before);
        // They come in any order; their keys end in the row's number.
        heard.sort_by(|left, right| left.idempotency_key.cmp(&right.idempotency_key));
        assert_eq!(heard.into_iter().map(|heard| heard.messages).collect::<Vec<_>>(), shown, "{form}");
    }
}
