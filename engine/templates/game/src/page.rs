//! What a browser asks for. It is part of the plugin, so that a new version brings its own.

use logic_api::prelude::*;

use crate::Painter;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
const FILES: [(&str, &str, &str); 3] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/wall.js", SCRIPT, include_str!("../page/wall.js")),
    ("/hotseat.js", SCRIPT, include_str!("../page/hotseat.js")),
];

pub(crate) fn file(path: &str) -> Option<Response> {
    let (_, content_type, content) = FILES.iter().find(|(found, ..)| *found == path)?;
    // Asked for anew each time, since the next version may bring another one.
    Some(Response::new(content_type, *content).header("cache-control", "no-cache"))
}

/// How much each player has painted, as JSON.
pub(crate) fn painters(painters: &Table<Painter>) -> Response {
    let each: Vec<String> = painters
        .iter()
        .map(|painter| format!("{{\"colour\": {}, \"painted\": {}}}", painter.colour, painter.painted))
        .collect();
    Response::json(format!("[{}]\n", each.join(", ")))
}
