//! Which scope each operation needs. One table, beside the routes: the gate reads it at each request, and the OpenAPI document
//! says what it says. Whatever it does not know under `/v1` or `/v2` needs `admin`, so that a route that was forgotten here is
//! closed and not open; a test finds it.

use axum::http::Method;
use serde_json::{Value, json};
use utoipa::{ToSchema, openapi::OpenApi};

use super::{
    open_inference::{OpenInferenceError, is_of_protocol},
    problem::{PROBLEM_JSON, Problem},
};
use crate::domain::Scope::{self, Admin, Infer, Read, Submit};

/// Method, route, and the scope that it needs; none: everybody may ask, as probes and scrapers must.
const TABLE: &[(&str, &str, Option<Scope>)] = &[
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/metrics", None),
    ("GET", "/v2/health/live", None),
    ("GET", "/v2/health/ready", None),
    ("GET", "/v1/files", Some(Read)),
    ("POST", "/v1/files", Some(Submit)),
    ("GET", "/v1/files/{id}", Some(Read)),
    ("DELETE", "/v1/files/{id}", Some(Admin)),
    ("GET", "/v1/files/{id}/content", Some(Read)),
    ("GET", "/v1/files/{id}/statistics", Some(Read)),
    ("POST", "/v1/annotation-jobs", Some(Submit)),
    ("POST", "/v1/distillation-jobs", Some(Submit)),
    ("POST", "/v1/evaluation-jobs", Some(Submit)),
    ("GET", "/v1/jobs", Some(Read)),
    ("GET", "/v1/jobs/{id}", Some(Read)),
    ("POST", "/v1/jobs/{id}/cancel", Some(Submit)),
    ("POST", "/v1/jobs/{id}/pause", Some(Submit)),
    ("POST", "/v1/jobs/{id}/resume", Some(Submit)),
    ("POST", "/v1/jobs/{id}/retry", Some(Submit)),
    ("GET", "/v1/jobs/{id}/events", Some(Read)),
    ("GET", "/v1/jobs/{id}/metrics", Some(Read)),
    ("GET", "/v1/jobs/{id}/annotations", Some(Read)),
    ("GET", "/v1/jobs/{id}/report", Some(Read)),
    ("GET", "/v1/jobs/{id}/checkpoints", Some(Read)),
    ("GET", "/v1/fine_tuning/jobs", Some(Read)),
    ("POST", "/v1/fine_tuning/jobs", Some(Submit)),
    ("GET", "/v1/fine_tuning/jobs/{id}", Some(Read)),
    ("POST", "/v1/fine_tuning/jobs/{id}/cancel", Some(Submit)),
    ("POST", "/v1/fine_tuning/jobs/{id}/pause", Some(Submit)),
    ("POST", "/v1/fine_tuning/jobs/{id}/resume", Some(Submit)),
    ("GET", "/v1/fine_tuning/jobs/{id}/events", Some(Read)),
    ("GET", "/v1/fine_tuning/jobs/{id}/checkpoints", Some(Read)),
    ("GET", "/v1/models", Some(Read)),
    ("GET", "/v1/models/{id}", Some(Read)),
    ("DELETE", "/v1/models/{id}", Some(Admin)),
    ("GET", "/v1/models/{id}/export", Some(Read)),
    ("GET", "/v1/aliases", Some(Read)),
    ("GET", "/v1/aliases/{name}", Some(Read)),
    ("PUT", "/v1/aliases/{name}", Some(Admin)),
    ("DELETE", "/v1/aliases/{name}", Some(Admin)),
    ("GET", "/v1/audit-log", Some(Admin)),
    ("POST", "/v1/predictions", Some(Infer)),
    ("POST", "/v1/completions", Some(Infer)),
    ("POST", "/v1/chat/completions", Some(Infer)),
    ("GET", "/v2", Some(Read)),
    ("GET", "/v2/models/{name}", Some(Read)),
    ("GET", "/v2/models/{name}/ready", Some(Read)),
    ("GET", "/v2/models/{name}/versions/{version}", Some(Read)),
    ("GET", "/v2/models/{name}/versions/{version}/ready", Some(Read)),
    ("POST", "/v2/models/{name}/infer", Some(Infer)),
    ("POST", "/v2/models/{name}/versions/{version}/infer", Some(Infer)),
];

/// The scheme's name in the document.
const SCHEME: &str = "api_key";

/// The scope that a request needs, by its method and route. A GET's scope is also its HEAD's.
pub fn needed(method: &Method, route: &str) -> Option<Scope> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    match find(method, route) {
        Some(scope) => scope,
        None => (route.starts_with("/v1") || route.starts_with("/v2")).then_some(Admin),
    }
}

/// Whether a request of this scope and method changes something that the audit log is to have.
pub fn changes(method: &Method, scope: Scope) -> bool {
    scope != Infer && ![Method::GET, Method::HEAD].contains(method)
}

fn find(method: &str, route: &str) -> Option<Option<Scope>> {
    TABLE.iter().find(|(known, path, _)| (*known, *path) == (method, route)).map(|(_, _, scope)| *scope)
}

/// The document with what each operation needs, and with the answers of the gate.
pub fn guarded(document: &OpenApi) -> OpenApi {
    let mut whole = serde_json::to_value(document).expect("the document is plain data");
    declare(&mut whole);
    serde_json::from_value(whole).expect("scopes leave the document an OpenAPI document")
}

fn declare(document: &mut Value) {
    document["components"]["securitySchemes"][SCHEME] = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sw_…",
        "description": "A key of `stepwise keys create`. Each operation names the scope that it needs: `read`, `submit`, \
            `infer` or `admin`. A service of this machine alone that has never had a key takes requests without one.",
    });
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            if let Some(Some(scope)) = find(&method.to_uppercase(), path) {
                operation["security"] = json!([{SCHEME: [scope.as_str()]}]);
                answers(operation, path);
            }
        }
    }
}

fn answers(operation: &mut Value, path: &str) {
    let declared = [
        ("401", "The request has no API key that is good; `www-authenticate` says that one is wanted"),
        ("403", "The key has not the scope that this needs; the error names it"),
        ("429", "Too many wrong keys came from this address; `retry-after` says when to come back"),
        ("503", "The database cannot be asked about the key at the moment; `retry-after` says when to come back"),
    ];
    for (status, description) in declared {
        if operation["responses"][status].is_null() {
            operation["responses"][status] = json!({"description": description, "content": form(path)});
        }
    }
}

fn form(path: &str) -> Value {
    let (media, name) = match is_of_protocol(path) {
        true => ("application/json", OpenInferenceError::name()),
        false => (PROBLEM_JSON, Problem::name()),
    };
    json!({media: {"schema": {"$ref": format!("#/components/schemas/{name}")}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_does_not_know_is_closed() {
        assert_eq!(needed(&Method::GET, "/v1/forgotten"), Some(Admin));
        assert_eq!(needed(&Method::PATCH, "/v1/jobs"), Some(Admin));
        assert_eq!(needed(&Method::HEAD, "/v1/jobs"), Some(Read));
        assert_eq!(needed(&Method::HEAD, "/v2/health/live"), None);
        assert_eq!(needed(&Method::GET, "/openapi.json"), None);
    }

    #[test]
    fn asking_a_student_changes_nothing() {
        assert!(changes(&Method::POST, Submit) && changes(&Method::DELETE, Admin));
        assert!(!changes(&Method::POST, Infer) && !changes(&Method::GET, Admin));
    }
}
