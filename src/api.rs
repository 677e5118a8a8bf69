//! The HTTP API: which path is answered by what.

mod body;
mod connections;
mod context;
mod encode;
mod explain;
mod export;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod openapi;
mod params;
mod record;
mod retrieve;
mod selection;
mod stall;
mod stats;
mod status;
mod stream;
mod tail;
mod windows;
mod write;

use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route, guard, web};

use crate::config::Settings;
use crate::error::{Problem, ProblemKind};
use crate::files::{Scratch, Watched};
use crate::ingest::Ingest;
use crate::spool::Spool;
use crate::tail::Tails;
use crate::telemetry::Metrics;
use crate::worker::{Reader, Workers};

pub use connections::{Connections, refuse_past_limit};
pub use stall::limit_stall;
pub use stream::Streams;

/// What the handlers need; each names the parts that it uses.
#[derive(Clone)]
pub struct Parts {
    /// The door for writing.
    pub ingest: web::Data<Ingest>,
    /// The door for reading.
    pub reader: web::Data<Reader>,
    /// The spool, for its state.
    pub spool: web::Data<Spool>,
    /// The live tails.
    pub tails: web::Data<Tails>,
    /// The workers, for their state.
    pub workers: web::Data<Workers>,
    /// The configuration.
    pub settings: web::Data<Settings>,
    /// The files, for what fails of them.
    pub files: web::Data<Watched>,
    /// The metrics.
    pub metrics: web::Data<Metrics>,
    /// The places of long answers.
    pub streams: web::Data<Streams>,
    /// Where temporary files go.
    pub scratch: web::Data<Scratch>,
}

/// Ids have 26 characters of Crockford's base32, in either case.
const ID_PATH: &str = "/logs/{id:[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}}";

/// The neighbours of the record with an id.
const CONTEXT_PATH: &str = "/logs/{id:[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}}/context";

/// Adds all paths to an application.
pub fn configure(routes: &mut web::ServiceConfig, parts: &Parts) {
    routes
        .app_data(parts.ingest.clone())
        .app_data(parts.reader.clone())
        .app_data(parts.spool.clone())
        .app_data(parts.tails.clone())
        .app_data(parts.workers.clone())
        .app_data(parts.settings.clone())
        .app_data(parts.files.clone())
        .app_data(parts.metrics.clone())
        .app_data(parts.streams.clone())
        .app_data(parts.scratch.clone())
        .service(resource("/", &[GET]).route(get().to(status::index)))
        .service(resource("/health", &[GET]).route(get().to(status::health)))
        .service(resource("/ready", &[GET]).route(get().to(status::ready)))
        .service(resource("/metrics", &[GET]).route(get().to(status::metrics)))
        .service(resource("/config", &[GET]).route(get().to(status::config)))
        .service(resource("/openapi.json", &[GET]).route(get().to(openapi::document)))
        .service(resource("/logs/batch", &[POST]).route(web::post().to(write::batch)))
        .service(resource("/log", &[POST]).route(web::post().to(write::records)))
        .service(
            resource("/logs", &[GET, POST]).route(web::post().to(write::records)).route(get().to(retrieve::retrieve)),
        )
        .service(resource("/logs/retrieve", &[GET]).route(get().to(retrieve::retrieve)))
        .service(resource("/logs/export", &[GET]).route(get().to(export::export)))
        .service(resource("/logs/query", &[POST]).route(web::post().to(retrieve::query::query)))
        .service(resource("/logs/search", &[GET]).route(get().to(retrieve::retrieve)))
        .service(resource(stall::TAIL_PATH, &[GET]).route(get().to(tail::tail)))
        .service(resource(CONTEXT_PATH, &[GET]).route(get().to(context::context)))
        .service(resource("/logs/count", &[GET]).route(get().to(stats::count)))
        .service(resource("/logs/stats", &[GET]).route(get().to(stats::stats)))
        .service(resource("/logs/fields", &[GET]).route(get().to(fields::fields)))
        .service(resource("/logs/fields/{name}/values", &[GET]).route(get().to(fields::values)))
        .service(resource(ID_PATH, &[GET]).route(get().to(record::record)))
        .service(resource("/query/explain", &[GET]).route(get().to(explain::explain)))
        .default_service(web::to(unknown_path));
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// A path that answers every method but those of its routes with 405.
fn resource(path: &'static str, methods: &'static [&'static str]) -> Resource {
    let refuse = move |request: HttpRequest| async move {
        let detail = format!("{} takes {}", request.path(), methods.join(", "));
        let mut response = Problem::new(ProblemKind::MethodNotAllowed, detail).error_response();
        if let Ok(allow) = methods.join(", ").parse() {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    };
    web::resource(path).default_service(web::to(refuse))
}

/// A route for GET, and for HEAD, whose answer is sent without its body.
fn get() -> Route {
    web::route().guard(guard::fn_guard(|context| matches!(context.head().method, Method::GET | Method::HEAD)))
}

async fn unknown_path(request: HttpRequest) -> HttpResponse {
    Problem::not_found(format!("there is no {}; GET / lists what there is", request.path())).error_response()
}
