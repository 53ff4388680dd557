//! `GET /openapi.json`: the table of routes and the types of the wire, as `OpenAPI` 3.1.

use schemars::{
    Schema, SchemaGenerator, generate::SchemaSettings, transform::transform_subschemas,
};
use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Failure},
    call::{Call, HOLD_MS_MAX},
    events::EVENT_STREAM,
    route::{Content, Route, SchemaOf},
    routes,
};
use crate::wire::{ApiError, Code};

/// The headers that every answer has.
const ANSWER_HEADERS: [(&str, &str); 5] = [
    ("X-Queue-Node", "The node that answered."),
    ("X-Queue-Leader", "Who leads; empty when unknown."),
    ("X-Queue-Rev", "The revision that the answer was applied or read at."),
    ("X-Queue-Consistency", "`linearizable` or `stale`; on a success in JSON alone."),
    ("X-Request-Id", "The request's own, or one that was made."),
];

pub(super) async fn openapi(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    Ok(Answer::ok(&document()))
}

/// The document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        settings.transforms = vec![Box::new(absent_is_not_null)];
    });
    let mut schemas = settings.into_generator();
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for (section, routes) in routes::table() {
        tags.push(json!({ "name": section }));
        for route in routes {
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            path[route.verb] = operation(section, &route, &mut schemas);
        }
    }
    let failure = failure(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorate",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "A Raft-replicated work queue. A field that no schema names is refused, \
                unless its description says otherwise. `/admin/*` answers to connections from the \
                node's own machine alone.",
        },
        "servers": [{ "url": "http://127.0.0.1:8770" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "parameters": request_headers(),
            "headers": answer_headers(),
            "responses": { "Failure": failure },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn operation(section: &str, route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let (success, description) = (success(route, schemas), "Done.");
    let responses = route.statuses.iter().map(|status| {
        let mut response = success.clone();
        response["description"] = description.into();
        (status.to_string(), response)
    });
    let mut responses: Map<String, Value> = responses.collect();
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Failure" }));
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [section],
        "parameters": parameters(route, schemas),
        "responses": responses,
    });
    if let Some(request) = route.request {
        let content = json!({ "application/json": { "schema": request(schemas) } });
        operation["requestBody"] =
            json!({ "required": route.is_request_required, "content": content });
    }
    operation
}

/// `post_work_add`, `get_work_get_work_id`: as the verb and the path are unique, so is this.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    [route.verb].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn success(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let content = match route.answer {
        Content::Json(schema) => json!({ "application/json": { "schema": schema(schemas) } }),
        Content::Events(schema) => json!({ (EVENT_STREAM): { "schema": schema(schemas) } }),
        Content::Other(media_type) => json!({ (media_type): {} }),
    };
    json!({ "headers": header_references(), "content": content })
}

fn parameters(route: &Route, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    if let Some((name, schema)) = route.parameter_name().zip(route.path_parameter) {
        let schema = schema(schemas);
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    if let Some((schema, fields)) = route.query {
        parameters.extend(query_parameters(schema, fields, schemas));
    }
    let headers =
        [("HoldMs", true), ("RequestId", true), ("IdempotencyKey", route.takes_idempotency_key)];
    let headers = headers.iter().filter(|(_, is_taken)| *is_taken);
    parameters.extend(
        headers.map(|(name, _)| json!({ "$ref": format!("#/components/parameters/{name}") })),
    );
    parameters
}

/// Fields of a type as parameters; lists are comma-separated or repeated.
fn query_parameters(
    schema: SchemaOf,
    fields: &[&str],
    schemas: &mut SchemaGenerator,
) -> Vec<Value> {
    let reference = schema(schemas);
    let name =
        reference.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let definition = name.and_then(|name| schemas.definitions().get(name)).cloned();
    let definition = definition.expect("a query's type is a struct, and so has a definition");
    let parameter = |&field: &&str| {
        let mut schema = definition["properties"][field].clone();
        without_null(&mut schema);
        let schema = schema.as_object_mut().expect("the table names fields of the type");
        let description = schema.remove("description");
        json!({ "name": field, "in": "query", "schema": schema, "description": description })
    };
    fields.iter().map(parameter).collect()
}

fn request_headers() -> Value {
    json!({
        "HoldMs": {
            "name": "X-Queue-Hold-Ms", "in": "header",
            "description": "How long the request may wait for a leader, ms; the server's `hold_ms` when absent.",
            "schema": { "type": "integer", "minimum": 0, "maximum": HOLD_MS_MAX },
        },
        "RequestId": {
            "name": "X-Request-Id", "in": "header",
            "description": "Comes back in the answer: 1 to 128 visible ASCII characters.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Makes the request safe to repeat when its body says nothing that does.",
            "schema": { "$ref": "#/components/schemas/RequestId" },
        },
    })
}

fn answer_headers() -> Value {
    let header = |(name, description): (&str, &str)| {
        let header = json!({ "description": description, "schema": { "type": "string" } });
        (name.to_owned(), header)
    };
    ANSWER_HEADERS.into_iter().map(header).collect::<Map<_, _>>().into()
}

fn header_references() -> Value {
    let reference = |(name, _): (&str, &str)| {
        (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))
    };
    ANSWER_HEADERS.into_iter().map(reference).collect::<Map<_, _>>().into()
}

/// The one answer to whatever goes wrong.
fn failure(schemas: &mut SchemaGenerator) -> Value {
    let schema = schemas.subschema_for::<ApiError>();
    let codes = Code::ALL
        .iter()
        .map(|code| format!("\n- {} `{code}`: {}", code.http_status(), code.when()));
    let retry_after = json!({
        "description": "Whole seconds; `details.retry_after_ms` is exact.",
        "schema": { "type": "integer", "minimum": 1 },
    });
    let mut headers = header_references();
    headers["Retry-After"] = retry_after;
    json!({
        "description": format!("It failed. By HTTP status and code:{}", codes.collect::<String>()),
        "headers": headers,
        "content": { "application/json": { "schema": schema } },
    })
}

/// An optional field has a value or is absent: `null` means as much in a request, and never stands in
/// an answer.
fn absent_is_not_null(schema: &mut Schema) {
    transform_subschemas(&mut absent_is_not_null, schema);
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| {
        required.as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        without_null(property);
    }
}

fn without_null(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            schema.extend(only);
        }
    }
}
