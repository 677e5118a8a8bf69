//! What is asked for, chosen from the records themselves so that there is something to find.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::data::Data;
use crate::record::Record;
use crate::text;

/// About how many records are looked at.
const SAMPLE: usize = 20_000;
/// What no record should have; it is counted all the same.
const NOWHERE: &str = "zzznowhere";
/// An hour.
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// The terms of the queries.
#[derive(Debug, Clone)]
pub struct Terms {
    /// A frequent word.
    pub word: String,
    /// Two words, of which some messages have one after the other.
    pub regex: (String, String),
    /// A word that is nowhere.
    pub nowhere: &'static str,
    /// Two words with a space between.
    pub phrase: String,
    /// An attribute that is a text.
    pub attribute: String,
    /// A service and a severity that often go together, and an hour with its end.
    pub service: String,
    pub severity: &'static str,
    pub hour: (i64, i64),
}

/// In how many records of the sample something occurs.
#[derive(Default)]
struct Census {
    records: usize,
    words: BTreeMap<String, usize>,
    phrases: BTreeMap<String, usize>,
    pairs: BTreeMap<(String, String), usize>,
    attributes: BTreeMap<String, usize>,
    groups: BTreeMap<(String, &'static str), usize>,
    latest: i64,
}

impl Terms {
    /// Chooses, with those of the goals' own file first.
    pub fn choose(data: &Data) -> Result<Terms> {
        let census = Census::take(data)?;
        let share = |wanted: f64| (wanted * census.records as f64) as usize;
        let own = |first: &str, second: &str| (first.to_owned(), second.to_owned());
        let pair = own("block", "terminating");
        let frequent = |phrase: &str| census.phrases.get(phrase).is_some_and(|count| *count >= share(0.005));
        let (service, severity) = nearest(&census.groups, usize::MAX).ok_or("there are no records")?;
        Ok(Terms {
            word: if census.words.get("error").is_some_and(|count| *count >= share(0.005)) {
                "error".to_owned()
            } else {
                nearest(&census.words, share(0.06)).ok_or("no message has a word")?
            },
            regex: if census.pairs.contains_key(&pair) {
                pair
            } else {
                nearest(&census.pairs, share(0.013)).ok_or("no message has two words")?
            },
            nowhere: NOWHERE,
            phrase: if frequent("connection from") {
                "connection from".to_owned()
            } else {
                nearest(&census.phrases, share(0.05)).ok_or("no message has a phrase")?
            },
            attribute: if census.attributes.contains_key("host") {
                "host".to_owned()
            } else {
                nearest(&census.attributes, usize::MAX).ok_or("no record has an attribute that is a text")?
            },
            service,
            severity,
            hour: (census.latest - HOUR_NANOS, census.latest),
        })
    }
}

impl Census {
    fn take(data: &Data) -> Result<Census> {
        let mut census = Census::default();
        let step = data.bodies().div_ceil(16).max(1);
        let chosen: BTreeSet<usize> = (0..data.bodies()).step_by(step).chain(data.bodies().checked_sub(1)).collect();
        let each = SAMPLE / chosen.len().max(1);
        let mut body = Vec::new();
        for number in &chosen {
            data.read(*number, 0, &mut body)?;
            let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            let step = (lines.len() / each.max(1)).max(1);
            lines.iter().step_by(step).chain(lines.last()).try_for_each(|line| census.add(&Record::parse(line)?))?;
        }
        Ok(census)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<()> {
        self.records += 1;
        self.latest = self.latest.max(record.nanos);
        *self.groups.entry((record.service.clone().into_owned(), record.severity)).or_default() += 1;
        for name in record.attribute_names() {
            *self.attributes.entry(name.to_owned()).or_default() += 1;
        }
        let words: Vec<(usize, String)> = text::words(&record.message).collect();
        let phrases = words.windows(2).filter_map(|pair| match pair {
            [(at, first), (next, second)] => {
                let between = record.message.get(at + first.len()..*next)?;
                (between == " ").then(|| format!("{first} {second}"))
            }
            _ => None,
        });
        count(&mut self.phrases, phrases.collect());
        // Those that stand apart, so that the expression has something to pass over.
        let pairs = words.windows(4).filter_map(|words| match words {
            [(_, first), .., (_, last)] if first != last => Some((first.clone(), last.clone())),
            _ => None,
        });
        let own = [("block".to_owned(), "terminating".to_owned())];
        let own = own.into_iter().filter(|(first, last)| text::has_in_order(&record.message, first, last));
        count(&mut self.pairs, pairs.chain(own).collect());
        count(&mut self.words, words.into_iter().map(|(_, word)| word).collect());
        Ok(())
    }
}

fn count<T: Ord>(counts: &mut BTreeMap<T, usize>, things: BTreeSet<T>) {
    for thing in things {
        *counts.entry(thing).or_default() += 1;
    }
}

/// What occurs about so often.
fn nearest<T: Ord + Clone>(counts: &BTreeMap<T, usize>, wanted: usize) -> Option<T> {
    counts.iter().min_by_key(|(_, count)| count.abs_diff(wanted)).map(|(thing, _)| thing.clone())
}
