//! The listener's beginning and end.

use std::net::SocketAddr;

use engine::config::Config;
use engine::lock::DataFolder;
use engine::serve::{self, ADDRESS_FILE, Door};
use engine::stop::Stop;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fake::{Answer, Server, within};

async fn check_cannot_listen(listen: SocketAddr, expected: &str) {
    let data = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(data.path()).unwrap();
    let error = Door::open(&Config { listen, ..Config::default() }, &folder).await.unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_told() {
    let server = Server::start().await;
    let taken = server.address;
    let expected = format!("cannot listen on {taken}: address in use (is another engine running? see --listen)");
    check_cannot_listen(taken, &expected).await;
    // Set aside for documentation, so no interface has it.
    let expected = "cannot listen on 192.0.2.1:1: no interface of this machine has that address (see --listen)";
    check_cannot_listen("192.0.2.1:1".parse().unwrap(), expected).await;
    server.end().await;
}

#[tokio::test]
async fn the_address_file_lives_as_long_as_the_listener() {
    let server = Server::start_with(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    let path = server.data.path().join(ADDRESS_FILE);
    let announced = std::fs::read_to_string(&path).unwrap();
    assert_eq!(announced, format!("127.0.0.1:{}\n", server.address.port()), "where a client can connect");
    server.stop.begin();
    within(server.served).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn the_announcement_is_where_to_go() {
    let data = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(data.path()).unwrap();
    let config = Config { listen: "[::]:0".parse().unwrap(), ..Config::default() };
    let door = Door::open(&config, &folder).await.unwrap();
    assert_eq!(door.announce().unwrap().to_string(), format!("listening on http://[::1]:{}", door.address().port()));
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_and_takes_nothing_new() {
    let server = Server::start().await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /stall HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    within(server.fake.stalled.notified()).await;
    server.stop.begin();

    // An idle connection is closed without a word; after that the listener is closed too, for it was closed first.
    let mut rest = Vec::new();
    within(tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest)).await.unwrap();
    assert_eq!(rest, b"");
    let refused = TcpStream::connect(server.address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!server.served.is_finished());

    server.fake.release.notify_one();
    let answer = Answer::read(&mut busy).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = Server::start_with(|config| {
        config.request_timeout = std::time::Duration::from_millis(1);
        config.probe_timeout = std::time::Duration::from_millis(10);
    })
    .await;
    let mut stuck = server.connect().await;
    let request = format!("GET /load?name=stall.so HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    stuck.write_all(request.as_bytes()).await.unwrap();
    within(server.fake.stalled.notified()).await;
    server.stop.begin();
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn a_signal_begins_the_stop() {
    let stop = Stop::new();
    serve::end_on_signals(stop.clone()).unwrap();
    assert!(!stop.is_begun());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    within(stop.begun()).await;
}
