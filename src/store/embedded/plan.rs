//! How the engine goes about a query: what it prunes by, and what the evaluator does in which step.

use serde_json::{Map, Value as Json, json};
use sluice_model::Severity;

use crate::query::{Columns, Expr, Filter, Query, TimeRange};
use crate::store::{Evaluation, Plan};

/// The evaluator's steps over a row group, which are those of [`Expr::steps`].
pub(super) const STEPS: [&str; 3] = ["keys", "fields", "message"];

/// The one step over a chunk of the memory tier.
pub(super) const MEMORY_STEP: &str = "memory";

/// The plan for a query.
pub(super) fn plan(query: &Query) -> Plan {
    let filter = Filter { range: query.open_range(), ..query.filter.clone() };
    let [keys, fields, message] = filter.matching.steps();
    let keys = Filter { matching: keys, ..filter.clone() }.tree();
    let steps = STEPS.into_iter().zip([keys, fields, message]).filter(|(_, part)| *part != Expr::All);
    let evaluated: Vec<Evaluation> = steps
        .map(|(step, part)| Evaluation { step, columns: names(part.columns()), query: part.to_string() })
        .collect();
    Plan { store: "embedded", pushed_down: pruned_by(&filter), exact: evaluated.is_empty(), evaluated }
}

/// What rules out segments and row groups before a column is read, and by which knowledge of them.
fn pruned_by(filter: &Filter) -> Json {
    let mut by = Map::new();
    let TimeRange { start, end } = filter.range;
    if filter.range != TimeRange::ALL {
        let (start, end) = ((start > TimeRange::ALL.start).then_some(start), (end < TimeRange::ALL.end).then_some(end));
        by.insert("time".to_owned(), json!({ "start": start, "end": end }));
    }
    if !filter.severities.is_all() {
        let wanted = Severity::ALL.into_iter().filter(|severity| filter.severities.contains(*severity));
        by.insert("severity".to_owned(), wanted.map(Severity::name).collect());
    }
    if !filter.services.is_empty() {
        by.insert("service".to_owned(), json!(filter.services));
    }
    let attributes = filter.matching.columns().attributes;
    if !attributes.is_empty() {
        by.insert("attribute".to_owned(), json!(attributes));
    }
    let tokens = filter.matching.tokens();
    if !tokens.is_empty() {
        by.insert("tokens".to_owned(), json!(tokens));
    }
    Json::Object(by)
}

/// The columns by name; attributes under their own.
fn names(columns: Columns) -> Vec<String> {
    let fixed = [
        (columns.id, "id"),
        (columns.timestamp, "timestamp"),
        (columns.severity, "severity"),
        (columns.level, "level"),
        (columns.service, "service"),
        (columns.message, "message"),
    ];
    let fixed = fixed.into_iter().filter(|(is_read, _)| *is_read).map(|(_, name)| name.to_owned());
    fixed.chain(columns.attributes.into_iter().map(|name| format!("attributes.{name}"))).collect()
}
