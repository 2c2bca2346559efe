//! HTTP as bytes over a socket.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For a test that hangs to fail instead; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// One response, taken apart.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    /// The code of a refusal; empty for what is none.
    pub(super) fn code(&self) -> String {
        self.field("code")
    }

    /// The reason of a refusal, and each detail on a line of its own.
    pub(super) fn reason(&self) -> String {
        let details = self.json()["error"]["details"].as_array().cloned().unwrap_or_default();
        let details = details.iter().filter_map(|detail| detail.as_str());
        details.fold(self.field("reason"), |reason, detail| format!("{reason}\n{detail}"))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn field(&self, name: &str) -> String {
        self.json()["error"][name].as_str().unwrap_or("").to_owned()
    }
}

/// Sends a request with these header lines, and takes the answer apart. An error where the connection brought none.
pub(super) fn ask(address: SocketAddr, method: &str, target: &str, headers: &[&str]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    stream.write_all(format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let answer = text.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
    });
    answer.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no whole head"))
}

/// A request that may never be answered.
pub(super) fn try_get(address: SocketAddr, target: &str) -> io::Result<Reply> {
    ask(address, "GET", target, &[&format!("Host: {address}"), "Accept: application/json"])
}
