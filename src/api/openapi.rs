//! `GET /openapi.json`: the API's description, generated from the handlers.

use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;

use super::{context, explain, export, fields, record, retrieve, stats, status, tail, write};
use crate::error::ProblemBody;

/// The API as its handlers declare it.
#[derive(OpenApi)]
#[openapi(
    info(title = "Sluice", description = "A log aggregator that loses nothing it has accepted."),
    paths(
        write::batch, write::records, retrieve::retrieve, record::record, explain::explain,
        tail::tail, context::context,
        export::export, retrieve::query::query,
        stats::count, stats::stats, fields::fields, fields::values,
        status::index, status::health, status::ready, status::metrics, status::config, document,
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "write", description = "Sending records"),
        (name = "read", description = "Finding records"),
        (name = "status", description = "How the server is"),
    ),
)]
struct Api;

/// Paths that are answered by the handler of another one: path, method, and the path whose handler it is.
const ALIASES: &[(&str, Method, &str)] = &[
    ("/log", Method::Post, "/logs"),
    ("/logs", Method::Get, "/logs/retrieve"),
    ("/logs/search", Method::Get, "/logs/retrieve"),
];

#[derive(Clone, Copy)]
enum Method {
    Get,
    Post,
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "status", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(describe())
}

/// The whole description: what the handlers declare, and the aliases.
fn describe() -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    for (alias, method, path) in ALIASES {
        let Some(original) = api.paths.paths.get(*path) else { continue };
        let name = alias.trim_start_matches('/').replace('/', "_");
        let rename = |operation: &Option<Operation>, verb: &str| {
            let mut operation = operation.clone()?;
            operation.operation_id = Some(format!("{verb}_{name}"));
            Some(operation)
        };
        match method {
            Method::Get => {
                let operation = rename(&original.get, "get");
                api.paths.paths.entry((*alias).to_owned()).or_default().get = operation;
            }
            Method::Post => {
                let operation = rename(&original.post, "post");
                api.paths.paths.entry((*alias).to_owned()).or_default().post = operation;
            }
        }
    }
    api
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_and_alias_is_described_under_a_name_of_its_own() {
        let api = describe();
        let mut names = Vec::new();
        for (path, item) in &api.paths.paths {
            for operation in [&item.get, &item.post].into_iter().flatten() {
                names.push(operation.operation_id.clone().unwrap());
                assert!(operation.description.is_some() || operation.summary.is_some(), "{path}");
                assert!(!operation.responses.responses.is_empty(), "{path}");
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(count, 22);
    }
}
