//! A service that is told to stop while clients speak HTTP/2 with it, which they do without having asked for it in HTTP/1.1 before.

use std::time::{Duration, Instant};

use axum::http::{Request, Version};
use h2::{Reason, RecvStream, client};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{
    service::until,
    talking_service::{STUDENT, TalkingService, long, streamed},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http2_is_told_at_once_and_what_it_asked_before_ends_whole() {
    const NOTICE: Duration = Duration::from_secs(5);
    let mut service = TalkingService::begin(&["--drain-notice-seconds", "5", "--request-drain-seconds", "300"]).await;
    let pooled = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let healthy = pooled.get(format!("http://{}/healthz", service.listen)).send().await.unwrap();
    assert_eq!((healthy.status().as_u16(), healthy.version()), (200, Version::HTTP_2));

    let tcp = TcpStream::connect(service.listen).await.unwrap();
    let (client, connection) = client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/v1/completions", service.listen));
    let request = request.header("content-type", "application/json").body(()).unwrap();
    let (response, mut body) = client.clone().ready().await.unwrap().send_request(request, false).unwrap();
    body.send_data(streamed(long(40, 2048)).to_string().into(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status().as_u16(), 200);

    let begun = Instant::now();
    service.stop();
    let told = until("the client is told", async || client.clone().ready().await.err()).await;
    assert!(told.is_go_away() && told.is_remote() && told.reason() == Some(Reason::NO_ERROR), "{told}");
    assert!(begun.elapsed() < NOTICE, "it was told after {:?}", begun.elapsed());
    // Another client asks again, over whatever connection.
    let late = pooled.post(format!("http://{}/v1/predictions", service.listen));
    let late = late.json(&json!({"model": STUDENT, "inputs": ["late"]})).send().await.unwrap();
    assert_eq!((late.status().as_u16(), late.version()), (503, Version::HTTP_2));
    assert_eq!(late.headers().get("connection"), None, "HTTP/2 knows no such header");
    assert_eq!(late.json::<Value>().await.unwrap()["error"]["code"], "draining");

    let text = read(response.into_body()).await;
    assert_eq!(text.matches("\"finish_reason\":\"length\"").count(), 40, "the answers are not whole");
    assert!(text.ends_with("data: [DONE]\n\n"), "{}", &text[text.len() - 200..]);
    connection.await.unwrap().unwrap();
    assert!(service.process.wait());
    assert!(!service.log().contains("cut off"), "{}", service.log());
}

/// All of a body, as fast as it comes.
async fn read(mut body: RecvStream) -> String {
    let mut whole = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.unwrap();
        body.flow_control().release_capacity(bytes.len()).unwrap();
        whole.extend_from_slice(&bytes);
    }
    String::from_utf8(whole).unwrap()
}
