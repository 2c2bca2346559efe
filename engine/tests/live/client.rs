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
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// The code of a refusal; empty for what is none.
    pub(crate) fn code(&self) -> String {
        self.field("code")
    }

    /// The reason of a refusal, and each detail on a line of its own.
    pub(crate) fn reason(&self) -> String {
        let details = self.json()["error"]["details"].as_array().cloned().unwrap_or_default();
        let details = details.iter().filter_map(|detail| detail.as_str());
        details.fold(self.field("reason"), |reason, detail| format!("{reason}\n{detail}"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn field(&self, name: &str) -> String {
        self.json()["error"][name].as_str().unwrap_or("").to_owned()
    }
}

/// A request that was sent, and whose answer is waited for later.
pub(crate) struct Pending(TcpStream);

impl Pending {
    /// The answer. An error where the connection brought none.
    pub(crate) fn try_end(mut self) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let reply = text.split_once("\r\n\r\n").and_then(|(head, body)| {
            let status = head.split(' ').nth(1)?.parse().ok()?;
            Some(Reply { status, head: head.to_owned(), body: body.to_owned() })
        });
        reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("no whole head: {text:?}")))
    }

    #[track_caller]
    pub(crate) fn end(self) -> Reply {
        self.try_end().unwrap()
    }
}

/// Sends a request with no header lines but these and what its body needs.
pub(crate) fn begin(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> io::Result<Pending> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n{length}{headers}\r\n");
    stream.write_all((head + body).as_bytes())?;
    Ok(Pending(stream))
}

/// A request that may never be answered.
pub(crate) fn try_get(address: SocketAddr, target: &str) -> io::Result<Reply> {
    begin(address, "GET", target, &[&format!("Host: {address}"), "Accept: application/json"], "")?.try_end()
}
