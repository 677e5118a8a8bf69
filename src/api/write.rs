//! Accepting records: `POST /logs/batch`, and `POST /logs` with its alias `/log`.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use sluice_model::{RecordId, Timestamp};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::body::{self, BodyLimit};
use super::params::Pairs;
use super::record::RecordSchema;
use crate::config::{LimitSettings, Settings};
use crate::decode::{self, BadRecord, DecodeError, DecodeLimits, Decoded, Field, FieldNames, Options};
use crate::error::{Problem, ProblemBody, ProblemKind, RecordProblem};
use crate::ingest::{Accepted, Ack, Ingest};
use crate::spool::IdempotencyKey;

/// Bodies up to this size are decoded where they arrive; larger ones would hold up other connections of the thread.
const DECODE_INLINE_BYTES: usize = 64 << 10;

/// How long an `Idempotency-Key` may be.
const KEY_BYTES_MAX: usize = 255;

/// The names of the parameters.
const PARAMETERS: &[&str] = &["ack", "invalid", "timestamp_field", "level_field", "service_field", "message_field"];

/// The reply to a batch.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchReply {
    #[schema(example = "success")]
    status: &'static str,
    #[schema(example = "Log batch accepted")]
    message: &'static str,
    /// How many records were accepted.
    #[schema(example = 3)]
    accepted: u64,
    /// The record's id, in the reply of `POST /logs` to one record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "01J9M2CN0000000000000000G7")]
    id: Option<RecordId>,
    /// `stored`, or `spooled` if the store did not have the records within `limits.ack_timeout`; with `ack=stored` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    /// How many records were left out; with `invalid=skip` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
    /// The first 100 records that were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RecordProblem>,
}

/// The parameters of both paths.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes the parameters, which are read by name")]
pub(super) struct WriteParameters {
    /// `spooled` (the default): reply when the records are durable; `stored`: when they are in the store too.
    #[param(pattern = "^(spooled|stored)$", example = "stored")]
    ack: Option<String>,
    /// `refuse` (the default) the batch for a bad record, or `skip` such records.
    #[param(pattern = "^(refuse|skip)$", example = "skip")]
    invalid: Option<String>,
    /// Where the timestamp is: a dotted path, or several by comma, of which the first present one counts.
    timestamp_field: Option<String>,
    /// Where the level is.
    level_field: Option<String>,
    /// Where the service is.
    service_field: Option<String>,
    /// Where the message is.
    message_field: Option<String>,
}

/// The headers of both paths.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes the headers, which are read by name")]
pub(super) struct WriteHeaders {
    /// Up to 255 bytes; the same key with the same request stores nothing twice within `spool.idempotency_window`.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// `gzip`, `deflate`, `br` or `zstd`; two of them at most, by comma.
    #[param(
        rename = "Content-Encoding",
        pattern = "^(identity|gzip|x-gzip|deflate|br|zstd)(, ?(gzip|x-gzip|deflate|br|zstd))?$",
        example = "identity"
    )]
    content_encoding: Option<String>,
}

/// What both paths answer.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes the answers, which are made elsewhere")]
pub(super) enum WriteResponses {
    /// Accepted durably.
    #[response(status = 202)]
    Accepted(#[to_schema] BatchReply),
    /// A bad body, record or parameter; nothing is kept.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody<'static>),
    /// The body came too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(#[to_schema] ProblemBody<'static>),
    /// The key was used for another request.
    #[response(status = 409, content_type = "application/problem+json")]
    KeyReused(#[to_schema] ProblemBody<'static>),
    /// Over a limit.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody<'static>),
    /// A content type or encoding that is not understood.
    #[response(status = 415, content_type = "application/problem+json")]
    NotUnderstood(#[to_schema] ProblemBody<'static>),
    /// Not possible now; try again after `Retry-After` seconds.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody<'static>),
}

/// Accepts a batch of records: a JSON array, one object, or objects one after the other (NDJSON).
///
/// 202 means that they are durable. One bad record refuses the batch, unless `invalid=skip`.
#[utoipa::path(
    post, path = "/logs/batch", tag = "write",
    params(WriteParameters, WriteHeaders),
    request_body(
        content((Vec<RecordSchema> = "application/json"), (String = "application/x-ndjson")),
        description = "At most `limits.body_bytes` after decompression and `limits.batch_records` records",
    ),
    responses(WriteResponses),
)]
pub(super) async fn batch(
    request: HttpRequest,
    payload: web::Payload,
    ingest: web::Data<Ingest>,
    settings: web::Data<Settings>,
) -> Result<HttpResponse, Problem> {
    let outcome = accept(&request, payload, &ingest, &settings).await?;
    Ok(HttpResponse::Accepted().json(outcome.reply("Log batch accepted")))
}

/// Accepts one record, or whatever `POST /logs/batch` takes. The reply to one record has its id.
#[utoipa::path(
    post, path = "/logs", tag = "write",
    params(WriteParameters, WriteHeaders),
    request_body(content((RecordSchema = "application/json"), (String = "application/x-ndjson"))),
    responses(WriteResponses),
)]
pub(super) async fn records(
    request: HttpRequest,
    payload: web::Payload,
    ingest: web::Data<Ingest>,
    settings: web::Data<Settings>,
) -> Result<HttpResponse, Problem> {
    let outcome = accept(&request, payload, &ingest, &settings).await?;
    let mut reply = outcome.reply("Log accepted");
    reply.id = outcome.accepted.receipt.filter(|receipt| receipt.rows == 1).map(|receipt| receipt.first);
    Ok(HttpResponse::Accepted().json(reply))
}

/// What came of a request.
struct Outcome {
    accepted: Accepted,
    ack: Ack,
    skip_invalid: bool,
    refused: Vec<BadRecord>,
    refused_total: u64,
}

impl Outcome {
    fn reply(&self, message: &'static str) -> BatchReply {
        let durability = if self.accepted.stored { "stored" } else { "spooled" };
        BatchReply {
            status: "success",
            message,
            accepted: self.accepted.receipt.map_or(0, |receipt| u64::from(receipt.rows)),
            id: None,
            durability: (self.ack == Ack::Stored).then_some(durability),
            refused: self.skip_invalid.then_some(self.refused_total),
            errors: self.refused.iter().cloned().map(RecordProblem::from).collect(),
        }
    }
}

/// Takes a request from its head to the spool, and counts it if it is refused.
async fn accept(
    request: &HttpRequest,
    payload: web::Payload,
    ingest: &Ingest,
    settings: &Settings,
) -> Result<Outcome, Problem> {
    let mut read_bytes = 0;
    let outcome = try_accept(request, payload, ingest, &settings.limits, &mut read_bytes).await;
    match &outcome {
        Ok(outcome) if outcome.refused_total > 0 => ingest.skipped(outcome.refused_total),
        Ok(_) => {}
        Err(problem) => ingest.refused(problem.kind().name(), problem.bad_records(), read_bytes),
    }
    outcome
}

async fn try_accept(
    request: &HttpRequest,
    payload: web::Payload,
    ingest: &Ingest,
    limits: &LimitSettings,
    read_bytes: &mut usize,
) -> Result<Outcome, Problem> {
    let wishes = Wishes::of(request)?;
    check_content_type(request)?;
    let limit = BodyLimit::of_records(limits);
    let (body, _permit) = body::read(request, payload, ingest, limits, limit, read_bytes).await?;
    let key = wishes.key.map(|key| IdempotencyKey { key, request: fingerprint(request, &body) });
    let reservation = ingest.reserve(body.len())?;
    let body_bytes = body.len();
    let options = Options {
        limits: DecodeLimits {
            record_bytes: limits.record_bytes,
            batch_records: limits.batch_records,
            record_attributes: limits.record_attributes,
            batch_attribute_names: limits.batch_attribute_names,
            unknown_level: limits.unknown_level,
        },
        fields: wishes.fields,
        skip_invalid: wishes.skip_invalid,
        arrival: Timestamp::now(),
    };
    let decoded = if body_bytes <= DECODE_INLINE_BYTES {
        decode::json(&body, &options)
    } else {
        let decode = move || decode::json(&body, &options);
        web::block(decode).await.map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?
    };
    let Decoded { batch, refused, refused_total } = decoded?;
    let accepted = ingest.accept(batch, body_bytes, reservation, key, wishes.ack).await?;
    Ok(Outcome { accepted, ack: wishes.ack, skip_invalid: wishes.skip_invalid, refused, refused_total })
}

/// What the parameters and headers ask for.
struct Wishes {
    ack: Ack,
    skip_invalid: bool,
    fields: FieldNames,
    /// The hash of the `Idempotency-Key`.
    key: Option<u128>,
}

impl Wishes {
    fn of(request: &HttpRequest) -> Result<Wishes, Problem> {
        let pairs = Pairs::parse(request.query_string(), &[PARAMETERS])?;
        let mut fields = FieldNames::default();
        for field in Field::ALL {
            let name = format!("{}_field", field.name());
            if let Some(names) = pairs.one(&name)? {
                fields.set(field, names).map_err(|error| Problem::invalid_parameter(format!("{name}: {error}")))?;
            }
        }
        Ok(Wishes {
            ack: pairs.choice("ack", &[("spooled", Ack::Spooled), ("stored", Ack::Stored)])?.unwrap_or(Ack::Spooled),
            skip_invalid: pairs.choice("invalid", &[("refuse", false), ("skip", true)])?.unwrap_or(false),
            fields,
            key: idempotency_key(request)?,
        })
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<u128>, Problem> {
    let mut keys = request.headers().get_all("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_BYTES_MAX || keys.next().is_some() {
        let detail = format!("Idempotency-Key: send one, of 1 to {KEY_BYTES_MAX} bytes");
        return Err(Problem::invalid_parameter(detail));
    }
    Ok(Some(xxh3_128(key.as_bytes())))
}

/// What a key stands for: the path with its parameters, and the decoded body.
fn fingerprint(request: &HttpRequest, body: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(request.uri().to_string().as_bytes());
    hash.update(&[0]);
    hash.update(body);
    hash.digest128()
}

/// The content types of JSON in its several forms; without one the body is sniffed all the same.
fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Ok(()) };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    let known = [
        "",
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/json-lines",
        "text/json",
        "text/plain",
        "application/octet-stream",
    ];
    if known.contains(&media_type) || media_type.ends_with("+json") {
        return Ok(());
    }
    let detail = format!("{media_type:?} is not understood; with curl, add -H 'Content-Type: application/json'");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
        .with_header(ACCEPT, "application/json, application/x-ndjson"))
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::BadRecords { errors, total } => {
                Problem::invalid_records(errors.into_iter().map(RecordProblem::from).collect(), total)
            }
            DecodeError::TooManyRecords { .. } => {
                Problem::new(ProblemKind::TooLarge, format!("{error} (limits.batch_records)"))
            }
            DecodeError::Empty | DecodeError::Malformed { .. } => {
                Problem::new(ProblemKind::Malformed, error.to_string())
            }
        }
    }
}

impl From<BadRecord> for RecordProblem {
    fn from(bad: BadRecord) -> Self {
        RecordProblem { index: bad.index, field: bad.field, detail: bad.detail }
    }
}
