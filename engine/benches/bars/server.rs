//! The servers that are measured: the engine, a bare axum route and a bare WebSocket echo, each a process of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The argument that makes this program the bare server.
pub(crate) const BARE: &str = "serve-bare-axum";

/// The same for the echo server.
pub(crate) const BARE_ECHO: &str = "serve-bare-echo";

/// Sends each WebSocket message back as it came, from nothing but tokio-tungstenite. Its read buffers are small, as its own
/// documentation advises for many connections: with those of 128 KiB that are the default it is several times slower with a thousand.
#[expect(clippy::result_large_err, reason = "tungstenite's own type")]
pub(crate) fn run_bare_echo() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("listening on http://{}", listener.local_addr().expect("bound"));
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            stream.set_nodelay(true).expect("a socket");
            tokio::spawn(async move {
                // As the engine agrees to the subprotocol that swarm asks for.
                let agree = |_: &_, mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
                    let subprotocol = wire::SUBPROTOCOL.parse().expect("a header's value");
                    response.headers_mut().insert("sec-websocket-protocol", subprotocol);
                    Ok(response)
                };
                let config = WebSocketConfig::default().read_buffer_size(4 << 10);
                let accepted = tokio_tungstenite::accept_hdr_async_with_config(stream, agree, Some(config)).await;
                let Ok(mut websocket) = accepted else { return };
                while let Some(Ok(message)) = websocket.next().await {
                    if !message.is_close() && websocket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Answers `/hello` with a text of the same length as the engine's, from nothing but axum.
pub(crate) fn run_bare() {
    use axum::{Router, routing::get};
    const ANSWER: &str =
        "hello test, this is rust plugin test!, version=1001, name=game1, oldversion=1001, oldName=game1\n";
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("listening on http://{}", listener.local_addr().expect("bound"));
        let app = Router::new().route("/hello", get(async || ANSWER));
        axum::serve(listener, app).await.expect("served");
    });
}

/// A process that serves HTTP, ended with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        let out = process.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("its first line");
        let address = line.trim().rsplit('/').next().and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("not an address: {line}")), process }
    }

    fn end(&mut self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, signal).expect("it runs");
        self.process.wait().expect("it ends");
    }

    pub(crate) fn bare() -> Self {
        Self::start(Command::new(std::env::current_exe().expect("a path")).arg(BARE))
    }

    pub(crate) fn bare_echo() -> Self {
        Self::start(Command::new(std::env::current_exe().expect("a path")).arg(BARE_ECHO))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, or going: either way there is nothing more to end.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// An engine with folders of its own.
pub(crate) struct Engine {
    pub(crate) server: Server,
    folder: tempfile::TempDir,
    probation: &'static str,
}

impl Engine {
    /// Started on version 1001 of the game that ships with it, built for release.
    pub(crate) fn start() -> Self {
        Self::start_with(&[&["1"]], "")
    }

    /// Started on the lowest of these versions, with this config. Each is the words for [`build_so`]. What is loaded is confirmed at
    /// once, for one version after the other is.
    pub(crate) fn start_with(builds: &[&[&str]], config: &str) -> Self {
        Self::start_on_probation(builds, config, "0s")
    }

    /// The same, where a version is on trial for so long.
    pub(crate) fn start_on_probation(builds: &[&[&str]], config: &str, probation: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        builds.iter().for_each(|words| build_so(&plugins, words));
        std::fs::write(folder.path().join("engine.toml"), config).expect("written");
        let server = serve(folder.path(), probation);
        Self { server, folder, probation }
    }

    /// Ended by a signal, and started again on what it kept.
    pub(crate) fn start_again(&mut self, signal: rustix::process::Signal) {
        self.server.end(signal);
        self.server = serve(self.folder.path(), self.probation);
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub(crate) fn build(&self, version: &str) {
        build_so(&self.plugins(), &[version]);
    }

    /// A copy of a plugin whose bytes are new, in a place where they mean nothing: the compiler's name in its comment. Gives its
    /// name.
    pub(crate) fn fresh_copy(&self, name: &str) -> String {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut bytes = std::fs::read(self.plugins().join(name)).expect("built");
        // It would no longer be the seal of these bytes.
        bytes.truncate(bytes.len() - engine::loader::seal::SEAL_BYTES);
        let comment = bytes.windows(5).rposition(|five| five == b"rustc").expect("the comment that rustc leaves");
        bytes[comment..comment + 5].copy_from_slice(format!("{number:05}").as_bytes());
        let copy = format!("copy{number}.so");
        std::fs::write(self.plugins().join(&copy), bytes).expect("written");
        copy
    }

    pub(crate) fn get(&self, target: &str) -> String {
        self.send("GET", target, "")
    }

    /// What is not got is asked for as JSON.
    pub(crate) fn send(&self, method: &str, target: &str, body: &str) -> String {
        let (address, len) = (self.server.address, body.len());
        let mut stream = TcpStream::connect(address).expect("it listens");
        let accept = if method == "GET" { "*/*" } else { "application/json" };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\nContent-Length: {len}"
        );
        write!(stream, "{head}\r\n\r\n{body}").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    pub(crate) fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
    }

    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).expect("it runs").count()
    }

    fn proc(&self, what: &str) -> PathBuf {
        Path::new("/proc").join(self.server.process.id().to_string()).join(what)
    }
}

fn serve(folder: &Path, probation: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--probation", probation, "--logic", "plugin1.so"]);
    for (option, name) in [("--config", "engine.toml"), ("--plugins", "plugins"), ("--data", "data")] {
        command.arg(option).arg(folder.join(name));
    }
    // The log's lines would be part of what is measured.
    command.env("RUST_LOG", "warn");
    Server::start(&mut command)
}

/// Builds a plugin for release, the game that ships with the engine if the words name no other crate.
pub(crate) fn build_so(plugins: &Path, words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build_so.sh");
    let built = Command::new(script).arg("--plugins").arg(plugins).args(words).output().expect("a script");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
