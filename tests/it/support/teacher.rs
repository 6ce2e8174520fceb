//! A teacher that answers only when it is let, and remembers what it was asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use serde_json::{Value, json};
use stepwise::{task::prompt::Message, teacher::CompletionRequest};
use tokio::sync::Semaphore;

use super::listening::serve;

/// What a teacher is asked where only the messages matter.
pub fn question(messages: Vec<Message>) -> CompletionRequest {
    CompletionRequest {
        messages,
        temperature: 0.0,
        max_output_tokens: 16,
        stop: Vec::new(),
        seed: None,
        answer_schema: None,
        idempotency_key: None,
    }
}

/// A teacher behind a gate.
#[derive(Clone)]
pub struct GatedTeacher {
    pub address: SocketAddr,
    memory: Arc<Memory>,
}

struct Memory {
    gate: Semaphore,
    /// The idempotency key of each question, in the order of their coming.
    asked: Mutex<Vec<String>>,
    /// Those of them that were let through.
    answered: Mutex<Vec<String>>,
}

impl GatedTeacher {
    /// A teacher whose gate is shut.
    pub async fn start() -> Self {
        let memory = Arc::new(Memory { gate: Semaphore::new(0), asked: Mutex::default(), answered: Mutex::default() });
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(Arc::clone(&memory));
        Self { address: serve(router).await, memory }
    }

    /// Lets so many questions be answered, of those that wait or of those to come.
    pub fn let_through(&self, questions: usize) {
        self.memory.gate.add_permits(questions);
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<String> {
        self.memory.asked.lock().unwrap().clone()
    }

    /// The questions that were answered.
    pub fn answered(&self) -> Vec<String> {
        self.memory.answered.lock().unwrap().clone()
    }
}

async fn answer(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> axum::Json<Value> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    memory.asked.lock().unwrap().push(key.clone());
    memory.gate.acquire().await.unwrap().forget();
    memory.answered.lock().unwrap().push(key);
    axum::Json(json!({
        "choices": [{"message": {"content": "It is so. So the answer is yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 8},
    }))
}
