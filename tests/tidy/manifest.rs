//! The packages' manifests: the lints are the workspace's, and a panic unwinds.

use toml::{Table, Value};

/// The folders of the workspace's packages but the root's.
pub fn members(root: &str) -> Vec<String> {
    let table = parse(root);
    let members = table.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    members.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Complains about the root's manifest: its lints, the workspace's, and profiles in which a panic would end the process.
pub fn check_root(text: &str) -> Vec<String> {
    let table = parse(text);
    let mut complaints = check_package("Cargo.toml", text);
    for (group, lint) in [("rust", "missing_docs"), ("rust", "unsafe_code"), ("clippy", "unwrap_used")] {
        if get(&table, &["workspace", "lints", group, lint]).is_none() {
            complaints.push(format!("Cargo.toml: the workspace has no lint {lint}"));
        }
    }
    // A worker that panics is counted and lives on; that needs an unwinding panic in what is shipped.
    if get(&table, &["profile", "release", "panic"]).and_then(Value::as_str) != Some("unwind") {
        complaints.push("Cargo.toml: the profile release must say panic = \"unwind\"".to_owned());
    }
    for (name, profile) in table.get("profile").and_then(Value::as_table).into_iter().flatten() {
        if profile.get("panic").and_then(Value::as_str) == Some("abort") {
            complaints.push(format!("Cargo.toml: the profile {name} must not abort on a panic"));
        }
    }
    complaints
}

/// Complains about a package that does not take its lints from the workspace.
pub fn check_package(path: &str, text: &str) -> Vec<String> {
    match get(&parse(text), &["lints", "workspace"]) {
        Some(Value::Boolean(true)) => Vec::new(),
        _ => vec![format!("{path}: lacks `[lints]` with `workspace = true`")],
    }
}

fn get<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))
}

fn parse(text: &str) -> Table {
    text.parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [workspace]
        members = ["model", "client"]
        [workspace.lints.rust]
        missing_docs = "warn"
        unsafe_code = "forbid"
        [workspace.lints.clippy]
        unwrap_used = "warn"
        [lints]
        workspace = true
        [profile.release]
        panic = "unwind"
    "#;

    #[test]
    fn a_good_manifest_passes() {
        assert_eq!(members(GOOD), ["model", "client"]);
        assert_eq!(check_root(GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_missing_line_is_named() {
        for line in
            ["missing_docs = \"warn\"", "unsafe_code = \"forbid\"", "unwrap_used = \"warn\"", "panic = \"unwind\""]
        {
            assert_eq!(check_root(&GOOD.replace(line, "")).len(), 1, "{line}");
        }
        assert_eq!(check_root(&GOOD.replace("workspace = true", "")).len(), 1);
        assert_eq!(check_root(&format!("{GOOD}\n[profile.bench]\npanic = \"abort\"")).len(), 1);
        assert_eq!(
            check_package("a/Cargo.toml", "[lints]\nworkspace = false"),
            ["a/Cargo.toml: lacks `[lints]` with `workspace = true`"]
        );
    }
}
