//! Which fields there are, and what values they have: `GET /logs/fields` and `GET /logs/fields/{name}/values`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_model::Timestamp;
use utoipa::ToSchema;

use super::params::Pairs;
use super::retrieve::tell_incomplete;
use super::selection::{self, SelectionParams};
use super::stats::number;
use crate::error::{Problem, ProblemBody};
use crate::query::{Expr, Field, Filter, Test};
use crate::stats::{Aggregation, FieldEntry, GroupField, Table};
use crate::worker::Reader;

/// How many values are listed if nothing is said.
const TOP_DEFAULT: usize = 20;

/// The fields of some records.
#[derive(Serialize, ToSchema)]
pub(super) struct Fields {
    /// The most frequent first, then by name.
    fields: Vec<FieldOf>,
}

/// A field.
#[derive(Serialize, ToSchema)]
#[schema(as = Field)]
struct FieldOf {
    /// The name, by which it can be asked for.
    #[schema(example = "http.status")]
    name: String,
    /// How many records have it with a value of each JSON type: `string`, `integer`, `number`, `boolean`, `null`, `array`
    /// or `object`.
    #[schema(example = json!({"integer": 90, "string": 1}))]
    types: BTreeMap<&'static str, u64>,
    /// How many records have it.
    #[schema(example = 91)]
    records: u64,
}

/// The values of a field.
#[derive(Serialize, ToSchema)]
pub(super) struct Values {
    /// The most frequent first, then by value.
    values: Vec<ValueOf>,
    /// What `top` left out; absent, if it left out nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    others: Option<OtherValues>,
}

/// A value.
#[derive(Serialize, ToSchema)]
#[schema(as = Value)]
struct ValueOf {
    /// The value, with its JSON type.
    #[schema(value_type = serde_json::Value, example = 500)]
    value: Box<RawValue>,
    /// How many records have it.
    #[schema(example = 12)]
    count: u64,
}

/// Values that are not shown.
#[derive(Serialize, ToSchema)]
struct OtherValues {
    /// How many values.
    values: u64,
    /// How many records have them.
    records: u64,
}

/// Lists the fields that the records of a selection have.
///
/// `id`, `timestamp` and `level` are in every record; `service` and `message` count where they are not empty. All other
/// fields are attributes.
#[utoipa::path(
    get, path = "/logs/fields", tag = "read",
    params(SelectionParams),
    responses(
        (status = 200, description = "The fields", body = Fields,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"))),
        (status = 400, description = "A parameter is unknown or wrong, or there are more names than `query.memory_bytes` holds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, or the query took longer than `query.timeout`; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn fields(request: HttpRequest, reader: web::Data<Reader>) -> Result<HttpResponse, Problem> {
    let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS])?;
    let filter = selection::filter(&pairs, selection::range(&pairs, Timestamp::now())?)?;
    let behind = reader.barrier().await;
    let fields = reader.fields(filter).await?;
    let mut response = HttpResponse::Ok();
    tell_incomplete(&mut response, behind);
    Ok(response.json(Fields { fields: fields.into_iter().map(FieldOf::from).collect() }))
}

impl From<FieldEntry> for FieldOf {
    fn from(entry: FieldEntry) -> FieldOf {
        let types = entry.types.into_iter().map(|(kind, records)| (kind.name(), records)).collect();
        FieldOf { name: entry.name, types, records: entry.records }
    }
}

/// Lists the commonest values of a field among the records of a selection.
///
/// Only records that have the field count. An array is one value.
#[utoipa::path(
    get, path = "/logs/fields/{name}/values", tag = "read",
    params(
        ("name" = String, Path, description = "The field, percent-encoded: `service`, `level`, an attribute's dotted name, or `attributes.NAME`", example = "http.status"),
        SelectionParams,
        ("top" = Option<u32>, Query, minimum = 1, maximum = 100_000, description = "How many values: 20, if absent"),
    ),
    responses(
        (status = 200, description = "The values", body = Values,
            headers(("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"))),
        (status = 400, description = "A parameter is unknown or wrong, or there are more values than `query.memory_bytes` holds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, or the query took longer than `query.timeout`; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn values(
    name: web::Path<String>,
    request: HttpRequest,
    reader: web::Data<Reader>,
) -> Result<HttpResponse, Problem> {
    let pairs = Pairs::parse(request.query_string(), &[selection::PARAMETERS, &["top"]])?;
    let filter = selection::filter(&pairs, selection::range(&pairs, Timestamp::now())?)?;
    let top = pairs.one("top")?.map_or(Ok(TOP_DEFAULT), |text| number("top", text))?;
    let field = GroupField::named(&name);
    let filter = having(filter, &field);
    let behind = reader.barrier().await;
    let table = reader.stats(filter, Aggregation::values(field, top)).await?;
    let mut response = HttpResponse::Ok();
    tell_incomplete(&mut response, behind);
    Ok(response.json(Values::from(table)))
}

/// Only the records that have the field.
fn having(filter: Filter, field: &GroupField) -> Filter {
    let field = match field {
        GroupField::Service => Field::Service,
        GroupField::Message => Field::Message,
        GroupField::Attribute(name) => Field::Attribute(name.clone()),
        GroupField::Timestamp | GroupField::Severity | GroupField::LevelText | GroupField::Id => return filter,
    };
    filter.and(&Expr::field(field, Test::Exists))
}

impl From<Table> for Values {
    fn from(table: Table) -> Values {
        let values = table.rows.iter().filter_map(|row| {
            let (value, count) = (row.first()?, row.last()?);
            let raw = |value: &crate::stats::Value| {
                let mut json = Vec::new();
                value.write_json(&mut json);
                RawValue::from_string(String::from_utf8(json).ok()?).ok()
            };
            Some(ValueOf { value: raw(value)?, count: raw(count)?.get().parse().ok()? })
        });
        let others = table.others.map(|others| OtherValues { values: others.groups, records: others.records });
        Values { values: values.collect(), others }
    }
}
