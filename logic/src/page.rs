//! The arena's page and its parts, which come out of the plugin itself: a new version brings its own.

use crate::avatar::Avatar;
use logic_api::prelude::*;
use std::fmt::Write;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
const FILES: [(&str, &str, &str); 10] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/arena.css", "text/css; charset=utf-8", include_str!("../page/arena.css")),
    ("/arena.js", SCRIPT, include_str!("../page/arena.js")),
    ("/draw.js", SCRIPT, include_str!("../page/draw.js")),
    ("/hud.js", SCRIPT, include_str!("../page/hud.js")),
    ("/news.js", SCRIPT, include_str!("../page/news.js")),
    ("/scene.js", SCRIPT, include_str!("../page/scene.js")),
    ("/steer.js", SCRIPT, include_str!("../page/steer.js")),
    ("/favicon.svg", "image/svg+xml", include_str!("../page/favicon.svg")),
    ("/hotseat.js", SCRIPT, include_str!("../../clients/js/hotseat.js")),
];

/// Everything from here, nothing from elsewhere, nothing inline: a nick can never become a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file at this path, if there is one.
pub(crate) fn file(path: &str) -> Option<Response> {
    let (_, content_type, content) = FILES.iter().find(|(found, ..)| *found == path)?;
    // Asked for anew each time, since the next version may bring another one.
    Some(guarded(Response::new(content_type, *content)).header("content-security-policy", POLICY))
}

/// The avatars as JSON, in this order.
pub(crate) fn leaderboard(ranking: &[&Avatar]) -> Response {
    let mut json = String::from("[");
    for (place, avatar) in ranking.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // A nick has no control characters, so that these two are all that JSON wants escaped.
        let nick = avatar.nick.replace('\\', "\\\\").replace('"', "\\\"");
        let Avatar { score, away, .. } = avatar;
        write!(json, "{comma}\n  {{ \"nick\": \"{nick}\", \"score\": {score}, \"away\": {away} }}")
            .expect("a String takes any text");
    }
    json += "\n]\n";
    guarded(Response::json(json))
}

fn guarded(response: Response) -> Response {
    response.header("cache-control", "no-cache").header("x-content-type-options", "nosniff")
}
