//! A connection of HTTP/1.1 whose every byte is the test's own.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An open connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// One that has been answered once and was not told that this was all.
    pub async fn kept(address: SocketAddr) -> Self {
        let mut wire = Self::open(address).await;
        let answer = wire.get("/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("\r\nconnection:"), "{answer}");
        wire
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Asks for a path; the answer, its head included.
    pub async fn get(&mut self, path: &str) -> String {
        self.write(&format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer, which tells its length.
    pub async fn answer(&mut self) -> String {
        loop {
            let text = String::from_utf8(self.unread.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                if body.len() >= length {
                    return String::from_utf8(self.unread.drain(..head.len() + 4 + length).collect()).unwrap();
                }
            }
            assert!(
                self.stream.read_buf(&mut self.unread).await.unwrap() > 0,
                "it was closed within an answer: {text}"
            );
        }
    }

    /// Waits until the other side closes it, with nothing more to say.
    pub async fn until_closed(mut self) {
        let count = self.stream.read_buf(&mut self.unread).await.unwrap();
        assert_eq!((count, String::from_utf8_lossy(&self.unread).as_ref()), (0, ""));
    }
}
