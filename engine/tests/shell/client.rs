//! The commands that are clients, as a user runs them.

use std::process::Command;

use expect_test::{Expect, expect};

use crate::fake::Server;

/// Runs the binary, away from the runtime's threads.
async fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let ran = tokio::task::spawn_blocking(move || {
        // A proxy of the machine's must not be asked for an engine next door.
        Command::new(env!("CARGO_BIN_EXE_engine")).args(words).env("http_proxy", "http://127.0.0.1:9").output().unwrap()
    });
    let output = ran.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn check_printed(server: &Server, words: &[&str], expected: Expect) {
    let data = server.data.path().display().to_string();
    let (code, out, err) = run(&[words, &["--data", &data]].concat()).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}");
    expected.assert_eq(&out);
}

async fn check_failed(words: &[&str], expected: &str) {
    let (code, out, err) = run(words).await;
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", format!("{expected}\n").as_str()), "{words:?}");
}

#[tokio::test]
async fn rooms_are_listed_opened_locked_and_closed() {
    let server = Server::start().await;
    check_printed(
        &server,
        &["rooms"],
        expect![[r#"
            ROOM  ID  LABEL  STATE   DOOR  PLAYERS  SEATS  HZ  VERSION
            main   1  -      FROZEN  open       12    100  20     1001
        "#]],
    )
    .await;
    let new = ["rooms", "new", "duel", "--players-max", "2", "--label", "d", "--create", "{}", "--dispose-when-empty"];
    check_printed(&server, &new, expect!["opened duel: 2 seats, 20 ticks a second\n"]).await;
    check_printed(&server, &["rooms", "lock", "main"], expect!["main is locked\n"]).await;
    check_printed(&server, &["rooms", "unlock", "main"], expect!["main is open\n"]).await;
    check_printed(&server, &["rooms", "close", "main", "--grace-ms", "7"], expect!["main is closed\n"]).await;
    {
        let opened = server.fake.opened.lock().unwrap();
        assert_eq!((opened[0].config.as_deref(), opened[0].dispose_when_empty), (Some("{}"), true));
    }
    assert_eq!(*server.fake.closed.lock().unwrap(), [("main".to_owned(), Some(7))]);
    check_printed(
        &server,
        &["rooms", "players", "main"],
        expect![[r#"
                      PLAYER  CONNECTION  ROUND TRIP  INPUTS
                        4711  open            1.2 ms      12
            9007199254740991  awaited              -       0
        "#]],
    )
    .await;
    let kick = ["rooms", "kick", "main", "4711", "--reason", "100 % rude & loud"];
    check_printed(&server, &kick, expect!["4711 is out of main\n"]).await;
    assert_eq!(server.fake.kicked.lock().unwrap()[0].2, "100 % rude & loud");
    let data = server.data.path().display().to_string();
    check_failed(&["rooms", "close", "a/b", "--data", &data], "there is no room \"a%2Fb\"").await;
    server.end().await;
}

#[tokio::test]
async fn load_and_status_find_the_engine_by_its_data_folder() {
    let server = Server::start().await;
    check_printed(
        &server,
        &["load", "plugin2.so"],
        expect![[r#"
        done: game2 1002, before game1 1001; longest pause 17 us, 8.1 ms in all; on trial for 10.0 s
    "#]],
    )
    .await;
    check_printed(
        &server,
        &["status"],
        expect![[r#"
        engine 0.1.0 on 127.0.0.1:12345, process 4321, up 1 h 2 min, 45.0 MiB in memory
        on trial: game2 1002 after game1 1001, 7 s left

        ROOM  VERSION  LOGIC  STATE     TICK  HZ  PLAYERS     ROWS    MEMORY  OVERRUNS  FAULTS
        main     1001  game1  FROZEN  123456  20       12  1000000  64.0 MiB         3       1
        last fault in main: version 1001 in tick: index out of bounds at logic/src/arena.rs:42, 2026-01-02T03:04:06Z (fault 1a2b3c4d)

        VERSION  NAME   FILE          BUILD ID      SHA256             SIZE  MAPPED AT             ROOMS
           1001  game1  game.1001.so  0123456789ab  fedcba987654  500.0 KiB  2026-01-02T03:04:06Z  main

        SWAP AT               NAME        FROM        TO  OUTCOME  PAUSE   TOTAL  WHO
        2026-01-02T03:04:06Z  plugin2.so  game1 1001  -   refused   0 us  1.5 ms  127.0.0.1:50000 (curl/8.5.0)
        refused at 2026-01-02T03:04:06Z: it is not an ELF file
    "#]],
    )
    .await;
    let data = server.data.path().display().to_string();
    let (_, json, _) = run(&["status", "--json", "--data", &data]).await;
    assert_eq!(json, server.ask("GET", "/api/v1/status", &[]).await.body);

    let who = server.fake.loads.lock().unwrap()[0].1.to_string();
    assert!(who.ends_with(concat!(" (hotseat/", env!("CARGO_PKG_VERSION"), ")")), "{who}");
    server.end().await;
}

#[tokio::test]
async fn the_engines_reason_is_what_a_refused_load_prints() {
    let server = Server::start().await;
    let data = server.data.path().display().to_string();
    let load = async |name: &str, expected: &str| check_failed(&["load", name, "--data", &data], expected).await;
    load("schema.so", "the schema differs\nAvatar.hp: i32 -> f32\nOrb.x: dropped").await;
    load(
        "../a&name=b.so",
        "the plugin name holds \"..\", but it is looked up in the plugins folder and never used as a path",
    )
    .await;
    server.end().await;
}

#[tokio::test]
async fn the_token_goes_with_the_data_folder() {
    let server = Server::start_with(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    let data = server.data.path().display().to_string();
    let url = format!("http://{}/", server.host());
    assert_eq!(run(&["load", "plugin2.so", "--data", &data]).await.0, Some(0));
    assert_eq!(run(&["load", "plugin2.so", "--data", &data, "--url", &url]).await.0, Some(0));
    let (code, _, err) = run(&["load", "plugin2.so", "--url", &url]).await;
    assert_eq!(code, Some(1));
    assert!(err.starts_with("a token is needed; send \"Authorization: Bearer\""), "{err}");
    server.end().await;
}

#[tokio::test]
async fn no_engine_is_one_line() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().display().to_string();
    let expected = format!("no engine is running on data folder {data}/: start one with scripts/run.sh");
    check_failed(&["status", "--data", &data], &expected).await;
    check_failed(&["load", "plugin2.so", "--data", &data], &expected).await;
    let config = format!("{data}/my.toml");
    std::fs::write(&config, format!("data = \"{data}/below\"\n")).unwrap();
    let expected = format!("no engine is running on data folder {data}/below/: start one with scripts/run.sh");
    check_failed(&["status", "--config", &config], &expected).await;
}

#[tokio::test]
async fn something_else_at_that_address_is_told() {
    let server = Server::start().await;
    // The logic's routes answer there, so it stands in for any other server.
    let url = format!("http://{}/hello?x=", server.host());
    let (code, _, err) = run(&["status", "--url", &url]).await;
    assert_eq!(code, Some(1));
    assert!(err.starts_with(&format!("what answers at {url} is no engine: ")), "{err}");
    server.end().await;
}

#[tokio::test]
async fn a_config_that_is_missing_or_wrong_is_one_line() {
    let data = tempfile::tempdir().unwrap();
    let config = format!("{}/my.toml", data.path().display());
    let expected = format!(
        "config file {config} cannot be read: No such file or directory (os error 2); give another --config, or none for \
         the defaults"
    );
    check_failed(&["serve", "--config", &config], &expected).await;
    std::fs::write(&config, "\nroom_threads = 0\n").unwrap();
    let expected =
        format!("{config} line 2: room_threads = 0 is not accepted; accepted is a whole number from 1 to 256");
    check_failed(&["serve", "--config", &config], &expected).await;
}
