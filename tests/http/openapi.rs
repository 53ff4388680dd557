//! The document of the API says what the server does: it is the committed one, it has every route of
//! the contract, every route of it answers, and its schemas of requests are the server's own.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value, json};

use crate::support::Site;

/// The routes of the contract that exist.
const ROUTES: &[&str] = &[
    "POST /work/add",
    "POST /work/add_batch",
    "POST /work/claim",
    "POST /work/claim_batch",
    "POST /work/start",
    "POST /work/heartbeat",
    "POST /work/complete",
    "POST /work/complete_batch",
    "POST /work/fail",
    "POST /work/release",
    "POST /work/cancel",
    "GET /work/get/{work_id}",
    "GET /work/status",
    "GET /work/for-node/{node_id}",
    "GET /work/list",
    "GET /work/history",
    "POST /work/retry",
    "GET /queues",
    "GET /queues/{name}",
    "PUT /queues/{name}",
    "DELETE /queues/{name}",
    "POST /queues/{name}/pause",
    "POST /queues/{name}/resume",
    "POST /queues/{name}/purge",
    "GET /workers",
    "GET /workers/{node_id}",
    "POST /workers/{node_id}/drain",
    "POST /workers/{node_id}/resume",
    "GET /health",
    "GET /ready",
    "GET /status",
    "GET /election/status",
    "GET /lease/status",
    "GET /peers",
    "GET /gossip/peers",
    "GET /events",
    "GET /metrics",
    "GET /openapi.json",
    "POST /cluster/add",
    "POST /cluster/remove",
    "POST /cluster/replace",
    "POST /election/transfer",
    "POST /election/start",
    "POST /admin/shutdown",
    "GET /admin/config",
    "POST /admin/config",
    "POST /admin/snapshot",
    "GET /admin/backup",
];

/// The routes of the contract that are still to come. One that is there and still listed here fails
/// the test.
const LATER: &[&str] = &["GET /"];

async fn document(site: &Site) -> Value {
    site.get("/openapi.json").await.json()
}

/// `POST /work/add` and its operation, for each.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap();
        operations
            .iter()
            .map(move |(verb, operation)| (format!("{} {path}", verb.to_uppercase()), operation))
    });
    operations.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_document_is_what_the_server_answers() {
    let site = Site::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let served = serde_json::to_string_pretty(&document(&site).await).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &served).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let first = committed.lines().zip(served.lines()).find(|(was, is)| was != is);
    assert!(
        committed == served,
        "docs/openapi.json is not what the server says ({first:?}); accept the change with \
         `UPDATE=1 cargo test --test http openapi`, and look at it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_contract_is_in_the_document_or_still_to_come() {
    let site = Site::start().await;
    let document = document(&site).await;
    let documented: BTreeSet<String> =
        operations(&document).into_iter().map(|(call, _)| call).collect();
    let expected: BTreeSet<String> = ROUTES.iter().map(ToString::to_string).collect();
    assert_eq!(documented, expected, "the document has exactly the routes of the contract");
    for call in LATER {
        assert!(!documented.contains(*call), "{call} is there: move it to ROUTES");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_route_answers() {
    let site = Site::start().await;
    let document = document(&site).await;
    for (call, _) in operations(&document) {
        let (verb, path) = call.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "");
        // Every call reads this header first, so a refusal of it says that the route is there, and
        // nothing has been done.
        let reply = site.send(verb, &path, &[("X-Queue-Hold-Ms", "soon")], b"").await;
        let details = reply.failed(400, "invalid_argument");
        assert_eq!(details["field"], "X-Queue-Hold-Ms", "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_well_formed() {
    let site = Site::start().await;
    let document = document(&site).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_references_resolve(&document, &document);
    let mut ids = BTreeSet::new();
    for (call, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{call}: its id is taken");
        assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{call}: no sentence");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_described = response["description"].is_string() || response["$ref"].is_string();
            assert!(is_described, "{call} {status}");
        }
        let parameters = operation["parameters"].as_array().unwrap();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let named: Vec<_> = in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        let braced: Vec<_> =
            call.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        assert_eq!(named, braced, "{call}");
        let headers = parameters.iter().filter_map(|parameter| parameter["$ref"].as_str());
        let takes_a_key = headers.into_iter().any(|header| header.ends_with("/IdempotencyKey"));
        assert!(!takes_a_key || !call.starts_with("GET"), "{call} takes a key and writes nothing");
    }
    let codes = document["components"]["schemas"]["Code"]["oneOf"].as_array().unwrap();
    assert_eq!(codes.len(), quorate::wire::Code::ALL.len());
}

fn assert_references_resolve(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref") {
                resolved(reference, document);
            }
            for value in fields.values() {
                assert_references_resolve(value, document);
            }
        }
        Value::Array(items) => {
            for item in items {
                assert_references_resolve(item, document);
            }
        }
        _ => {}
    }
}

fn resolved<'document>(reference: &Value, document: &'document Value) -> &'document Value {
    let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).unwrap();
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// The server reads requests by hand, field by field. The schemas, which are derived, must agree: what
/// they require is asked for, and what they offer is taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_of_requests_are_what_the_server_reads() {
    let site = Site::start().await;
    let document = document(&site).await;
    for (call, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let (verb, path) = call.split_once(' ').unwrap();
        let path = &path.replace(['{', '}'], "");
        let schema = resolved(&schema["$ref"], &document);
        let least = least_of(schema, &document);
        for name in least.as_object().unwrap().keys() {
            let mut body = least.clone();
            body.as_object_mut().unwrap().remove(name);
            let reply = site.send(verb, path, &[], body.to_string().as_bytes()).await;
            // A heartbeat without items is the shorthand of one, whose fields are asked for then.
            let field = if name == "items" && path == "/work/heartbeat" { "work_id" } else { name };
            assert_eq!(reply.failed(400, "invalid_argument")["field"], field, "{call} {name}");
        }
        for (name, schema) in schema["properties"].as_object().unwrap() {
            if (path.as_str(), name.as_str()) == ("/work/claim", "max") {
                continue;
            }
            let mut body = least.clone();
            body[name] = least_of(schema, &document);
            let reply = site.send(verb, path, &[], body.to_string().as_bytes()).await;
            assert_ne!(reply.status, 400, "{call} {body}: {reply:?}");
        }
    }
}

/// The least value of a schema; of the first of its choices, when it has some.
fn least_of(schema: &Value, document: &Value) -> Value {
    if let Some(minimum) = schema.get("minimum") {
        return minimum.clone();
    }
    if let Some(reference) = schema.get("$ref") {
        return least_of(resolved(reference, document), document);
    }
    if let Some(first) = schema.pointer("/enum/0").or(schema.pointer("/examples/0")) {
        return first.clone();
    }
    if let Some(first) = schema.pointer("/oneOf/0").or(schema.pointer("/anyOf/0")) {
        return least_of(first, document);
    }
    let kind = schema.pointer("/type/0").unwrap_or(&schema["type"]);
    match kind.as_str() {
        None => json!({}),
        Some("boolean") => json!(false),
        Some("integer" | "number") => json!(1),
        Some("string") => json!("a"),
        Some("array") => json!([]),
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten();
            let field = |name: &Value| {
                let name = name.as_str().unwrap();
                (name.to_owned(), least_of(&schema["properties"][name], document))
            };
            required.map(field).collect::<Map<_, _>>().into()
        }
        Some(other) => panic!("a new kind of schema: {other}"),
    }
}
