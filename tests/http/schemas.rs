//! What the server answers is what its document says of it: nothing is missing, nothing of another
//! type, and nothing there that is not described.

use serde_json::{Value, json};

use crate::support::Site;

/// Why a value is not what a schema says.
type Fault = String;

/// A strict reading of the part of JSON Schema that the document uses.
fn conforms(value: &Value, schema: &Value, document: &Value) -> Result<(), Fault> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = reference.trim_start_matches('#');
        return conforms(value, document.pointer(pointer).unwrap(), document);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            let faults = choices.iter().map(|choice| conforms(value, choice, document));
            let faults: Vec<Fault> = faults.filter_map(Result::err).collect();
            if faults.len() == choices.len() {
                return Err(format!("{value} is none of the choices: {faults:?}"));
            }
        }
    }
    let one_of = schema.get("enum").and_then(Value::as_array);
    let is_fixed = schema.get("const").is_none_or(|constant| constant == value)
        && one_of.is_none_or(|values| values.contains(value));
    let types = match schema.get("type") {
        None => return Ok(()),
        Some(Value::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
    };
    if !is_fixed || !types.iter().any(|name| is_of(value, name.as_str().unwrap())) {
        return Err(format!("{value} does not fit {schema:?}"));
    }
    match value {
        Value::Object(fields) => fields_conform(fields, schema, document),
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            items.iter().try_for_each(|item| conforms(item, schema, document))
        }
        _ => Ok(()),
    }
}

type Object = serde_json::Map<String, Value>;

fn fields_conform(fields: &Object, schema: &Object, document: &Value) -> Result<(), Fault> {
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Err(format!("{required} is missing in {fields:?}"));
        }
    }
    let named = |name: &str| schema.get("properties").and_then(|properties| properties.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let any = patterns.and_then(|patterns| patterns.values().next());
    let any = any.or(schema.get("additionalProperties")).filter(|any| **any != json!(false));
    for (name, value) in fields {
        let Some(schema) = named(name).or(any) else {
            return Err(format!("{name} is not described: {fields:?}"));
        };
        conforms(value, schema, document).map_err(|fault| format!("{name}: {fault}"))?;
    }
    Ok(())
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a new kind of type: {other}"),
    }
}

/// Calls, and checks the answer against what the document says of that status.
async fn checked(site: &Site, document: &Value, call: &str, path: &str, body: &str) -> Value {
    let (verb, template) = call.split_once(' ').unwrap();
    let reply = site.send(verb, path, &[], body.as_bytes()).await;
    let responses = &document["paths"][template][verb.to_lowercase()]["responses"];
    let response = match &responses[reply.status.to_string()] {
        Value::Null => &document["components"]["responses"]["Failure"],
        response => response,
    };
    let answer = reply.json();
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{call}: no schema for {}", reply.status);
    if let Err(fault) = conforms(&answer, schema, document) {
        panic!("{call} {}: {fault}", reply.status);
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_what_the_document_says() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await.json();
    let ask = async |call: &str, path: &str, body: &str| {
        checked(&site, &document, call, path, body).await
    };
    let post = async |path: &str, body: Value| {
        checked(&site, &document, &format!("POST {path}"), path, &body.to_string()).await
    };
    let job = json!({"work_id": "a", "payload": 1, "tags": {"k": "v"}, "group": "g"});
    post("/work/add", job.clone()).await;
    assert_eq!(post("/work/add", job).await["duplicate"], true);
    let batch =
        json!({"atomic": false, "items": [{"payload": 2}, {"payload": 3, "priority": 101}]});
    assert_eq!(post("/work/add_batch", batch).await["count"], 1);
    let claim = json!({"node_id": "w", "request_id": "r"});
    let token = post("/work/claim", claim.clone()).await["work"]["token"].clone();
    let holding = json!({"work_id": "a", "token": token});
    post("/work/start", holding.clone()).await;
    let beat = json!({"node_id": "w", "items": [holding, {"work_id": "x", "token": 1}]});
    post("/work/heartbeat", beat).await;
    ask("GET /work/for-node/{node_id}", "/work/for-node/w", "").await;
    let failed = json!({"work_id": "a", "token": token, "error": "no", "retry_in_ms": 1});
    assert_eq!(post("/work/fail", failed).await["status"], "retrying");
    post("/work/claim", claim).await;
    let then = json!({"work_id": "b", "token": 1, "then": [{"payload": 4}]});
    assert_eq!(post("/work/complete", then).await["code"], "not_found");
    let got = post("/work/claim_batch", json!({"node_id": "w", "max": 5})).await["items"].clone();
    let items: Vec<Value> = got.as_array().unwrap().iter().map(holding_of).collect();
    assert!(!items.is_empty());
    let (first, rest) = items.split_first().unwrap();
    let mut complete = first.clone();
    complete["then"] = json!([{"work_id": "next", "payload": 5}]);
    complete["result"] = json!({"ok": true});
    post("/work/complete", complete).await;
    let rest: Vec<&Value> = rest.iter().chain([first]).collect();
    post("/work/complete_batch", json!({"items": rest})).await;
    let held = post("/work/claim", json!({"node_id": "w"})).await["work"].clone();
    post("/work/release", holding_of(&held)).await;
    post("/work/cancel", json!({"work_id": "next"})).await;
    post("/work/claim", json!({"node_id": "w", "queues": ["empty"]})).await;
    for id in ["a", "next", "nobody"] {
        ask("GET /work/get/{work_id}", &format!("/work/get/{id}"), "").await;
    }
    for path in
        ["/work/status", "/health", "/ready", "/status", "/election/status", "/lease/status"]
    {
        ask(&format!("GET {path}"), path, "").await;
    }
    ask("POST /admin/snapshot", "/admin/snapshot", "").await;
    ask("GET /admin/config", "/admin/config", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_queues_workers_lists_and_retries_are_what_the_document_says() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await.json();
    let ask = async |call: &str, path: &str, body: &str| {
        checked(&site, &document, call, path, body).await
    };
    for settings in ["", r#"{"max_jobs":5,"rate_per_second":100,"default_lease_ms":"1m"}"#] {
        ask("PUT /queues/{name}", "/queues/q", settings).await;
    }
    site.done("/work/add", r#"{"work_id":"j","queue":"q","tags":{"k":"v"}}"#).await;
    let claim = r#"{"node_id":"w","labels":{"a":"b"},"session":3}"#;
    site.done("/work/claim", claim).await;
    for (path, template) in [
        ("/queues?limit=1", "/queues"),
        ("/queues/q", "/queues/{name}"),
        ("/queues/no", "/queues/{name}"),
        ("/workers", "/workers"),
        ("/workers/w", "/workers/{node_id}"),
        ("/work/list?tag=k:v&limit=1", "/work/list"),
    ] {
        ask(&format!("GET {template}"), path, "").await;
    }
    let repeat = r#"{"request_id":"r"}"#;
    for body in [repeat, repeat] {
        ask("POST /workers/{node_id}/drain", "/workers/w/drain", body).await;
    }
    ask("POST /workers/{node_id}/resume", "/workers/w/resume", "").await;
    for operation in ["pause", "resume", "purge"] {
        let (path, template) = (format!("/queues/q/{operation}"), "/queues/{name}");
        ask(&format!("POST {template}/{operation}"), &path, "").await;
    }
    ask("POST /work/retry", "/work/retry", r#"{"work_id":"j","dry_run":true}"#).await;
    let bulk = r#"{"queue":"q","state":"cancelled"}"#;
    assert_eq!(ask("POST /work/retry", "/work/retry", bulk).await["count"], 1);
    ask("DELETE /queues/{name}", "/queues/q", "").await;
    site.done("/work/cancel", r#"{"work_id":"j"}"#).await;
    assert_eq!(ask("DELETE /queues/{name}", "/queues/q", "").await["status"], "deleted");
}

fn holding_of(work: &Value) -> Value {
    json!({"work_id": work["work_id"], "token": work["token"]})
}

#[test]
fn the_check_finds_what_is_missing_of_another_type_or_not_described() {
    let document = json!({"n": {"type": ["integer", "null"]}});
    let schema = json!({
        "type": "object",
        "properties": {"n": {"$ref": "#/n"}, "s": {"enum": ["x"], "type": "string"}},
        "required": ["n"],
    });
    let judge = |value: Value| conforms(&value, &schema, &document);
    assert_eq!(judge(json!({"n": 1, "s": "x"})), Ok(()));
    assert_eq!(judge(json!({"n": null})), Ok(()));
    for wrong in [json!({}), json!({"n": "1"}), json!({"n": 1, "s": "y"}), json!({"n": 1, "m": 2})]
    {
        assert!(judge(wrong.clone()).is_err(), "{wrong}");
    }
}
