//! The breakers' transitions, as the log and the metrics tell them: each once, each from the state before.

use std::collections::BTreeMap;

/// One change of a breaker's state.
#[derive(Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which breaker.
    pub pool: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
}

/// The transitions in a log, in its order.
pub fn transitions(log: &str) -> Vec<Transition> {
    let lines = log.lines().filter(|line| line.contains(" breaker "));
    let value = |line: &str, name: &str| {
        // The last one: a reason before it may quote anything.
        let (_, rest) = line.rsplit_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let transition =
        |line| Some(Transition { pool: value(line, "pool")?, from: value(line, "from")?, to: value(line, "to")? });
    lines.filter_map(transition).collect()
}

/// Complains about transitions that a breaker must not make, and about counts that differ between log and metrics.
pub fn check(log: &str, metrics: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for transition in transitions(log) {
        let Transition { pool, from, to } = &transition;
        let state = states.entry(pool.clone()).or_insert_with(|| "closed".to_owned());
        let known = [("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")];
        if state != from || !known.contains(&(from, to)) {
            complaints.push(format!("the breaker {pool} was {state}, and then: {transition:?}"));
        }
        to.clone_into(state);
        *counts.entry((pool.clone(), to.clone())).or_default() += 1;
    }
    for ((pool, to), count) in counts {
        let labels = [format!("pool=\"{pool}\""), format!("to=\"{to}\"")];
        let line = metrics.lines().find(|line| {
            line.starts_with("sluice_breaker_transitions_total{") && labels.iter().all(|label| line.contains(label))
        });
        let counted = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        if counted != Some(count as f64) {
            complaints.push(format!("the log has {count} transitions of {pool} to {to}, the metrics {counted:?}"));
        }
    }
    complaints
}
