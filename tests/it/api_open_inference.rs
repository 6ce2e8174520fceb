//! The Open Inference Protocol: texts as a tensor, answers as tensors, errors in its own form.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::{Answer, TestApp},
    student::{desk_labels, write_student},
};

async fn desk() -> TestApp {
    let app = TestApp::start().await;
    write_student(&app, "tiny", desk_labels());
    app
}

fn texts(texts: &[&str]) -> Value {
    json!({"name": "text", "shape": [texts.len()], "datatype": "BYTES", "data": texts})
}

async fn infer(app: &TestApp, request: Value) -> Answer {
    app.post("/v2/models/tiny/infer", request).await
}

fn output<'a>(answer: &'a Answer, name: &str) -> &'a Value {
    let outputs = answer.body["outputs"].as_array().unwrap_or_else(|| panic!("{:#}", answer.body));
    outputs.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no {name}: {:#}", answer.body))
}

/// The same but for the last digits, which depend on what is computed side by side.
fn near(found: &Value, wanted: &Value) {
    assert!((found.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 1e-5, "{found} is not {wanted}");
}

#[tokio::test]
async fn a_tensor_of_texts_is_answered_as_predictions_answer_them() {
    let app = desk().await;
    let inputs = ["it is torn", "it is late"];
    let include = json!(["rationale", "confidence", "label_probs"]);
    let wanted = app.post("/v1/predictions", json!({"model": "tiny", "inputs": inputs, "include": include})).await.body;
    let outputs = json!([{"name": "rationale"}, {"name": "label"}, {"name": "label_probs"}, {"name": "confidence"}]);
    let answer = infer(&app, json!({"id": "42", "inputs": [texts(&inputs)], "outputs": outputs})).await;
    assert_eq!((answer.status, &answer.body["id"], &answer.body["model_name"]), (200, &json!("42"), &json!("tiny")));
    let names: Vec<_> =
        answer.body["outputs"].as_array().unwrap().iter().map(|output| output["name"].clone()).collect();
    assert_eq!(names, ["rationale", "label", "label_probs", "confidence"], "in the request's order");
    for (index, prediction) in wanted["data"].as_array().unwrap().iter().enumerate() {
        for name in ["label", "rationale"] {
            assert_eq!(output(&answer, name)["data"][index], prediction[name], "{name} {index}");
        }
        near(&output(&answer, "confidence")["data"][index], &prediction["confidence"]);
        let probabilities = output(&answer, "label_probs")["data"][index].as_str().unwrap();
        let probabilities: Value = serde_json::from_str(probabilities).unwrap();
        let labels = prediction["label_probs"].as_object().unwrap();
        assert_eq!(probabilities.as_object().unwrap().len(), labels.len());
        labels.iter().for_each(|(label, probability)| near(&probabilities[label], probability));
    }
    let kinds =
        ["label", "confidence"].map(|name| (&output(&answer, name)["datatype"], &output(&answer, name)["shape"]));
    assert_eq!(kinds, [(&json!("BYTES"), &json!([2])), (&json!("FP32"), &json!([2]))]);
}

#[tokio::test]
async fn outputs_are_label_and_confidence_unless_more_is_asked_for_and_nested_data_keeps_its_shape() {
    let app = desk().await;
    let nested =
        json!({"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["it is torn"], ["it is late"]]});
    let answer = infer(&app, json!({"inputs": [nested]})).await;
    assert_eq!(answer.body["outputs"].as_array().unwrap().len(), 2);
    assert_eq!(output(&answer, "confidence")["shape"], json!([2, 1]));
    assert!(answer.body.get("id").is_none(), "{:#}", answer.body);
    let parameters = json!({"rationale": true, "label_probs": false, "binary_data_output": false});
    let answer = infer(&app, json!({"inputs": [texts(&["it is late"])], "parameters": parameters})).await;
    assert_eq!(answer.body["outputs"].as_array().unwrap().len(), 3);
    assert!(output(&answer, "rationale")["data"][0].is_string());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_protocols_form() {
    let app = desk().await;
    let tensor = |name: &str, value: Value| {
        let mut tensor = texts(&["a", "b"]);
        tensor[name] = value;
        json!({"inputs": [tensor]})
    };
    let with = |name: &str, value: Value| json!({"inputs": [texts(&["a"])], name: value});
    let bytes = "tensors as bytes (the binary extension) are not offered";
    let cases = [
        (json!({"inputs": []}), "inputs: 0 tensors; send one"),
        (json!({}), "inputs: the field \"inputs\" is missing"),
        (tensor("name", json!("txt")), "inputs/0/name: \"txt\" is no input; did you mean \"text\"?"),
        (tensor("datatype", json!("FP32")), "inputs/0/datatype: \"FP32\" is not read; send BYTES"),
        (tensor("shape", json!([3])), "inputs/0/shape: the shape is [3], and data has 2 texts"),
        (tensor("shape", json!([1, 2])), "inputs/0/shape: the shape is [1, 2]; send [n] or [n, 1]"),
        (tensor("data", json!(["a", 5])), "inputs/0/data/1: an element is no text"),
        (tensor("data", json!(["a", " "])), "inputs/0/data/1: the text is empty"),
        (tensor("data", json!([["a"], [5]])), "inputs/0/data/1/0: an element is no text"),
        (tensor("data", json!([["a"], ["b"]])), "inputs/0/shape: the shape is [2], and data has a row for each text"),
        (tensor("data", json!([["a", "b"], ["c"]])), "inputs/0/data/0: the row has 2 texts"),
        (tensor("data", json!([["a"], "b"])), "inputs/0/data/1: an element is no row"),
        (tensor("data", json!(["a", ["b"]])), "inputs/0/data/1: an element is no text"),
        (tensor("data", json!([["a"], [[" "]]])), "inputs/0/data/1/0: an element is no text"),
        (with("parameters", json!({"a.b/c": true})), "parameters/a.b~1c: unknown parameter \"a.b/c\""),
        (tensor("data", json!(null)), bytes),
        (tensor("parameters", json!({"binary_data_size": 7})), bytes),
        (with("parameters", json!({"binary_data_output": true})), bytes),
        (with("outputs", json!([{"name": "label", "parameters": {"binary_data": true}}])), bytes),
        (
            with("outputs", json!([{"name": "lable"}])),
            "outputs/0/name: \"lable\" is no output; did you mean \"label\"?",
        ),
        (
            with("outputs", json!([{"name": "label"}, {"name": "label"}])),
            "outputs/1/name: \"label\" is asked for twice",
        ),
        (with("parameters", json!({"rational": true})), "did you mean \"rationale\"?"),
        (with("parameters", json!({"rationale": "yes"})), "parameters/rationale: rationale: send true or false"),
        (with("output", json!([])), "unknown field \"output\"; did you mean \"outputs\"?"),
    ];
    for (request, wanted) in cases {
        let answer = infer(&app, request.clone()).await;
        let error = answer.body["error"].as_str().unwrap_or_else(|| panic!("{request}: {:#}", answer.body));
        assert!(answer.status == 400 && error.contains(wanted), "{request}: {error}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let many = vec!["a"; 257];
    assert!(infer(&app, json!({"inputs": [texts(&many)]})).await.body["error"].as_str().unwrap().contains("1 to 256"));
    let request = json!({"inputs": [texts(&["it is late"])]}).to_string();
    let untyped = app.request(Method::POST, "/v2/models/tiny/infer", |sent| sent.body(request.clone())).await;
    assert_eq!(untyped.status, 200, "Triton's client names no type: {:#}", untyped.body);
    let framed = app.request(Method::POST, "/v2/models/tiny/infer", |request| {
        request.header("inference-header-content-length", "10").body("{}")
    });
    assert!(framed.await.body["error"].as_str().unwrap().contains(bytes));
}

#[tokio::test]
async fn a_model_says_what_it_reads_and_a_version_is_these_weights_and_no_others() {
    let app = desk().await;
    let model = app.get("/v2/models/tiny").await.body;
    let version = model["versions"][0].as_str().unwrap().to_owned();
    assert_eq!(model["inputs"], json!([{"name": "text", "datatype": "BYTES", "shape": [-1]}]));
    let outputs: Vec<_> = model["outputs"].as_array().unwrap().iter().map(|output| output["name"].clone()).collect();
    assert_eq!(outputs, ["label", "confidence", "label_probs", "rationale"]);
    assert_eq!(app.get("/v2/models/tiny/ready").await.body, json!({"name": "tiny", "ready": true}));
    let of = |version: &str, rest: &str| format!("/v2/models/tiny/versions/{version}{rest}");
    let request = json!({"inputs": [texts(&["it is late"])]});
    let answer = app.post(&of(&version, "/infer"), request.clone()).await;
    assert_eq!((answer.status, &answer.body["model_version"]), (200, &json!(version)));
    assert_eq!(app.get(&of(&version, "")).await.body, model);
    assert_eq!(app.get(&of(&version, "/ready")).await.status, 200);
    for missing in
        [app.get(&of("1", "")).await, app.get(&of("1", "/ready")).await, app.post(&of("1", "/infer"), request).await]
    {
        assert!(missing.status == 404 && missing.body["error"].is_string(), "{:#}", missing.body);
    }
}

#[tokio::test]
async fn models_are_found_by_every_name_and_what_is_missing_is_said_in_the_protocols_form() {
    let app = desk().await;
    app.request(Method::PUT, "/v1/aliases/live", |request| request.json(&json!({"model": "tiny"}))).await;
    let request = json!({"inputs": [texts(&["it is late"])]});
    assert_eq!(app.post("/v2/models/live/infer", request.clone()).await.body["model_name"], "tiny");
    let job = app.distillation().await;
    app.leave(app.claim(&job).await, 4, None).await;
    let name = format!("{}:ckpt-step-4", job.id);
    let encoded = name.replace(':', "%3A");
    assert_eq!(app.post(&format!("/v2/models/{encoded}/infer"), request.clone()).await.body["model_name"], name);
    for (path, wanted) in [
        ("/v2/models/tinny", "there is no model \"tinny\"; did you mean \"tiny\"?"),
        ("/v2/models/google%2Ft5-small/ready", "there is no model \"google/t5-small\""),
        ("/v2/nothing", "nothing is served at /v2/nothing"),
        ("/v2/models/tiny/infer", "GET is not served at /v2/models/tiny/infer"),
    ] {
        let answer = app.get(path).await;
        let error = answer.body["error"].as_str().unwrap_or_else(|| panic!("{path}: {:#}", answer.body));
        assert!([404, 405].contains(&answer.status) && error.contains(wanted), "{path}: {error}");
    }
    std::fs::remove_file(app.models_dir.join("tiny/model.safetensors")).unwrap();
    let broken = app.get("/v2/models/tiny/ready").await;
    assert_eq!((broken.status, broken.body), (503, json!({"name": "tiny", "ready": false})));
    assert!(infer(&app, request).await.body["error"].as_str().unwrap().contains("model.safetensors"));
}

#[tokio::test]
async fn the_server_says_what_it_is_and_that_it_is_ready() {
    let app = desk().await;
    let server = app.get("/v2").await.body;
    assert_eq!((&server["name"], &server["extensions"]), (&json!("stepwise"), &json!([])));
    assert_eq!(app.get("/v2/health/live").await.body, json!({"live": true}));
    let ready = app.get("/v2/health/ready").await;
    assert_eq!((ready.status, ready.body), (200, json!({"live": true, "ready": true})));
}

#[tokio::test]
async fn what_is_not_ready_or_cannot_be_told_is_503() {
    let (app, mut cable) = TestApp::start_on_cable().await;
    write_student(&app, "tiny", desk_labels());
    let version = app.get("/v2/models/tiny").await.body["versions"][0].as_str().unwrap().to_owned();
    let model = app.model("desk").await;
    std::fs::write(app.models_dir.join("tiny/model.safetensors"), b"no weights").unwrap();
    let broken = infer(&app, json!({"inputs": [texts(&["it is late"])]})).await;
    assert!(
        broken.status == 400 && broken.body["error"].as_str().unwrap().contains("\"tiny\" cannot be used"),
        "{broken:?}"
    );
    assert_eq!(app.get(&format!("/v2/models/tiny/versions/{version}/ready")).await.status, 404, "other weights");
    std::fs::remove_file(app.models_dir.join("tiny/model.safetensors")).unwrap();
    for path in ["/v2/models/tiny/ready", "/v2/models/tiny/versions/fp_0/ready"] {
        let answer = app.get(path).await;
        assert_eq!((answer.status, answer.body), (503, json!({"name": "tiny", "ready": false})), "{path}");
    }
    cable.cut();
    for path in [format!("/v2/models/{}/ready", model.name), format!("/v2/models/{}/versions/fp_0/ready", model.name)] {
        let answer = app.get(&path).await;
        assert!(answer.status == 503 && answer.body["error"].is_string(), "{path}: {answer:?}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    let server = app.get("/v2/health/ready").await;
    assert_eq!((server.status, server.body), (503, json!({"live": false, "ready": false})));
}
