//! Lists the public API of the published libraries in `docs/api`.
//!
//! `cargo run -p api-listing` compares, and fails where the listing and the code differ;
//! `cargo run -p api-listing -- --write` writes the listing anew.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What rustdoc writes that the reader of this version understands.
const FORMAT: u64 = 57;
/// The libraries, and the features that show all of them.
const LIBRARIES: [(&str, &str); 6] = [
    ("eventbus-core", ""),
    ("eventbus-memory", ""),
    ("eventbus-nats", ""),
    ("eventbus-kafka", ""),
    ("eventbus-conformance", ""),
    ("eventbus", "memory,nats,kafka"),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let write = std::env::args().nth(1).is_some_and(|argument| argument == "--write");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut differ = Vec::new();
    for (library, features) in LIBRARIES {
        let json = rustdoc(&root, library, features)?;
        let document: serde_json::Value = serde_json::from_slice(&fs::read(&json)?)?;
        let format = &document["format_version"];
        if format != FORMAT {
            println!(
                "NOT RUN: the public API is not compared, as this rustdoc writes format {format} \
                 and the listing is read from format {FORMAT}; Rust 1.95 writes that"
            );
            return Ok(if write { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        let api = public_api::Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()?;
        let (now, file) = (api.to_string(), root.join(format!("docs/api/{library}.txt")));
        if write {
            fs::write(&file, now)?;
        } else if !compare(library, &fs::read_to_string(&file).unwrap_or_default(), &now) {
            differ.push(library);
        }
    }
    if differ.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "The public API of {} is not what docs/api lists. If that is meant, run \
         `cargo run -p api-listing -- --write` and commit docs/api with the change.",
        differ.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// Documents a library as JSON, which stable tools do when they are told to. Gives the file.
fn rustdoc(root: &Path, library: &str, features: &str) -> Result<PathBuf, Box<dyn Error>> {
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["rustdoc", "--quiet", "--lib", "-p", library, "--features", features])
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !status.success() {
        return Err(format!("`cargo rustdoc -p {library}` failed").into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    Ok(root.join(target).join(format!("doc/{}.json", library.replace('-', "_"))))
}

/// Says which lines came and which went.
fn compare(library: &str, listed: &str, now: &str) -> bool {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (listed, now) = (lines(listed), lines(now));
    let only = |sign: char, here: &[String], there: &[String]| {
        for line in here.iter().filter(|line| !there.contains(line)) {
            eprintln!("{library}: {sign} {line}");
        }
    };
    only('-', &listed, &now);
    only('+', &now, &listed);
    listed == now
}
