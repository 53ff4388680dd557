//! Holds the table of `docs/api.md` ("How this contract is tested") to the tests: each promise names the
//! tests that hold it, and each of those carries the promise's id in a comment of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What does not exist yet. A promise may wait for nothing else.
const LATER: [&str; 6] =
    ["TLS", "authentication", "placement", "`queue bench`", "`queue dev`", "restore"];

/// Where tests are.
const FOLDERS: [&str; 5] = ["src", "tests", "raft/src", "raft/tests", "membership"];

/// A test function and its file.
type Test = (String, String);

/// What holds a promise.
enum Held {
    By(BTreeSet<Test>),
    Later(String),
}

/// One row of the table.
struct Row {
    id: String,
    held: Held,
}

#[test]
fn every_promise_names_its_tests_and_every_such_test_names_its_promises() {
    let carried = carried();
    let mut faults = Vec::new();
    let mut listed: BTreeMap<String, BTreeSet<Test>> = BTreeMap::new();
    for Row { id, held } in rows() {
        let tests = match held {
            Held::By(tests) if tests.is_empty() => {
                faults.push(format!("{id} names no test"));
                tests
            }
            Held::By(tests) => tests,
            Held::Later(reason) if LATER.contains(&reason.as_str()) => BTreeSet::new(),
            Held::Later(reason) => {
                faults.push(format!("{id} waits for `{reason}`, which is not in the list"));
                BTreeSet::new()
            }
        };
        if listed.insert(id.clone(), tests).is_some() {
            faults.push(format!("{id} stands twice in the table"));
        }
    }
    for (id, tests) in &listed {
        let carrying = carried.get(id).cloned().unwrap_or_default();
        for (name, file) in tests.difference(&carrying) {
            faults.push(format!("{id}: no test {name} in {file} carries it"));
        }
        for (name, file) in carrying.difference(tests) {
            faults.push(format!("{id}: the table does not name {name} in {file}"));
        }
    }
    for (id, tests) in carried.iter().filter(|(id, _)| !listed.contains_key(*id)) {
        faults.push(format!("{id} is not in the table, and carried by {tests:?}"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_page_says_how_many_promises_are_held() {
    let (mut held, mut later) = (0, 0);
    for row in rows() {
        match row.held {
            Held::By(_) => held += 1,
            Held::Later(_) => later += 1,
        }
    }
    let said = format!(
        "Of {} promises {held} are held by a test that runs, and {later} are for later.",
        held + later
    );
    assert!(page().contains(&said), "docs/api.md should say: {said}");
}

#[test]
fn every_reason_to_wait_is_one_that_some_promise_has() {
    let reasons: BTreeSet<String> = rows()
        .into_iter()
        .filter_map(|row| match row.held {
            Held::Later(reason) => Some(reason),
            Held::By(_) => None,
        })
        .collect();
    assert_eq!(reasons, LATER.iter().map(ToString::to_string).collect());
}

// A test in a file that no crate has as a module is never run, however well it reads.
#[test]
fn every_test_of_the_table_is_run() {
    let files: BTreeSet<String> = carried().into_values().flatten().map(|(_, file)| file).collect();
    for file in files {
        assert!(is_module(&root().join(&file)), "{file}");
    }
}

/// api 1.repeat.no-identity
#[test]
fn the_documents_say_what_a_client_without_an_identity_may_expect() {
    let guarantees = fs::read_to_string(root().join("docs/guarantees.md")).expect("the guarantees");
    let said = "A client that gives no `work_id` or `request_id` is safe across a failover, and not \
                across its own retries.";
    assert!(guarantees.contains(said));
}

/// The rows of the table: `| id | promise | held by |`.
fn rows() -> Vec<Row> {
    let page = page();
    let (_, table) =
        page.split_once("| id | promise | held by |\n|---|---|---|\n").expect("the table");
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, promise, held] = cells[..] else { panic!("three cells: {line}") };
        assert!(promise.ends_with('.'), "a sentence: {line}");
        Row { id: id.to_owned(), held: held_by(held) }
    });
    rows.collect()
}

/// Reads `` `test` (`file`), `test` (`file`) `` or `later: reason`.
fn held_by(cell: &str) -> Held {
    if let Some(reason) = cell.strip_prefix("later: ") {
        return Held::Later(reason.to_owned());
    }
    let tests = cell.split(", ").filter_map(|test| {
        let (name, file) = test.strip_prefix('`')?.strip_suffix("`)")?.split_once("` (`")?;
        Some((name.to_owned(), file.to_owned()))
    });
    Held::By(tests.collect())
}

/// The tests that carry an id, by it: `/// api 2.add.tags, 2.add.answer` above `#[test]`.
fn carried() -> BTreeMap<String, BTreeSet<Test>> {
    let mut carried: BTreeMap<String, BTreeSet<Test>> = BTreeMap::new();
    for file in FOLDERS.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = fs::read_to_string(&file).expect("a readable file");
        let path = file.strip_prefix(root()).expect("below the root").display().to_string();
        let mut ids: Vec<String> = Vec::new();
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            if let Some(named) = line.strip_prefix("/// api ") {
                ids.extend(named.split(", ").map(str::to_owned));
            } else if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(name) = function_name(line) {
                assert!(ids.is_empty() || is_test, "{path}: {name} carries {ids:?} and is no test");
                for id in ids.drain(..) {
                    carried.entry(id).or_default().insert((name.to_owned(), path.clone()));
                }
                is_test = false;
            } else {
                let goes_on = line.starts_with("#[") || line.starts_with("//");
                assert!(ids.is_empty() || goes_on, "{path}: {ids:?} stand above no test");
                is_test &= goes_on;
            }
        }
    }
    carried
}

fn function_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split_once('(').map(|(name, _)| name)
}

/// Whether a file is a crate's root or a module of the files around it.
fn is_module(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = file.parent().expect("a file is in a folder");
    let is_root = stem == "main" || stem == "lib" || folder == root().join("tests");
    let is_root = is_root || folder == root().join("raft/tests");
    let (module, folder) = match stem.as_str() {
        "mod" => {
            (folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), folder.parent())
        }
        _ => (stem, Some(folder)),
    };
    let folder = folder.expect("below a crate");
    let beside = folder.with_extension("rs");
    let holders = ["mod.rs", "lib.rs", "main.rs"].map(|name| folder.join(name));
    let names = |holder: &PathBuf| {
        let text = fs::read_to_string(holder).unwrap_or_default();
        text.lines().any(|line| line.trim_end().ends_with(&format!("mod {module};")))
    };
    is_root || holders.iter().chain([&beside]).any(names)
}

fn page() -> String {
    fs::read_to_string(root().join("docs/api.md")).expect("the manual")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
