//! Everything that matches, as a file: `GET /logs/export`.
//!
//! An answer is a row of bounded searches, encoded as they come, so that it needs the same memory whatever its length. Only
//! a database has to be whole before its first page is known; that one is built in a temporary file.

mod database;
mod sqlite;

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use sluice_model::Timestamp;

use super::encode::{Field, Form, Format, Table, TableError, TableWriter};
use super::params::{Pairs, shown};
use super::retrieve::{ORDERS, tell_incomplete, tell_unknown};
use super::selection::{self, SelectionParams};
use super::stream::{self, Encoder, Streams};
use super::windows::Windows;
use crate::config::Settings;
use crate::error::{Problem, ProblemBody, ProblemKind};
use crate::files::Scratch;
use crate::query::{Order, Query};
use crate::spool::Spool;
use crate::worker::Reader;

/// The names of the parameters beside those of a selection.
const PARAMETERS: &[&str] = &["format", "order", "limit", "fields"];

/// The values of `format`.
const KINDS: &[(&str, Kind)] = &[
    ("ndjson", Kind::Text(Form::Ndjson)),
    ("csv", Kind::Text(Form::Csv)),
    ("text", Kind::Text(Form::Text)),
    ("parquet", Kind::Parquet),
    ("arrow", Kind::Arrow),
    ("sqlite", Kind::Sqlite),
];

/// What kind of file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text(Form),
    Parquet,
    Arrow,
    Sqlite,
}

impl Kind {
    /// The ending of the file's name.
    fn ending(self) -> &'static str {
        match self {
            Kind::Text(Form::Csv) => "csv",
            Kind::Text(Form::Text) => "txt",
            Kind::Text(Form::Json | Form::Ndjson) => "ndjson",
            Kind::Parquet => "parquet",
            Kind::Arrow => "arrows",
            Kind::Sqlite => "sqlite",
        }
    }

    /// The value of `Content-Type`.
    fn content_type(self) -> &'static str {
        match self {
            Kind::Text(form) => form.content_type(),
            Kind::Parquet => "application/vnd.apache.parquet",
            Kind::Arrow => "application/vnd.apache.arrow.stream",
            Kind::Sqlite => "application/vnd.sqlite3",
        }
    }
}

/// What one request asks for.
#[derive(Debug)]
struct Wish {
    kind: Kind,
    query: Query,
    fields: Option<Vec<Field>>,
}

impl Wish {
    fn parse(query_string: &str, now: Timestamp) -> Result<Wish, Problem> {
        let pairs = Pairs::parse(query_string, &[selection::PARAMETERS, PARAMETERS])?;
        let kind = pairs.choice("format", KINDS)?.unwrap_or(Kind::Text(Form::Ndjson));
        let fields = Field::of(&pairs)?;
        if kind == Kind::Sqlite {
            database::check_names(fields.as_deref().unwrap_or_default())?;
        }
        let order = pairs.choice("order", ORDERS)?.unwrap_or(Order::Ascending);
        let limit = pairs.one("limit")?.map(limit).transpose()?;
        let filter = selection::filter(&pairs, selection::range(&pairs, now)?)?;
        Ok(Wish { kind, query: Query { filter, order, after: None, limit }, fields })
    }
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| Problem::invalid_parameter(format!("limit={}: use a whole number above 0", shown(text))))
}

/// Exports everything that matches as one file, oldest first.
///
/// The answer is streamed, however long it is; one that fails midway is cut off, without the end of its last chunk. A
/// SQLite database is built on the server's disk first. At most `query.exports_max` exports run at a time.
#[utoipa::path(
    get, path = "/logs/export", tag = "read",
    params(
        SelectionParams,
        ("format" = Option<String>, Query, description = "`ndjson` (the default), `csv`, `text` (a line a record), `parquet` (with zstd), `arrow` (an IPC stream) or `sqlite` (a database with the table `logs`)", pattern = "^(ndjson|csv|text|parquet|arrow|sqlite)$"),
        ("order" = Option<String>, Query, description = "`asc` (oldest first, the default) or `desc`", pattern = "^(desc|asc)$"),
        ("limit" = Option<u64>, Query, minimum = 1, description = "How many records at most; all, if absent"),
        ("fields" = Option<String>, Query, description = "The columns, in this order, by comma: `id`, `timestamp`, `level` (as sent), `severity`, `service`, `message`, `attributes`, or an attribute's name. The column of an attribute is text in tables: a text as it is, anything else as JSON, null where it is absent", example = "timestamp,severity,http.status"),
    ),
    responses(
        (status = 200, description = "The file",
            content(
                (String = "application/x-ndjson"),
                (String = "text/csv"),
                (String = "text/plain"),
                (Vec<u8> = "application/vnd.apache.parquet"),
                (Vec<u8> = "application/vnd.apache.arrow.stream"),
                (Vec<u8> = "application/vnd.sqlite3"),
            ),
            headers(
                ("Content-Disposition" = String, description = "`attachment; filename=\"logs.EXT\"`"),
                ("Sluice-Incomplete" = String, description = "`records=N, lag=S`: N accepted records are not searchable yet, the oldest for S seconds"),
                ("Sluice-Hint" = String, description = "Fields that the query names and no record has, as far as the store can tell soon; MongoDB cannot"),
            )),
        (status = 400, description = "A parameter is unknown or wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`query.exports_max` exports are running, or too many queries wait; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The store or the temporary file failed in a way that it should not", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be read now, or the disk has no room for a database; try again after `Retry-After` seconds", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn export(
    request: HttpRequest,
    reader: web::Data<Reader>,
    settings: web::Data<Settings>,
    streams: web::Data<Streams>,
    scratch: web::Data<Scratch>,
    spool: web::Data<Spool>,
) -> Result<HttpResponse, Problem> {
    let Wish { kind, query, fields } = Wish::parse(request.query_string(), Timestamp::now())?;
    let place = streams.export()?;
    let behind = reader.barrier().await;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, kind.content_type()))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"logs.{}\"", kind.ending())));
    if kind == Kind::Parquet {
        // It is compressed already; this keeps the server from doing it again.
        response.insert_header((CONTENT_ENCODING, "identity"));
    }
    tell_incomplete(&mut response, behind);
    tell_unknown(&mut response, &reader, &query).await;
    let stall_timeout = settings.query.stall_timeout;
    let is_head = request.method() == Method::HEAD;
    let windows = Windows::new(reader.into_inner(), settings.query.clone(), query, true);
    let failed = |error: TableError| Problem::new(ProblemKind::Internal, error.to_string());
    let encoder = match kind {
        Kind::Text(form) => Encoder::Text(Format::new(form, fields)),
        Kind::Arrow => Encoder::Table(TableWriter::arrow(Table::new(fields)).map_err(failed)?),
        Kind::Parquet => Encoder::Table(TableWriter::parquet(Table::new(fields)).map_err(failed)?),
        Kind::Sqlite => {
            let disk = sqlite::Disk { scratch: scratch.into_inner(), spool: spool.into_inner() };
            return sqlite::answer(windows, fields, disk, stall_timeout, is_head, place, response).await;
        }
    };
    stream::answer(windows, encoder, stall_timeout, is_head, Some(place), response).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Wish, Problem> {
        Wish::parse(query, Timestamp::from_nanos(0))
    }

    #[test]
    fn an_export_is_everything_oldest_first() {
        let wish = parse("").unwrap();
        assert_eq!((wish.kind, wish.query.order, wish.query.limit), (Kind::Text(Form::Ndjson), Order::Ascending, None));
        let wish = parse("format=parquet&order=desc&limit=20000000&fields=a,id").unwrap();
        assert_eq!(
            (wish.kind, wish.query.order, wish.query.limit),
            (Kind::Parquet, Order::Descending, Some(20_000_000))
        );
        assert_eq!(wish.fields.unwrap(), [Field::named("a"), Field::Id]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, expected) in [
            ("format=xml", "ndjson or csv or text or parquet or arrow or sqlite"),
            ("limit=0", "above 0"),
            ("limit=x", "above 0"),
            ("cursor=x", "unknown parameter `cursor`"),
            ("formt=csv", "did you mean `format`?"),
            ("fields=a,a", "named twice"),
            ("format=sqlite&fields=a,A", "differ in their case only"),
            ("format=sqlite&fields=a%00", "no NUL"),
        ] {
            let problem = parse(query).expect_err(query).to_string();
            assert!(problem.contains(expected), "{query}: {problem}");
        }
        assert!(parse("format=parquet&fields=a,A").is_ok());
    }
}
