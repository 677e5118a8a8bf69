//! Making records: sessions that walk through their profiles, all at once.
//!
//! The flow of records depends on the seed and on what was chosen (profiles, levels, services), and on nothing else:
//! not on batches, clients, or the pace.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use sluice_model::Severity;

use crate::profile::{Line, PROFILES, Profile};
use crate::template::{Draw, Template, UnknownValue, mix};
use crate::weights::Weights;

/// What records are made of.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The same seed makes the same records.
    pub seed: u64,
    /// Which profiles, by index, against each other; all by their natural shares if `None`.
    pub profiles: Option<Weights<usize>>,
    /// Which severities; those of the profiles' natural flow if `None`.
    pub levels: Option<Weights<Severity>>,
    /// Which services; the profiles' own if `None`.
    pub services: Option<Weights<String>>,
}

/// One record, but for its time and number. Its buffers are used again and again.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) severity: Severity,
    pub(crate) service: Vec<u8>,
    pub(crate) message: Vec<u8>,
    /// The members of a JSON object.
    pub(crate) attributes: Vec<u8>,
    /// Random bits, for what else needs some.
    pub(crate) bits: u64,
}

/// An endless flow of records.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: SmallRng,
    scripts: Vec<Script>,
    profiles: Weights<usize>,
    levels: Option<Weights<Severity>>,
    services: Option<Weights<String>>,
    sessions: Vec<Session>,
}

/// How many sessions go on at the same time.
const SESSIONS: usize = 64;
/// How often, in 1024 records, a session says something aside, or runs into trouble.
const ASIDE_SHARE: u64 = 110;
const TROUBLE_SHARE: u64 = 16;
/// The last of a profile's troubles is the one in so many.
const WORST_TROUBLE: u64 = 64;

/// A profile, parsed.
#[derive(Debug)]
struct Script {
    scenes: Vec<Scene>,
    /// Where in `scenes` the flow, the asides, and each of the troubles are.
    flow: usize,
    asides: (usize, usize),
    troubles: Vec<(usize, usize)>,
    by_severity: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Scene {
    severity: Severity,
    service: &'static str,
    message: Template,
    attributes: Template,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    script: usize,
    seed: u64,
    /// The next scene, and where the session ends.
    next: usize,
    end: usize,
    in_trouble: bool,
}

impl Generator {
    /// Begins the flow.
    pub(crate) fn new(choice: &Choice) -> Result<Generator, UnknownValue> {
        let scripts = PROFILES.iter().map(|profile| Script::parse(profile)).collect::<Result<Vec<_>, _>>()?;
        let natural = || Weights::new(PROFILES.iter().enumerate().map(|(index, profile)| (index, profile.share)));
        let mut generator = Generator {
            rng: SmallRng::seed_from_u64(choice.seed),
            scripts,
            profiles: choice.profiles.clone().unwrap_or_else(natural),
            levels: choice.levels.clone(),
            services: choice.services.clone(),
            sessions: Vec::with_capacity(SESSIONS),
        };
        for _ in 0..SESSIONS {
            let session = generator.open_session();
            generator.sessions.push(session);
        }
        Ok(generator)
    }

    /// Makes the next record.
    pub(crate) fn next(&mut self, event: &mut Event) {
        let bits = self.rng.next_u64();
        let slot = (bits as usize) % SESSIONS;
        let Some(mut session) = self.sessions.get(slot).copied() else { return };
        let chosen = self.levels.as_ref().and_then(|levels| levels.pick(mix(bits))).copied();
        let Some(script) = self.scripts.get(session.script) else { return };
        let index = script.step(&mut session, bits >> 16, chosen);
        if let Some(scene) = script.scenes.get(index) {
            let service = self.services.as_ref().and_then(|services| services.pick(session.seed));
            let service = service.map_or(scene.service, String::as_str);
            event.fill(scene, service, Draw { session: session.seed, record: bits });
        }
        if session.next >= session.end {
            session = self.open_session();
        }
        if let Some(place) = self.sessions.get_mut(slot) {
            *place = session;
        }
    }

    fn open_session(&mut self) -> Session {
        let seed = self.rng.next_u64();
        let script = self.profiles.pick(mix(seed)).copied().unwrap_or(0);
        let end = self.scripts.get(script).map_or(0, |script| script.flow);
        Session { script, seed, next: 0, end, in_trouble: false }
    }
}

impl Script {
    fn parse(profile: &Profile) -> Result<Script, UnknownValue> {
        let mut scenes = Vec::new();
        let mut add = |lines: &[Line]| {
            let start = scenes.len();
            for line in lines {
                scenes.push(Scene {
                    severity: line.severity,
                    service: line.service,
                    message: Template::parse(line.message)?,
                    attributes: Template::parse(line.attributes)?,
                });
            }
            Ok((start, scenes.len()))
        };
        let (_, flow) = add(profile.flow)?;
        let asides = add(profile.asides)?;
        let troubles = profile.troubles.iter().map(|lines| add(lines)).collect::<Result<Vec<_>, _>>()?;
        let of = |severity| (0..scenes.len()).filter(|index| is_of(&scenes, *index, severity)).collect();
        let by_severity = Severity::ALL.into_iter().map(of).collect();
        Ok(Script { scenes, flow, asides, troubles, by_severity })
    }

    /// Says which scene is next, and moves the session on.
    fn step(&self, session: &mut Session, bits: u64, chosen: Option<Severity>) -> usize {
        let dice = bits % 1024;
        let choice = bits >> 10;
        if let Some(severity) = chosen {
            // Whoever chooses levels gives up the flow: any line of that level will do.
            session.next += 1;
            let place = Severity::ALL.iter().position(|known| *known == severity).unwrap_or(0);
            return self.by_severity.get(place).and_then(|scenes| nth(scenes, choice)).copied().unwrap_or(0);
        }
        if !session.in_trouble && dice < ASIDE_SHARE {
            let (start, end) = self.asides;
            return start + (choice % (end - start).max(1) as u64) as usize;
        }
        if !session.in_trouble && dice < ASIDE_SHARE + TROUBLE_SHARE {
            session.in_trouble = true;
            (session.next, session.end) = self.trouble(choice);
        }
        let scene = session.next;
        session.next += 1;
        scene
    }

    fn trouble(&self, choice: u64) -> (usize, usize) {
        let worst = choice.is_multiple_of(WORST_TROUBLE);
        let Some((last, common)) = self.troubles.split_last() else { return (0, 0) };
        let common = nth(common, choice / WORST_TROUBLE).unwrap_or(last);
        if worst { *last } else { *common }
    }
}

impl Event {
    pub(crate) fn new() -> Event {
        let (service, message, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Event { severity: Severity::Info, service, message, attributes, bits: 0 }
    }

    fn fill(&mut self, scene: &Scene, service: &str, draw: Draw) {
        self.severity = scene.severity;
        self.bits = draw.record;
        for buffer in [&mut self.service, &mut self.message, &mut self.attributes] {
            buffer.clear();
        }
        self.service.extend_from_slice(service.as_bytes());
        scene.message.write(draw, &mut self.message);
        scene.attributes.write(draw, &mut self.attributes);
    }
}

fn is_of(scenes: &[Scene], index: usize, severity: Severity) -> bool {
    scenes.get(index).is_some_and(|scene| scene.severity == severity)
}

fn nth<T>(items: &[T], choice: u64) -> Option<&T> {
    let index = choice.checked_rem(items.len() as u64)?;
    items.get(index as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn events(choice: &Choice, count: usize) -> Vec<(Severity, String, String, String)> {
        let mut generator = Generator::new(choice).unwrap();
        let mut event = Event::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (0..count)
            .map(|_| {
                generator.next(&mut event);
                (event.severity, text(&event.service), text(&event.message), text(&event.attributes))
            })
            .collect()
    }

    #[test]
    fn the_seed_decides_everything() {
        let of = |seed| events(&Choice { seed, ..Choice::default() }, 5_000);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn attributes_are_json_objects_without_repeated_paths() {
        for (_, _, message, attributes) in events(&Choice::default(), 20_000) {
            assert!(!message.is_empty());
            let json = format!("{{{attributes}}}");
            let pairs: BTreeMap<String, serde_json::Value> = serde_json::from_str(&json).expect(&json);
            assert_eq!(pairs.len(), serde_json::from_str::<Pairs>(&json).unwrap().0, "{json}");
        }
    }

    /// Counts the members of an object, repeated ones too.
    struct Pairs(usize);

    impl<'de> serde::Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Pairs;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut count = 0;
                    while map.next_entry::<String, serde::de::IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                    Ok(Pairs(count))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }

    #[test]
    fn severities_have_realistic_shares() {
        let mut counts = BTreeMap::new();
        let total = 200_000;
        for (severity, ..) in events(&Choice::default(), total) {
            *counts.entry(severity).or_insert(0_usize) += 1;
        }
        for (severity, per_mille) in [
            (Severity::Trace, 10..60),
            (Severity::Debug, 50..150),
            (Severity::Info, 750..900),
            (Severity::Warn, 10..50),
            (Severity::Error, 5..30),
        ] {
            let share = counts[&severity] * 1000 / total;
            assert!(per_mille.contains(&share), "{severity:?}: {share} ‰");
        }
        let fatal = counts[&Severity::Fatal];
        assert!((1..total / 1000).contains(&fatal), "{fatal} of {total} are fatal");
    }

    #[test]
    fn sessions_walk_through_their_flow_in_order() {
        let choice = Choice { profiles: Some(Weights::new([(2, 1)])), ..Choice::default() };
        let mut steps: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let phases = ["checkout started", "authorising", "authorised in", "captured", "booked", "completed in"];
        for (_, _, message, attributes) in events(&choice, 20_000) {
            if let Some(phase) = phases.iter().position(|phase| message.contains(phase)) {
                let order = attributes.split(r#""order":{"id":"#).nth(1).unwrap();
                steps.entry(order.chars().take(9).collect()).or_default().push(phase);
            }
        }
        assert!(steps.len() > 1_000);
        for (order, steps) in steps {
            assert_eq!(steps, (0..steps.len()).collect::<Vec<_>>(), "order {order}");
        }
    }

    #[test]
    fn errors_have_stack_traces() {
        let errors: Vec<_> =
            events(&Choice::default(), 50_000).into_iter().filter(|event| event.0 == Severity::Error).collect();
        let traces = errors.iter().filter(|(_, _, message, _)| message.lines().count() > 3).count();
        assert!(traces * 2 > errors.len(), "{traces} of {}", errors.len());
    }

    #[test]
    fn levels_and_services_can_be_chosen() {
        let choice = Choice {
            levels: Some(Weights::new([(Severity::Warn, 1), (Severity::Fatal, 3)])),
            services: Some(Weights::new([("a".to_owned(), 1), ("b".to_owned(), 1)])),
            ..Choice::default()
        };
        let events = events(&choice, 10_000);
        let fatal = events.iter().filter(|event| event.0 == Severity::Fatal).count();
        assert!((7_200..7_800).contains(&fatal), "{fatal}");
        assert!(events.iter().all(|event| matches!(event.0, Severity::Fatal | Severity::Warn)));
        assert!(events.iter().all(|event| event.1 == "a" || event.1 == "b"));
        assert!(events.iter().any(|event| event.1 == "b"));
    }
}
