//! The description of the control API, made from the contract itself.

use peerage_api::{Feed, Feeding, Method, Visitor, visit};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{CANCEL, METHOD_ERROR};

/// The method that returns the description.
pub(super) const DISCOVER: &str = "rpc.discover";

/// The OpenRPC 1.3 document of everything in the contract.
pub(super) fn document() -> Value {
    // OpenRPC 1.3 takes its schemas from draft 7 of JSON Schema.
    let settings = SchemaSettings::draft07().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    });
    let mut describe = Describe { schemas: settings.into_generator(), methods: vec![discover()] };
    visit(&mut describe);
    let Describe { mut schemas, methods } = describe;
    let mut document = json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Peerage control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON-RPC 2.0 over WebSocket or HTTP. Parameters go by name. Methods \
                with `x-feed` are subscriptions and need WebSocket.",
        },
        "methods": methods,
        "components": { "errors": errors() },
        "x-notifications": [{
            "name": CANCEL,
            "summary": "Gives up a call of this connection; sent by the client",
            "params": [{ "name": "id", "required": true, "schema": { "type": ["integer", "string"] } }],
        }],
    });
    document["components"]["schemas"] = Value::Object(schemas.take_definitions(true));
    document
}

struct Describe {
    schemas: SchemaGenerator,
    methods: Vec<Value>,
}

impl Visitor for Describe {
    fn method<M: Method>(&mut self) {
        let result = self.schemas.subschema_for::<M::Reply>();
        let mut method = self.signature::<M>(M::NAME);
        method["result"] = json!({ "name": "reply", "schema": result });
        self.methods.push(method);
    }

    fn feed<F: Feed>(&mut self) {
        let item = self.schemas.subschema_for::<F::Item>();
        // Named for its side effect: `Feeding` documents the notice of lost items.
        let lagged = json!({
            "type": "object",
            "description": description(&Feeding::<()>::json_schema(&mut self.schemas)),
            "required": ["lagged"],
            "properties": { "lagged": { "type": "integer", "minimum": 1 } },
        });
        let mut method = self.signature::<F>(F::NAME);
        method["result"] =
            json!({ "name": "subscription", "schema": { "type": ["integer", "string"] } });
        method["x-feed"] = json!({
            "notification": F::NAME,
            "unsubscribe": F::END,
            "item": { "anyOf": [item, lagged] },
            "end": "a notification with `error` in place of `result`",
        });
        self.methods.push(method);
    }
}

impl Describe {
    /// Name, summary, parameters and errors of a method or feed.
    fn signature<T: JsonSchema>(&mut self, name: &str) -> Value {
        let schema = T::json_schema(&mut self.schemas);
        json!({
            "name": name,
            "summary": description(&schema).unwrap_or(name),
            "tags": [{ "name": name.split('.').next().unwrap_or(name) }],
            "paramStructure": "by-name",
            "params": params(&schema),
            "errors": [
                { "$ref": "#/components/errors/failed" },
                { "$ref": "#/components/errors/invalid_params" },
            ],
        })
    }
}

fn description(schema: &Schema) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// The members of a request, as OpenRPC lists them: required ones first.
fn params(schema: &Schema) -> Vec<Value> {
    let empty = Map::new();
    let members = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|r| r.iter().any(|n| n.as_str() == Some(name)));
    let mut params: Vec<_> = members
        .iter()
        .map(|(name, schema)| {
            json!({ "name": name, "required": is_required(name), "schema": schema })
        })
        .collect();
    params.sort_by_key(|p| p["required"] != json!(true));
    params
}

fn errors() -> Value {
    json!({
        "failed": {
            "code": METHOD_ERROR,
            "message": "what went wrong, for people",
            "data": { "code": "the stable name of the error; its fields follow" },
        },
        "invalid_params": {
            "code": -32602,
            "message": "the method, the member and what is wrong with it",
            "data": { "code": "invalid_params", "reason": "what is wrong" },
        },
    })
}

fn discover() -> Value {
    json!({
        "name": DISCOVER,
        "summary": "Returns this document",
        "paramStructure": "by-name",
        "params": [],
        "result": { "name": "document", "schema": { "type": "object" } },
        "errors": [],
    })
}
