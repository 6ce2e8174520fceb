//! A client of server-sent events that reads what comes when it comes.

use serde_json::Value;

use super::app::TestApp;

/// A stream that has begun.
pub struct EventStream {
    response: reqwest::Response,
    unread: String,
}

impl TestApp {
    /// Posts a request that is answered by a stream.
    pub async fn stream(&self, path: &str, body: &Value) -> EventStream {
        self.stream_with(path, body, &[]).await
    }

    /// The same with more headers.
    pub async fn stream_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> EventStream {
        let url = format!("http://{}{path}", self.address);
        let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url).json(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        EventStream::of(request.send().await.unwrap())
    }
}

impl EventStream {
    /// The stream that an answer is.
    pub fn of(response: reqwest::Response) -> Self {
        let media = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!((response.status().as_u16(), media.as_str()), (200, "text/event-stream; charset=utf-8"));
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { response, unread: String::new() }
    }

    /// The next event's data; none when the stream has ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(str::to_owned);
                assert!(data.is_some() || event.starts_with(':'), "an event of more than data: {event:?}");
                self.unread = rest.to_owned();
                match data {
                    Some(data) => return Some(data),
                    None => continue,
                }
            }
            match self.response.chunk().await.unwrap() {
                // A character that were cut in two would be no text.
                Some(bytes) => self.unread.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => {
                    assert_eq!(self.unread, "", "the stream broke off");
                    return None;
                }
            }
        }
    }

    /// The next event as JSON.
    pub async fn chunk(&mut self) -> Value {
        let data = self.next().await.expect("the stream goes on");
        serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"))
    }

    /// All chunks up to `[DONE]`, which nothing follows.
    pub async fn all(mut self) -> Vec<Value> {
        let mut chunks = Vec::new();
        while let Some(data) = self.next().await {
            if data == "[DONE]" {
                assert_eq!(self.next().await, None, "something follows the end");
                return chunks;
            }
            chunks.push(serde_json::from_str(&data).unwrap());
        }
        panic!("a stream without an end: {chunks:#?}");
    }
}
