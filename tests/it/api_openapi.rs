//! The document: committed, current, and of the right version.

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
fn every_operation_says_what_it_does() {
    let document = serde_json::to_value(stepwise::api::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}: {operation}");
        }
    }
}
