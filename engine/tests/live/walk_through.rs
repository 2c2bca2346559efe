//! What the README has a new user do.

use crate::support::{Setup, game};
use rustix::process::Signal;

fn hello(version: u32, old: u32) -> String {
    let name = |version: u32| if version == 0 { String::new() } else { format!("game{}", version - 1000) };
    let (name, old_name) = (name(version), name(old));
    format!(
        "hello test, this is rust plugin test!, version={version}, name={name}, oldversion={old}, oldName={old_name}\n"
    )
}

#[test]
fn a_new_user_sees_what_the_readme_says() {
    let engine = Setup::new(game(), &["game.1001.so", "plugin1.so"]).start();
    assert_eq!(engine.get("/hello"), hello(1001, 0));
    assert_eq!(engine.get("/hello"), hello(1001, 1001));
    engine.setup.put(&game().join("plugin2.so"), "plugin2.so");
    assert_eq!(engine.get("/load?name=plugin2.so"), "done\n");
    assert_eq!(engine.get("/hello"), hello(1002, 1001));

    assert_eq!(engine.get("/healthz"), "ready\n");
    let data = engine.setup.data();
    let loaded = engine.setup.run(&["load", "plugin1.so"]);
    let text = String::from_utf8(loaded.stdout).unwrap();
    assert!(text.starts_with("done: game1 1001, before game2 1002; longest pause "), "{text}");
    assert_eq!(engine.get("/hello"), hello(1001, 1002));
    let status = String::from_utf8(engine.setup.run(&["status"]).stdout).unwrap();
    assert!(status.contains("game.1001.so") && status.contains("plugin2.so"), "{status}");

    engine.signal(Signal::TERM);
    let (code, setup) = engine.ended();
    assert_eq!(code, Some(0));
    assert!(!data.join("engine.addr").exists(), "nobody is told to come here any more");
    setup.start();
}
