//! The README's table of the configuration against the one list of keys.

use std::collections::BTreeSet;

use sluice::config::keys::Key;

/// Complains about each key without a row that has its name, variable and default, and about variables that do not exist.
pub fn check(readme: &str, keys: &[Key]) -> Vec<String> {
    let rows: Vec<Vec<&str>> = readme.lines().filter(|line| line.starts_with('|')).map(quoted).collect();
    let missing = keys.iter().filter(|key| {
        let cells = [key.path, &key.variable(), key.default];
        !rows.iter().any(|row| cells.iter().all(|cell| row.contains(cell)))
    });
    let mut complaints: Vec<String> = missing
        .map(|key| {
            format!("README.md lacks: | `{}` | `{}` | `{}` | {} |", key.path, key.variable(), key.default, key.help)
        })
        .collect();

    let known: BTreeSet<String> = keys.iter().map(Key::variable).collect();
    let named = rows.iter().flatten().filter(|cell| cell.starts_with("SLUICE_"));
    let stale = named.filter(|cell| !known.contains(cell.trim_end_matches("_FILE")));
    complaints.extend(stale.map(|cell| format!("README.md names {cell}, which is no variable")));
    complaints
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[Key { path: "spool.age", default: "1s", allowed: "a period", help: "how old" }];
    const ROW: &str = "| `spool.age` | `SLUICE_SPOOL__AGE` | `1s` | how old |";

    #[test]
    fn a_row_has_name_variable_and_default() {
        assert!(check(ROW, KEYS).is_empty());
        for part in ["spool.age", "SLUICE_SPOOL__AGE", "1s"] {
            let complaints = check(&ROW.replace(&format!("`{part}`"), "`else`"), KEYS);
            assert_eq!(complaints, [format!("README.md lacks: {ROW}")], "{part}");
        }
        assert_eq!(check(&ROW.replace("| ", ""), KEYS).len(), 1, "a sentence is no row");
    }

    #[test]
    fn a_variable_that_is_gone_is_named() {
        let readme =
            format!("{ROW}\n| `spool.old` | `SLUICE_SPOOL__OLD` | `2s` | gone |\n| `SLUICE_SPOOL__AGE_FILE` |");
        assert_eq!(check(&readme, KEYS), ["README.md names SLUICE_SPOOL__OLD, which is no variable"]);
    }
}
