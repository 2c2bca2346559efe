//! `engine plan`: what a swap from one plugin file to another would do to the tables, without an engine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use room::plan::Plan;

use crate::cli::check::{CheckError, Looked};
use crate::status::{VersionName, VersionPlan};

/// What a plan is, in words or as JSON, and whether it may be carried out.
#[derive(Debug)]
pub struct FilesPlan {
    pub text: String,
    pub is_refused: bool,
}

/// Compares the tables of two plugin files; `drops` is what may be lost. JSON has the form of `/api/v1/plan`.
///
/// # Errors
/// [`CheckError`] of the file that cannot be read.
pub fn plan(
    old: &Path,
    new: &Path,
    drops: &[String],
    json: bool,
    config: Option<PathBuf>,
) -> Result<FilesPlan, CheckError> {
    let [old, new] = [Looked::at(old, config.clone())?, Looked::at(new, config)?].map(|looked| looked.summary);
    let (old_schema, new_schema) = (Arc::new(old.manifest.schema), Arc::new(new.manifest.schema));
    let plan = Plan::new(&old_schema, &old.changes, &new_schema, &new.changes, drops);
    // A load takes a name that nothing is lost by for a slip of the pen.
    let is_refused = !(plan.refusals().is_empty() && plan.unused_drops().is_empty());
    let from = VersionName { version: old.manifest.version.0, name: old.manifest.name };
    let report = VersionPlan { from, plan: plan.report(None) };
    if json {
        let json = serde_json::to_string_pretty(&[report]).expect("the status types have string keys only");
        return Ok(FilesPlan { text: json + "\n", is_refused });
    }
    let VersionPlan { from, plan: report } = report;
    let mut text = format!("{} {} -> {} {}:\n", from.name, from.version, new.manifest.name, new.manifest.version);
    if plan.is_nothing() {
        text += "the tables stay as they are\n";
        plan.unused_drops().iter().for_each(|drop| _ = writeln!(text, "nothing called {drop:?} is lost"));
    } else {
        let _ = write!(text, "{report}");
    }
    Ok(FilesPlan { text, is_refused })
}
