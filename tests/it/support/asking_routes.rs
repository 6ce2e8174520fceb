//! The routes that ask a student.

use serde_json::{Value, json};

/// Each of them with a request of this one input: the native one, OpenAI's two, whose answers may be streamed, and the Open Inference
/// Protocol's.
pub fn asking_routes(model: &str, input: &str) -> [(String, Value); 4] {
    let message = json!({"role": "user", "content": input});
    let tensor = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": [input]});
    [
        ("/v1/predictions".to_owned(), json!({"model": model, "inputs": [input]})),
        ("/v1/completions".to_owned(), json!({"model": model, "prompt": input})),
        ("/v1/chat/completions".to_owned(), json!({"model": model, "messages": [message]})),
        (format!("/v2/models/{model}/infer"), json!({"inputs": [tensor]})),
    ]
}
