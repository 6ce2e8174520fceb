//! Examples for the OpenAPI document. Each schema has one whole, realistic value in `examples.json`; it becomes the
//! example of the schema, of each of its members, and of every request and answer that has the form. So the examples of
//! a document agree with each other, and a member without one is a hole that a test finds.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// `schemas`: a value by the schema's name. `variants`: more of them, for schemas that have several forms. `parameters`:
/// values of parameters by theirs.
const EXAMPLES: &str = include_str!("examples.json");

/// The document with its examples, and with a description of every operation.
pub fn attach(document: &OpenApi) -> OpenApi {
    let examples: Value = serde_json::from_str(EXAMPLES).expect("examples.json is JSON, as a test knows");
    let mut whole = serde_json::to_value(document).expect("the document is plain data");
    let schemas = of_schemas(&examples["schemas"], &whole["components"]["schemas"]);
    for (name, schema) in members(&mut whole["components"]["schemas"]) {
        let others = examples["variants"][name].as_array().into_iter().flatten();
        for example in schemas.get(name).into_iter().chain(others) {
            give(schema, example);
        }
    }
    let parameters = &examples["parameters"];
    for operation in members(&mut whole["paths"]).flat_map(|(_, operations)| members(operations)) {
        describe(operation.1);
        complete(operation.1, &schemas, parameters);
    }
    serde_json::from_value(whole).expect("examples leave the document an OpenAPI document")
}

/// The given examples, and those of lists, which are made of their items'.
fn of_schemas(given: &Value, schemas: &Value) -> Map<String, Value> {
    let mut found = given.as_object().cloned().unwrap_or_default();
    for name in schemas.as_object().into_iter().flatten().map(|(name, _)| name) {
        if let Some(item) = name.strip_prefix("List_").and_then(|item| found.get(item)) {
            let list = json!({"object": "list", "data": [item], "has_more": false});
            found.entry(name.clone()).or_insert(list);
        }
    }
    found
}

fn members(object: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    object.as_object_mut().into_iter().flatten()
}

/// Gives a schema its example, and each of its members its own; what is there already stays.
fn give(schema: &mut Value, example: &Value) {
    give_one(schema, example);
    for variants in ["allOf", "oneOf", "anyOf"] {
        for variant in schema[variants].as_array_mut().into_iter().flatten() {
            give_members(variant, example);
        }
    }
    give_members(schema, example);
}

fn give_members(schema: &mut Value, example: &Value) {
    for (name, member) in schema.get_mut("properties").into_iter().flat_map(members) {
        if let Some(example) = example.get(name) {
            give_one(member, example);
        }
    }
}

fn give_one(schema: &mut Value, example: &Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    // A derive's example of null is lost on the way through utoipa; a list of examples is not.
    if schema.get("example").is_some_and(Value::is_null) {
        schema.remove("example");
    }
    // Beside a reference nothing else may stand; what it refers to has its own.
    let has_one = ["$ref", "example", "examples"].iter().any(|key| schema.contains_key(*key));
    if !has_one {
        schema.insert("examples".to_owned(), json!([example]));
    }
}

/// Where only a summary is written, its first sentence stays and the whole becomes the description.
fn describe(operation: &mut Value) {
    let Some(text) = operation["summary"].as_str().filter(|_| operation["description"].is_null()).map(str::to_owned)
    else {
        return;
    };
    let text = text.replace('\n', " ");
    let first = text.split_inclusive(['.', '?', ':']).next().unwrap_or(&text);
    operation["summary"] = json!(first.trim_end_matches(['.', ':']));
    operation["description"] = json!(text);
}

/// Gives an operation's parameters and bodies their examples.
fn complete(operation: &mut Value, schemas: &Map<String, Value>, parameters: &Value) {
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let of_schema = referred(&parameter["schema"]).and_then(|name| schemas.get(name));
        let example = of_schema.or_else(|| parameters.get(name)).cloned();
        if let (Some(example), true) = (example, parameter.get("example").is_none()) {
            parameter["example"] = example;
        }
    }
    for (_, content) in operation.get_mut("requestBody").into_iter().flat_map(|body| members(&mut body["content"])) {
        show(content, schemas);
    }
    for (_, response) in members(&mut operation["responses"]) {
        for (_, content) in response.get_mut("content").into_iter().flat_map(members) {
            show(content, schemas);
        }
    }
}

/// Gives a body the example of its form.
fn show(content: &mut Value, schemas: &Map<String, Value>) {
    let example = referred(&content["schema"]).and_then(|name| schemas.get(name)).cloned();
    if let (Some(example), true) = (example, content.get("example").is_none()) {
        content["example"] = example;
    }
}

fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}
