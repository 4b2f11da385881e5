//! The table of scenarios is complete.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{collections::BTreeSet, fs, path::Path};

use eventbus_conformance::scenarios;

fn written(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            written(&path, found);
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let name = line
                .strip_prefix("pub async fn ")
                .and_then(|rest| rest.strip_suffix("(ctx: Context) -> Result {"));
            found.extend(name.map(str::to_owned));
        }
    }
}

#[test]
fn every_scenario_that_is_written_is_in_the_table_once() {
    let mut in_files = BTreeSet::new();
    written(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut in_files);
    let in_table: Vec<_> = scenarios().map(|scenario| scenario.name().to_owned()).collect();
    let once: BTreeSet<_> = in_table.iter().cloned().collect();
    assert_eq!(once.len(), in_table.len(), "a name is listed twice");
    assert_eq!(in_files, once);
}
