//! How MongoDB is asked: the very `find` that a search begins with, and what is left to the evaluator.

use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value as Json, json};

use super::pushdown;
use super::search::{filter, pushed_limit, sort};
use crate::query::Query;
use crate::store::{Evaluation, Plan};

/// The one step of the evaluator.
const STEP: &str = "records";

/// The plan for a query.
pub(super) fn plan(query: &Query) -> Plan {
    let pushed = pushdown::push(&query.filter.matching);
    let mut find = doc! { "filter": filter(query, &pushed), "sort": sort(query.order) };
    if let Some(limit) = pushed_limit(query, pushed.exact) {
        find.insert("limit", limit);
    }
    let step = || Evaluation { step: STEP, columns: Vec::new(), query: query.filter.tree().to_string() };
    Plan {
        store: "mongodb",
        pushed_down: shown(&Bson::from(find)),
        exact: pushed.exact,
        evaluated: if pushed.exact { Vec::new() } else { vec![step()] },
    }
}

/// A value of a filter as JSON, so that a shell of MongoDB takes it.
fn shown(value: &Bson) -> Json {
    let member = |(name, value): (&String, &Bson)| (name.clone(), shown(value));
    match value {
        Bson::Document(document) => Json::Object(Document::iter(document).map(member).collect()),
        Bson::Array(values) => values.iter().map(shown).collect(),
        Bson::String(text) => json!(text),
        Bson::Boolean(value) => json!(value),
        Bson::Int32(value) => json!(value),
        // A shell reads a bare number as a float, which such a one may not be.
        Bson::Int64(value) if value.unsigned_abs() > 1 << 53 => json!({ "$numberLong": value.to_string() }),
        Bson::Int64(value) => json!(value),
        Bson::Double(value) => json!(value),
        // There is no other kind in a filter.
        other => json!(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use sluice_model::Timestamp;

    use super::*;
    use crate::query::{Filter, Order, parse};

    fn planned(q: &str, limit: Option<usize>) -> Plan {
        let filter = Filter::default().and(&parse(q).unwrap());
        plan(&Query { filter, order: Order::Descending, after: None, limit })
    }

    #[test]
    fn what_is_exact_takes_the_limit_along_and_leaves_nothing_to_do() {
        let everything =
            json!({ "$gte": Timestamp::MIN.as_nanos().to_string(), "$lte": Timestamp::MAX.as_nanos().to_string() });
        let bound = |name: &str| json!({ "$numberLong": everything[name] });
        let plan = planned("level=error service=shop", Some(11));
        assert_eq!(
            plan.pushed_down,
            json!({
                "filter": { "ns": { "$gte": bound("$gte"), "$lte": bound("$lte") }, "severity": 17, "service": "shop" },
                "sort": { "ns": -1, "_id": -1 },
                "limit": 11,
            })
        );
        assert_eq!((plan.exact, plan.evaluated), (true, vec![]));
    }

    #[test]
    fn a_superset_is_finished_without_a_limit() {
        let plan = planned("a1 n=5 level=error", Some(11));
        let pushed = &plan.pushed_down["filter"]["$and"][0]["$and"];
        assert_eq!(pushed[0], json!({ "message": { "$regex": "[aA]1" } }));
        assert_eq!(pushed[1]["$or"][0], json!({ "attributes.n": { "$in": ["5", 5, 5.0] } }));
        assert_eq!((plan.exact, plan.pushed_down.get("limit")), (false, None));
        assert_eq!(plan.evaluated[0].query, "level=ERROR AND a1 AND n=5");
    }
}
