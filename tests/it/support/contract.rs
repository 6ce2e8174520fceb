//! Holds every response to the OpenAPI document: its status is declared for the operation, its content type is the
//! declared one, and its JSON body fits the schema.

use serde_json::{Map, Value, json};

/// The document, ready to judge responses.
pub struct Contract {
    paths: Map<String, Value>,
    components: Value,
}

/// A response as it came.
pub struct Seen<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
}

impl Contract {
    pub fn new() -> Self {
        let mut document = serde_json::to_value(stepwise::api::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().clone();
        Self { paths, components: document["components"].take() }
    }

    /// Panics unless the response is one that the document allows.
    pub fn check(&self, seen: &Seen<'_>) {
        if seen.path == "/openapi.json" {
            return;
        }
        let content = match self.operation(seen) {
            Some(operation) => self.declared(operation, seen),
            None => {
                assert!([404, 405].contains(&seen.status), "{} has no operation, and is not 404 or 405", name(seen));
                undeclared(seen.path)
            }
        };
        if content.is_null() {
            assert!(seen.body.is_empty(), "{}: a body is not declared", name(seen));
            return;
        }
        let found = seen.content_type.unwrap_or("none").split(';').next().unwrap().trim();
        let media = content.get(found);
        let media = media.unwrap_or_else(|| panic!("{}: content type {found} is not declared: {content}", name(seen)));
        if found.ends_with("json") {
            self.check_body(&media["schema"], seen);
        }
    }

    fn declared(&self, operation: &Value, seen: &Seen<'_>) -> Value {
        let declared = &operation["responses"][seen.status.to_string()];
        let body = String::from_utf8_lossy(seen.body);
        assert!(declared.is_object(), "{}: the status is not declared; the body is {body}", name(seen));
        declared["content"].clone()
    }

    /// The operation whose path fits, literal segments before variable ones.
    fn operation(&self, seen: &Seen<'_>) -> Option<&Value> {
        let path = seen.path.split('?').next().unwrap();
        let mut fitting: Vec<_> = self.paths.iter().filter(|(template, _)| fits(template, path)).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        fitting.iter().find_map(|(_, operations)| operations.get(seen.method.to_lowercase()))
    }

    fn check_body(&self, schema: &Value, seen: &Seen<'_>) {
        let body: Value = serde_json::from_slice(seen.body).unwrap_or_else(|error| panic!("{}: {error}", name(seen)));
        self.check_value(schema, &body, &name(seen));
    }

    /// Panics unless the value has the form that the document gives under this name.
    pub fn check_form(&self, form: &str, value: &Value) {
        self.check_value(&json!({"$ref": format!("#/components/schemas/{form}")}), value, form);
    }

    fn check_value(&self, schema: &Value, body: &Value, name: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.components.clone();
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(body).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(faults.is_empty(), "{name}: {}\n{body:#}", faults.join("; "));
    }
}

/// The form of an answer that no operation has: an error in the form of its path.
fn undeclared(path: &str) -> Value {
    if path == "/v2" || path.starts_with("/v2/") {
        json!({"application/json": {"schema": {"$ref": "#/components/schemas/OpenInferenceError"}}})
    } else {
        json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}})
    }
}

fn name(seen: &Seen<'_>) -> String {
    format!("{} {} -> {}", seen.method, seen.path, seen.status)
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let fit = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(fit)
}
