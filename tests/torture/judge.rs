//! The judge on trial, before it judges: a server is given a double, an altered and an unknown record, an acknowledged one is
//! kept from it, and each has to be told.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::context::{Context, Outcome, Stop};
use crate::ledger::{Ages, State};
use crate::load::{self, Load};
use crate::support::http::Http;

/// The client of whom the ledger knows as the one whose records are tampered with.
const VICTIM: usize = 90;

/// Runs the scenario.
pub fn run(context: &mut Context) -> Result<Outcome, Stop> {
    let bed = context.bed(&[])?;
    let server = bed.start()?;
    let http = server.http();
    let ledger = context.ledger(Ages::Recent);
    let load = Load::start(&bed.route, &ledger, &load::mixed_for(context.store), &mut context.rng);
    thread::sleep(Duration::from_millis(300));
    load.finish();

    let sent: Vec<Value> = (0..4).map(|number| ledger.run.record(VICTIM, number).to_json()).collect();
    for state in [State::Acknowledged, State::Acknowledged, State::Acknowledged, State::Refused] {
        let (place, _) = ledger.send(VICTIM, 1);
        ledger.became(VICTIM, place, state);
    }
    // The first twice, the second with another attribute, the third not at all, and the fourth though it was refused.
    let mut altered = sent[1].clone();
    altered["user.id"] = json!("somebody else");
    // And one that nobody sent.
    let mut unknown = sent[0].clone();
    unknown["number"] = json!(1000);
    for record in [&sent[0], &sent[0], &altered, &sent[3], &unknown] {
        post(&http, record)?;
    }

    let found = ledger.verify(&http)?;
    let counts = (found.missing, found.double, found.altered);
    context.expect(counts == (1, 1, 3), || {
        format!("missing, double and altered are told as {counts:?}: {:?}", found.complaints)
    });
    // The rest of what was sent is as it should be; what the trial brought in is not an outcome.
    context.outcome.rounds = 1;
    context.outcome.verdict.acknowledged = found.acknowledged;
    context.outcome.verdict.found = found.found;
    Ok(std::mem::take(&mut context.outcome))
}

fn post(http: &Http, record: &Value) -> Result<(), Stop> {
    let answer = http.post("/logs", &record.to_string());
    if answer.status == 202 { Ok(()) } else { Err(Stop::failed(format!("{} {}", answer.status, answer.text()))) }
}
