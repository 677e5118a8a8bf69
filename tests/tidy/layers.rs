//! The order of the modules: which may import which.

use std::collections::{BTreeMap, BTreeSet};

use super::Source;
use super::code::{Token, tokens};

/// Every module of the server with its layer. A module may import what lies below it, and its peers in the same layer as
/// long as they do not import it in turn. Whoever adds a module says here where it belongs.
const LAYERS: &[(&str, u8)] = &[
    ("buffers", 0),
    ("config", 0),
    ("files", 0),
    ("priority", 0),
    ("telemetry", 0),
    // `model` is a crate of its own, which all of these may use.
    ("batch", 1),
    ("query", 2),
    ("finding", 2),
    ("stats", 2),
    ("store", 3),
    ("spool", 3),
    ("worker", 4),
    ("ingest", 4),
    ("tail", 4),
    ("decode", 5),
    ("error", 6),
    ("api", 7),
    ("input", 7),
    ("app", 8),
    ("cli", 8),
    ("fsck", 8),
    ("fuzzing", 8),
    ("main", 9),
];

/// The file that only lists the modules.
const ROOT: &str = "src/lib.rs";

/// Complains about each import that runs against the order, and about modules without a place in it.
pub fn check(files: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut peers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path != ROOT) {
        let Some((from, from_layer)) = layer(module(&file.path)) else {
            complaints.push(format!("{}: its module has no place in LAYERS", file.path));
            continue;
        };
        for import in imports(&file.path, &file.text) {
            match layer(&import) {
                None => complaints.push(format!("{}: crate::{import} has no place in LAYERS", file.path)),
                Some((to, to_layer)) if to_layer > from_layer => {
                    complaints.push(format!("{}: {from} lies below {to} and must not import it", file.path));
                }
                Some((to, to_layer)) if to_layer == from_layer && to != from => {
                    peers.entry(from).or_default().insert(to);
                }
                Some(_) => {}
            }
        }
    }
    complaints.extend(circles(&peers));
    complaints
}

/// Complains about modules of one layer that import each other, also by way of a third.
fn circles(peers: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for start in peers.keys() {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![*start];
        while let Some(module) = waiting.pop() {
            waiting.extend(peers.get(module).into_iter().flatten().filter(|next| reached.insert(**next)));
        }
        if reached.contains(start) {
            complaints.push(format!("{start} imports itself by way of {reached:?}"));
        }
    }
    complaints
}

fn layer(module: &str) -> Option<(&'static str, u8)> {
    LAYERS.iter().find(|(name, _)| *name == module).copied()
}

/// The top module a file belongs to: `spool` for `src/spool/segment.rs`.
fn module(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// The top modules that a file names, by `crate::…`, by a group `crate::{…}`, or by `super::` up to the crate.
fn imports(path: &str, source: &str) -> BTreeSet<String> {
    let depth = path.strip_prefix("src/").unwrap_or(path).split('/').count();
    let code = tokens(source);
    let mut found = BTreeSet::new();
    for (at, token) in code.iter().enumerate() {
        let Some(rest) = after_colons(&code[at + 1..]) else { continue };
        match token.as_str() {
            "crate" => found.extend(heads(rest)),
            "super" => {
                let (ups, target) = climb(rest);
                let known = heads(target).into_iter().filter(|name| layer(name).is_some());
                found.extend(known.filter(|_| ups >= depth));
            }
            _ => {}
        }
    }
    found
}

/// Counts `super`s, one of which has been seen, and gives what stands after the last.
fn climb(mut rest: &[Token]) -> (usize, &[Token]) {
    let mut ups = 1;
    while let Some(next) = rest.strip_prefix(&["super".to_owned()]).and_then(after_colons) {
        (ups, rest) = (ups + 1, next);
    }
    (ups, rest)
}

/// The first names of a path or of a group of paths.
fn heads(code: &[Token]) -> Vec<String> {
    if code.first().is_none_or(|token| token != "{") {
        return code.first().cloned().into_iter().collect();
    }
    let (mut depth, mut expecting, mut names) = (0_usize, false, Vec::new());
    for token in code {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => {}
            name if expecting => names.push(name.to_owned()),
            _ => {}
        }
        expecting = depth == 1 && matches!(token.as_str(), "{" | ",");
        if depth == 0 {
            break;
        }
    }
    names
}

fn after_colons(code: &[Token]) -> Option<&[Token]> {
    code.strip_prefix(&[":".to_owned(), ":".to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
        check(&files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn downwards_is_fine() {
        let files = [
            (
                "src/store/embedded.rs",
                "use crate::batch::LogBatch;\nuse super::Store;\nuse crate::{config, query::Query};",
            ),
            ("src/api.rs", "//! Not crate::app.\nuse crate::decode;\nfn f() { crate::ingest::accept(); }"),
            ("src/lib.rs", "pub mod app;\nuse crate::app;"),
        ];
        assert_eq!(complaints(&files), Vec::<String>::new());
    }

    #[test]
    fn every_way_to_write_an_import_upwards_is_seen() {
        let sources = [
            "use crate::app::App;",
            "use crate :: app;",
            "use crate::{app};",
            "use crate::{batch::{self, LogBatch}, app::App};",
            "use crate::{\n    batch,\n    app as other,\n};",
            "pub use crate::app;",
            "pub(crate) use crate::app;",
            "fn f() { let x = crate::app::run(); }",
            "fn f(app: &crate::app::App) {}",
            "use super::super::app;",
            "use super::super::{batch, app};",
            "mod tests { use super::super::super::app; }",
        ];
        for source in sources {
            let found = complaints(&[("src/spool/segment.rs", source)]);
            assert_eq!(found, ["src/spool/segment.rs: spool lies below app and must not import it"], "{source}");
        }
    }

    #[test]
    fn peers_must_not_go_in_circles() {
        let one_way = [("src/store.rs", "use crate::spool;"), ("src/spool.rs", "use crate::batch;")];
        assert_eq!(complaints(&one_way), Vec::<String>::new());
        let both = [("src/store.rs", "use crate::spool;"), ("src/spool/a.rs", "use crate::store;")];
        assert_eq!(complaints(&both).len(), 2);
    }

    #[test]
    fn a_module_without_a_place_is_named() {
        assert_eq!(complaints(&[("src/util.rs", "")]), ["src/util.rs: its module has no place in LAYERS"]);
        assert_eq!(complaints(&[("src/api.rs", "use crate::*;")]), ["src/api.rs: crate::* has no place in LAYERS"]);
    }

    #[test]
    fn the_table_rises_and_names_each_module_once() {
        assert!(LAYERS.is_sorted_by_key(|(_, layer)| *layer));
        let names: BTreeSet<_> = LAYERS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), LAYERS.len());
    }
}
