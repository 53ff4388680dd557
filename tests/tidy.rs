//! Holds the house to its picture: who may import whom (`ARCHITECTURE.md`), no leftovers, and
//! documents that say what the code says.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room of `src/`, the other rooms it may use, and the crates it may not.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room {
        name: "queue",
        may_use: &["queue"],
        never: &[
            "tokio",
            "raft",
            "membership",
            "foca",
            "openraft",
            "bincode",
            "hyper",
            "axum",
            "rand",
            "tracing",
        ],
    },
    Room {
        name: "wire",
        may_use: &["wire", "queue"],
        never: &["tokio", "raft", "membership", "hyper", "axum"],
    },
    Room {
        name: "node",
        may_use: &["node", "queue"],
        never: &["openraft", "hyper", "axum", "clap", "sled"],
    },
    Room {
        name: "archive",
        may_use: &["archive", "node", "queue"],
        never: &["tokio", "raft", "membership", "foca", "openraft", "hyper", "axum", "clap"],
    },
    Room {
        name: "http",
        may_use: &["http", "node", "queue", "wire"],
        never: &["openraft", "membership", "raft", "bincode", "clap"],
    },
    Room {
        name: "client",
        may_use: &["client", "queue", "wire"],
        never: &["openraft", "membership", "raft", "axum", "bincode", "clap"],
    },
    Room {
        name: "config",
        may_use: &["config"],
        never: &["openraft", "raft", "membership", "hyper", "axum", "tokio"],
    },
    Room {
        name: "worker",
        may_use: &["client", "queue", "wire", "worker"],
        never: &["openraft", "raft", "membership", "hyper", "axum", "bincode", "clap"],
    },
    Room {
        name: "cli",
        may_use: &["archive", "cli", "client", "config", "http", "node", "queue", "wire", "worker"],
        never: &["openraft", "axum", "bincode", "sled"],
    },
];

/// Crates in which a word of another crate must not appear, and the words.
const FOREIGN_WORDS: &[(&str, &[&str])] = &[
    ("raft/src", &["quorate", "membership::", "job", "foca"]),
    ("membership/src", &["quorate", "raft", "job", "voter"]),
    ("jepsen-like/src", &["quorate::", "raft::", "membership::"]),
];

/// Only the simulation plants bugs (`raft::mutant`), and it is in no build of the server.
#[test]
fn no_build_of_the_server_has_planted_bugs() {
    let manifest =
        |folder: &str| fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    for folder in [".", "membership", "jepsen-like"] {
        assert!(!manifest(folder).contains("\"mutants\""), "{folder}/Cargo.toml");
    }
    let raft = manifest("raft");
    assert!(raft.contains("mutants = []") && !raft.contains("default = "), "raft/Cargo.toml");
}

#[test]
fn every_room_imports_only_what_the_picture_allows() {
    let mut faults = Vec::new();
    for room in ROOMS {
        for file in rust_files(&root().join("src").join(room.name)) {
            for (number, line) in code_lines(&file) {
                for used in paths_after(&line, "crate::") {
                    if !room.may_use.contains(&used.as_str()) {
                        faults.push(format!(
                            "{}:{number}: `{}` may not use crate::{used}",
                            file.display(),
                            room.name
                        ));
                    }
                }
                for never in room.never {
                    if uses_crate(&line, never) {
                        faults.push(format!(
                            "{}:{number}: `{}` may not use {never}",
                            file.display(),
                            room.name
                        ));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_of_src_is_in_the_picture() {
    let mut rooms: Vec<String> = fs::read_dir(root().join("src"))
        .expect("src")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    rooms.sort();
    let mut known: Vec<String> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    known.sort();
    assert_eq!(rooms, known, "tests/tidy.rs and ARCHITECTURE.md name every room of src/");
}

#[test]
fn openraft_stays_inside_raft() {
    for (folder, words) in FOREIGN_WORDS {
        for file in rust_files(&root().join(folder)) {
            for (number, line) in code_lines(&file) {
                for word in *words {
                    assert!(
                        !has_word(&line, word),
                        "{}:{number} speaks of `{word}`: {line}",
                        file.display()
                    );
                }
            }
        }
    }
    for file in rust_files(&root().join("src")) {
        for (number, line) in code_lines(&file) {
            assert!(!line.contains("openraft::"), "{}:{number} uses openraft", file.display());
        }
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let leftovers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    for folder in ["src", "raft", "membership", "jepsen-like", "sim/src", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a readable file");
            for leftover in leftovers {
                assert!(!text.contains(leftover), "{} still says {leftover}", file.display());
            }
        }
    }
}

#[test]
fn no_file_is_left_out_of_its_module() {
    for folder in ["src", "raft/src", "membership/src", "jepsen-like/src", "sim/src"] {
        for file in rust_files(&root().join(folder)) {
            let stem =
                file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let parent = file.parent().expect("a file is in a folder");
            let (module, holders) = match stem.as_str() {
                "lib" | "main" => continue,
                "mod" => {
                    (folder_name(parent), module_files(parent.parent().expect("below a crate")))
                }
                _ => (stem, module_files(parent)),
            };
            let is_named = holders.iter().any(|holder| {
                let text = fs::read_to_string(holder).unwrap_or_default();
                text.lines().any(|line| line.trim_end().ends_with(&format!("mod {module};")))
            });
            assert!(is_named, "{} is in no module", file.display());
        }
    }
}

#[test]
fn the_module_files_hold_no_logic() {
    for folder in ["src", "raft/src", "membership/src", "jepsen-like/src"] {
        for file in rust_files(&root().join(folder)) {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name != "mod.rs" && name != "lib.rs" {
                continue;
            }
            for (number, line) in code_lines(&file) {
                assert!(
                    !line.trim_start().starts_with("fn ")
                        && !line.contains("pub fn ")
                        && !line.starts_with("impl"),
                    "{}:{number}: a module file holds prose, mod lines, re-exports and constants",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_pinned_crates_are_pinned() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains(r#"openraft = { version = "=0.10.0-alpha.37""#));
    assert!(manifest.contains(r#"bincode = "=1.3.3""#));
    assert!(manifest.contains(r#"sled = { version = "=0.34.7""#));
}

/// The files that may name the modules of a folder.
fn module_files(folder: &Path) -> Vec<PathBuf> {
    let beside = folder.with_extension("rs");
    ["mod.rs", "lib.rs", "main.rs"].iter().map(|name| folder.join(name)).chain([beside]).collect()
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The lines of a file that are code: no comments, and nothing from the test module on.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let is_test_file = file.file_name().is_some_and(|name| name == "tests.rs")
        || file.components().any(|part| part.as_os_str() == "tests");
    if is_test_file {
        return Vec::new();
    }
    let text = fs::read_to_string(file).expect("a readable file");
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

/// The first segments of the paths that follow `prefix`, also inside `use crate::{a::X, b}` on one line.
fn paths_after(line: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let rest = &line[at + prefix.len()..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        found.push(
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>(),
        );
    }
    found.retain(|segment| {
        !segment.is_empty() && segment.chars().next().is_some_and(char::is_lowercase)
    });
    found
}

fn uses_crate(line: &str, name: &str) -> bool {
    line.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = &line[..at];
        !before.ends_with("::") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        is_edge(before) && (word.ends_with(':') || is_edge(after))
    })
}
