//! `/hello` through room and logic, beside a bare axum route, under the same load.

use crate::measure::{Bar, Report, median};
use crate::server::{Engine, Server};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(2);

pub(crate) fn measure(report: &mut Report) {
    let (engine, bare) = (Engine::start(), Server::bare());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut ratios, mut figures) = (Vec::new(), (Vec::new(), Vec::new()));
    for round in 0..8 {
        let ours = runtime.block_on(requests_per_second(engine.server.address));
        let theirs = runtime.block_on(requests_per_second(bare.address));
        if round > 0 {
            ratios.push(ours / theirs);
            figures.0.push(ours);
            figures.1.push(theirs);
        }
    }
    let detail = format!("{:.0} / {:.0} requests a second", median(&figures.0), median(&figures.1));
    let what = format!("`/hello` under {CONNECTIONS} connections, against a bare axum route");
    report.add(&what, median(&ratios), "", Bar::AtLeast(0.7), detail);
}

/// One request after the other on each connection, for a round.
async fn requests_per_second(address: SocketAddr) -> f64 {
    let start = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(client(address, start + ROUND))).collect();
    let mut requests = 0;
    for client in clients {
        requests += client.await.expect("no panic");
    }
    f64::from(requests) / start.elapsed().as_secs_f64()
}

async fn client(address: SocketAddr, end: Instant) -> u32 {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let request = format!("GET /hello HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let (mut buffer, mut requests) = (vec![0; 4096], 0);
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await.expect("received");
            assert!(read > 0, "the server hung up");
            filled += read;
            // Both answers are one short text that ends in a line's end.
            if buffer[..filled].ends_with(b"\n")
                && buffer[..filled].windows(4).any(|four| four == b"\r\n\r\n")
                && filled > 100
            {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
        requests += 1;
    }
    requests
}
