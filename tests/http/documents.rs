//! `docs/errors.md` says what the table says, and `docs/api.md` names paths that exist.

use std::{fmt::Write as _, fs, path::Path};

use quorate::wire::{Applied, Code};

use crate::support::Site;

const HEAD: &str = "# Errors

Every failure is answered with this JSON, whatever went wrong; there is no other body for one.

```json
{\"error\": \"a sentence for a person\", \"code\": \"stale_token\", \"retryable\": false, \"applied\": \"no\", \"details\": {}}
```

`applied` is `no` (certainly not, now or later) or `unknown` (it may have been). `retryable` says whether the same
request, repeated under the same identity, may succeed. `details.field` names the offending field, `details.index` the
item of a batch, and `details.retry_after_ms` is the exact form of the header `Retry-After`.

This page is generated from the table in `src/wire/error.rs`, and a test compares them:
`UPDATE=1 cargo test --test http documents` writes it anew.

| HTTP | code | retryable | applied | when |
|---|---|---|---|---|
";

#[test]
fn the_page_of_errors_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        page,
        "run with UPDATE=1 and look at the change"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_manual_exists() {
    let site = Site::start().await;
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let manual = fs::read_to_string(manual).unwrap();
    let calls = manual.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`:"));
    let calls: Vec<_> = calls.filter_map(|(call, _)| call.split_once(' ')).collect();
    assert_eq!(calls.len(), 19, "{calls:?}");
    for (method, path) in calls {
        let path = path.replace("{work_id}", "no").replace("{node_id}", "no");
        let reply = site.send(method, &path, &[], b"").await;
        let is_there = reply.status != 405 && reply.json()["details"].get("path").is_none();
        assert!(is_there, "{method} {path}: {reply:?}");
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for code in Code::ALL {
        let retryable = if code.is_retryable() { "yes" } else { "no" };
        let applied = match code.applied() {
            Applied::No => "no",
            Applied::Unknown => "unknown",
        };
        let (status, when) = (code.http_status(), code.when());
        writeln!(page, "| {status} | `{code}` | {retryable} | {applied} | {when} |").unwrap();
    }
    page
}
