//! One route: what it answers to, and everything that its documentation says.

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::gate::Site;

/// A reference to the schema of some type, made by the generator that collects them.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One row of the table in [`super::routes`].
#[derive(Debug)]
pub(super) struct Route {
    /// In lower case, as `OpenAPI` writes it.
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// What stands in the path's braces.
    pub(super) path_parameter: Option<SchemaOf>,
    /// The type whose fields can be given in the query, and which of them.
    pub(super) query: Option<(SchemaOf, &'static [&'static str])>,
    /// The body.
    pub(super) request: Option<SchemaOf>,
    /// Whether it must be there.
    pub(super) is_request_required: bool,
    /// Whether the header `Idempotency-Key` makes it safe to repeat.
    pub(super) takes_idempotency_key: bool,
    pub(super) answer: Content,
    /// The statuses of a success.
    pub(super) statuses: &'static [u16],
    pub(super) handler: MethodRouter<Site>,
}

/// What a success has for a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    /// JSON of this schema.
    Json(SchemaOf),
    /// Server-sent events whose data is JSON of this schema.
    Events(SchemaOf),
    /// Something else, of this media type.
    Other(&'static str),
}

pub(super) fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Site>) -> Route {
    Route::new("get", path, on(MethodFilter::GET, handler))
}

pub(super) fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Site>) -> Route {
    Route::new("post", path, on(MethodFilter::POST, handler))
}

pub(super) fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Site>) -> Route {
    Route::new("put", path, on(MethodFilter::PUT, handler))
}

pub(super) fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, Site>) -> Route {
    Route::new("delete", path, on(MethodFilter::DELETE, handler))
}

impl Route {
    fn new(verb: &'static str, path: &'static str, handler: MethodRouter<Site>) -> Self {
        Self {
            verb,
            path,
            summary: "",
            path_parameter: None,
            query: None,
            request: None,
            is_request_required: false,
            takes_idempotency_key: false,
            answer: Content::Other("application/json"),
            statuses: &[200],
            handler,
        }
    }

    /// What it does, in a sentence.
    pub(super) fn says(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// The parameter in its path is a `T`.
    pub(super) fn of<T: JsonSchema>(self) -> Self {
        Self { path_parameter: Some(schema_of::<T>), ..self }
    }

    /// These fields of `T` can be given in the query.
    pub(super) fn query<T: JsonSchema>(self, fields: &'static [&'static str]) -> Self {
        Self { query: Some((schema_of::<T>, fields)), ..self }
    }

    /// Its body is a `T`.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { is_request_required: true, ..self.may_take::<T>() }
    }

    /// Its body is a `T`, or empty.
    pub(super) fn may_take<T: JsonSchema>(self) -> Self {
        Self { request: Some(schema_of::<T>), ..self }
    }

    /// The header `Idempotency-Key` makes it safe to repeat.
    pub(super) fn takes_idempotency_key(self) -> Self {
        Self { takes_idempotency_key: true, ..self }
    }

    /// Its success is a `T`, as JSON.
    pub(super) fn answers<T: JsonSchema>(self) -> Self {
        Self { answer: Content::Json(schema_of::<T>), ..self }
    }

    /// Its success is a stream of server-sent events, whose data is a `T` each.
    pub(super) fn streams<T: JsonSchema>(self) -> Self {
        Self { answer: Content::Events(schema_of::<T>), ..self }
    }

    /// Its success has this media type.
    pub(super) fn answers_media(self, media_type: &'static str) -> Self {
        Self { answer: Content::Other(media_type), ..self }
    }

    /// Its success has one of these statuses, instead of 200.
    pub(super) fn with_statuses(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// The name in the braces of its path.
    pub(super) fn parameter_name(&self) -> Option<&'static str> {
        let (_, rest) = self.path.split_once('{')?;
        rest.split_once('}').map(|(name, _)| name)
    }
}

fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}
