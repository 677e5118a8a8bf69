//! Query trees as text, which parses to the same tree again, and as JSON, which explains them.

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};
use sluice_model::Severity;

use super::expr::{Comparison, Condition, Expr, Field, Needle, Test};
use super::literal::Literal;
use super::{SeveritySet, Term};

/// The names of the fields that every record has.
pub(super) const FIXED_FIELDS: [&str; 7] = ["timestamp", "level", "severity", "service", "message", "id", "level_text"];
/// What an attribute's name may begin with in a query.
pub(super) const ATTRIBUTES: &str = "attributes.";

/// What a word behind a field's `:` does not begin with, because a comparison is what was meant.
pub(super) const COMPARING: [char; 5] = ['<', '>', '=', '~', '!'];

/// Writes the query so that it parses to the same tree.
impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All => f.write_str("*"),
            Expr::And(parts) => join(f, parts, " AND ", |part| matches!(part, Expr::Or(_))),
            Expr::Or(parts) => join(f, parts, " OR ", |_| false),
            Expr::Not(inner) => match **inner {
                Expr::And(_) | Expr::Or(_) => write!(f, "NOT ({inner})"),
                _ => write!(f, "NOT {inner}"),
            },
            Expr::Condition(condition) => condition.fmt(f),
        }
    }
}

fn join(f: &mut Formatter<'_>, parts: &[Expr], between: &str, in_brackets: fn(&Expr) -> bool) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        if in_brackets(part) {
            write!(f, "({part})")?;
        } else {
            part.fmt(f)?;
        }
    }
    Ok(())
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Time(comparison, time) => write!(f, "timestamp{}{time}", comparison.sign()),
            Condition::Id(comparison, id) => write!(f, "id{}{id}", comparison.sign()),
            Condition::Severity(set) => {
                let names = severity_names(*set);
                match names.as_slice() {
                    [name] => write!(f, "level={name}"),
                    names => write!(f, "level in ({})", names.join(", ")),
                }
            }
            Condition::Field(Field::Message, Test::Contains(needle)) if is_plain(needle) => needle.fmt(f),
            Condition::Field(field, test) => show_test(f, field, test),
        }
    }
}

fn show_test(f: &mut Formatter<'_>, field: &Field, test: &Test) -> fmt::Result {
    field.fmt(f)?;
    match test {
        Test::Exists => f.write_str(":*"),
        Test::Contains(Needle::Pattern(pattern)) if pattern.is_exact_case() => {
            f.write_str("=~")?;
            quote(f, pattern.source())
        }
        Test::Contains(needle) => write!(f, ":{needle}"),
        Test::Order(comparison, literal) => write!(f, "{}{literal}", comparison.sign()),
        Test::OneOf(literals) => match literals.as_slice() {
            [literal] => write!(f, "={literal}"),
            literals => {
                let shown: Vec<String> = literals.iter().map(Literal::to_string).collect();
                write!(f, " in ({})", shown.join(", "))
            }
        },
    }
}

/// The field's name, in quotes if it is odd.
impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = match self {
            Field::Message => "message",
            Field::Service => "service",
            Field::LevelText => "level_text",
            Field::Attribute(name) => return show_attribute(f, name),
        };
        f.write_str(name)
    }
}

fn show_attribute(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    let is_taken = FIXED_FIELDS.contains(&name) || name.starts_with(ATTRIBUTES) || name.starts_with('_');
    let full = if is_taken { format!("{ATTRIBUTES}{name}") } else { name.to_owned() };
    if is_plain_name(&full) { f.write_str(&full) } else { quote(f, &full) }
}

/// Whether a name needs no quotes, wherever it stands.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '@'))
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'.' | b'-'))
        && !matches!(name, "AND" | "OR" | "NOT")
}

/// Whether a needle means the same without the name of its field, the message's.
fn is_plain(needle: &Needle) -> bool {
    match needle {
        // `message://` would be no field, and `message:~` is refused; without it both are read as the parts they are.
        Needle::Term(term) if !term.edges().open_start && is_no_value(term.text()) => true,
        Needle::Term(term) => !is_part(term) || is_plain_text(term.text()),
        Needle::Fuzzy(_) => true,
        Needle::Pattern(pattern) => !pattern.is_exact_case(),
    }
}

/// Whether a text cannot stand without quotes behind a field's name and its `:`.
fn is_no_value(text: &str) -> bool {
    text.starts_with("//") || text.starts_with(COMPARING)
}

fn is_part(term: &Term) -> bool {
    term.edges() != super::term::Edges::default()
}

/// Whether a text needs no quotes, wherever a term may stand.
fn is_plain_text(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && text != "in"
}

impl Display for Needle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Needle::Term(term) if is_part(term) => {
                let star = |open: bool| if open { "*" } else { "" };
                write!(f, "{}{}{}", star(term.edges().open_start), term.text(), star(term.edges().open_end))
            }
            Needle::Term(term) if term.is_exact_case() => {
                quote(f, term.text())?;
                f.write_str("c")
            }
            Needle::Term(term) if is_plain_text(term.text()) => f.write_str(term.text()),
            Needle::Term(term) => quote(f, term.text()),
            Needle::Fuzzy(fuzzy) if fuzzy.slips() == 1 => write!(f, "{}~", fuzzy.word()),
            Needle::Fuzzy(fuzzy) => write!(f, "{}~{}", fuzzy.word(), fuzzy.slips()),
            Needle::Pattern(pattern) => {
                write!(f, "/{}/{}", pattern.source(), if pattern.is_exact_case() { "c" } else { "" })
            }
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_quoted() { quote(f, self.text()) } else { f.write_str(self.text()) }
    }
}

fn quote(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn severity_names(set: SeveritySet) -> Vec<&'static str> {
    Severity::ALL.into_iter().filter(|severity| set.contains(*severity)).map(Severity::name).collect()
}

/// The tree, for those who want to see how a query is understood.
impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        explain(self).serialize(serializer)
    }
}

fn explain(expr: &Expr) -> Json {
    let all = |parts: &[Expr]| parts.iter().map(explain).collect::<Vec<_>>();
    match expr {
        Expr::All => json!("all"),
        Expr::And(parts) => json!({ "and": all(parts) }),
        Expr::Or(parts) => json!({ "or": all(parts) }),
        Expr::Not(inner) => json!({ "not": explain(inner) }),
        Expr::Condition(condition) => explain_condition(condition),
    }
}

fn explain_condition(condition: &Condition) -> Json {
    let compare =
        |field: &str, comparison: &Comparison, value: Json| json!({ "field": field, comparison.sign(): value });
    match condition {
        Condition::Time(comparison, time) => compare("timestamp", comparison, json!(time)),
        Condition::Id(comparison, id) => compare("id", comparison, json!(id)),
        Condition::Severity(set) => json!({ "field": "severity", "in": severity_names(*set) }),
        Condition::Field(field, test) => {
            let field = match field {
                Field::Attribute(name) => format!("{ATTRIBUTES}{name}"),
                field => field.to_string(),
            };
            match test {
                Test::Exists => json!({ "field": field, "exists": true }),
                Test::Contains(needle) => explain_needle(&field, needle),
                Test::Order(comparison, literal) => compare(&field, comparison, json!(literal.to_string())),
                Test::OneOf(literals) => {
                    json!({ "field": field, "in": literals.iter().map(Literal::to_string).collect::<Vec<_>>() })
                }
            }
        }
    }
}

fn explain_needle(field: &str, needle: &Needle) -> Json {
    match needle {
        Needle::Term(term) if is_part(term) => json!({ "field": field, "part": needle.to_string() }),
        Needle::Term(term) if term.is_exact_case() => json!({ "field": field, "exact_case": term.text() }),
        Needle::Term(term) => json!({ "field": field, "contains": term.text() }),
        Needle::Fuzzy(fuzzy) => json!({ "field": field, "fuzzy": fuzzy.word(), "slips": fuzzy.slips() }),
        Needle::Pattern(pattern) => {
            json!({ "field": field, "regex": pattern.source(), "exact_case": pattern.is_exact_case() })
        }
    }
}
