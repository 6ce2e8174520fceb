//! The document: committed, current, of the right version, and whole: a description and an example for every operation,
//! parameter and member.

use std::collections::BTreeMap;

use serde_json::{Value, json};

fn document() -> Value {
    serde_json::to_value(stepwise::api::openapi()).unwrap()
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = members(&document["paths"]);
    paths
        .flat_map(|(path, of)| members(of).map(move |(method, operation)| (format!("{method} {path}"), operation)))
        .collect()
}

fn says(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().len() > 3)
}

#[test]
fn openapi_yaml_is_what_the_routes_say() {
    let committed = include_str!("../../openapi.yaml");
    let current = stepwise::api::openapi_yaml();
    assert!(
        committed == current,
        "openapi.yaml is not current; regenerate it: cargo run --release -- openapi > openapi.yaml"
    );
}

#[test]
fn every_operation_parameter_and_body_is_described_and_shown() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut holes = Vec::new();
    for (name, operation) in operations(&document) {
        let mut need = |holds: bool, what: String| {
            if !holds {
                holes.push(format!("{name}: {what}"))
            }
        };
        need(says(&operation["summary"]), "summary".to_owned());
        need(says(&operation["description"]), "description".to_owned());
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            need(says(&parameter["description"]), format!("description of {}", parameter["name"]));
            need(parameter.get("example").is_some(), format!("example of {}", parameter["name"]));
        }
        for (_, content) in members(&operation["requestBody"]["content"]) {
            need(content.get("example").is_some(), "example of the request".to_owned());
        }
        for (status, response) in members(&operation["responses"]) {
            need(says(&response["description"]), format!("description of {status}"));
            for (media, content) in members(&response["content"]) {
                need(!media.ends_with("json") || content.get("example").is_some(), format!("example of {status}"));
            }
        }
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}

#[test]
fn every_member_of_every_schema_is_described_and_shown() {
    let document = document();
    let mut holes = Vec::new();
    for (name, schema) in members(&document["components"]["schemas"]) {
        if !name.starts_with("List_") && !says(&schema["description"]) {
            holes.push(format!("{name}: description"));
        }
        let variants = ["allOf", "oneOf", "anyOf"].iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
        for part in variants.chain([schema]) {
            for (member, of) in members(&part["properties"]) {
                holes.extend(hole(of).map(|what| format!("{name}.{member}: {what}")));
            }
        }
    }
    assert!(holes.is_empty(), "{}", holes.join("\n"));
}

/// What a member lacks. One that refers to a schema is described and shown there.
fn hole(member: &Value) -> Option<&'static str> {
    let variants = || member["oneOf"].as_array().into_iter().flatten();
    let refers = |of: &Value| of.get("$ref").is_some();
    let described = says(&member["description"]) || refers(member) || variants().any(|of| says(&of["description"]));
    let referred = refers(member) || refers(&member["items"]) || variants().any(refers);
    match () {
        () if !described => Some("description"),
        () if !referred && member.get("example").is_none() && member.get("examples").is_none() => Some("example"),
        () => None,
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "nothing is at {pointer}");
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = document();
    let mut faults = BTreeMap::new();
    for (name, schema) in members(&document["components"]["schemas"]) {
        for example in schema["examples"].as_array().into_iter().flatten() {
            let mut whole = json!({"$ref": format!("#/components/schemas/{name}")});
            whole["components"] = document["components"].clone();
            whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
            let validator = jsonschema::validator_for(&whole).unwrap();
            let found: Vec<_> =
                validator.iter_errors(example).map(|error| format!("{error} at {}", error.instance_path())).collect();
            if !found.is_empty() {
                faults.insert(name, found);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
