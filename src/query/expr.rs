//! The tree of a query: what a text that was parsed asks for.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use sluice_model::{RecordId, Timestamp};

use super::fuzzy::Fuzzy;
use super::literal::Literal;
use super::pattern::Pattern;
use super::{SeveritySet, Term, TimeRange};

/// Which records are asked for.
///
/// It is normal: an AND has no AND in it, an OR no OR, a NOT no NOT, and both of the former have two parts or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Expr {
    /// All of them.
    #[default]
    All,
    /// Those that pass every part.
    And(Vec<Expr>),
    /// Those that pass any part.
    Or(Vec<Expr>),
    /// Those that do not pass the part.
    Not(Box<Expr>),
    /// Those that meet the condition.
    Condition(Condition),
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The timestamp compares so with this moment.
    Time(Comparison, Timestamp),
    /// The id compares so with this one.
    Id(Comparison, RecordId),
    /// The severity is one of these.
    Severity(SeveritySet),
    /// The field passes the test.
    Field(Field, Test),
}

/// A field whose values are texts or JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// The message; it is there if it is not empty.
    Message,
    /// The service; it is there if it is not empty.
    Service,
    /// The level as its sender wrote it.
    LevelText,
    /// The attribute of this dotted name.
    Attribute(String),
}

/// What is asked of a field's value. An array passes if any of its elements does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// It is there; `null` is too.
    Exists,
    /// Its text has this.
    Contains(Needle),
    /// It equals any of these, of which there is one at least.
    OneOf(Vec<Literal>),
    /// It compares so with the literal.
    Order(Comparison, Literal),
}

/// What a text may contain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Needle {
    /// A text with the boundaries of tokens at its ends, or at one, or none.
    Term(Term),
    /// A token that is nearly this one.
    Fuzzy(Fuzzy),
    /// A match of this expression.
    Pattern(Pattern),
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Comparison {
    /// Whether two values in this order compare so.
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
        }
    }

    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Less => "<",
            Comparison::LessEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterEqual => ">=",
        }
    }

    /// The times that compare so with `time`; `None`, if there are none.
    pub fn range(self, time: Timestamp) -> Option<TimeRange> {
        let shifted = |by: i64| time.as_nanos().checked_add(by).map(Timestamp::from_nanos);
        let all = TimeRange::ALL;
        Some(match self {
            Comparison::Equal => TimeRange { start: time, end: time },
            Comparison::Less => TimeRange { end: shifted(-1)?, ..all },
            Comparison::LessEqual => TimeRange { end: time, ..all },
            Comparison::Greater => TimeRange { start: shifted(1)?, ..all },
            Comparison::GreaterEqual => TimeRange { start: time, ..all },
        })
    }
}

impl Expr {
    /// The records whose message has `term`.
    pub fn term(term: Term) -> Expr {
        Expr::message(Needle::Term(term))
    }

    /// The records whose message has `needle`.
    pub fn message(needle: Needle) -> Expr {
        Expr::field(Field::Message, Test::Contains(needle))
    }

    /// The records whose `field` passes `test`.
    pub fn field(field: Field, test: Test) -> Expr {
        Expr::Condition(Condition::Field(field, test))
    }

    /// No records.
    pub fn none() -> Expr {
        Expr::All.negated()
    }

    /// The records that pass every part: all, if there is none.
    pub fn all_of(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::And(inner) => flat.extend(inner),
                Expr::All => {}
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 => Expr::All,
            1 => flat.swap_remove(0),
            _ => Expr::And(flat),
        }
    }

    /// The records that pass any part: none, if there is none.
    pub fn any_of(parts: impl IntoIterator<Item = Expr>) -> Expr {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Expr::Or(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        match flat.len() {
            0 => Expr::none(),
            1 => flat.swap_remove(0),
            _ => Expr::Or(flat),
        }
    }

    /// The records that do not pass.
    #[must_use]
    pub fn negated(self) -> Expr {
        match self {
            Expr::Not(inner) => *inner,
            expr => Expr::Not(Box::new(expr)),
        }
    }

    /// The parts of which every one must be passed.
    pub fn conjuncts(&self) -> &[Expr] {
        match self {
            Expr::All => &[],
            Expr::And(parts) => parts,
            expr => std::slice::from_ref(expr),
        }
    }

    /// The conditions, from left to right.
    pub fn conditions(&self) -> Vec<&Condition> {
        let mut found = Vec::new();
        self.collect_conditions(&mut found);
        found
    }

    fn collect_conditions<'a>(&'a self, found: &mut Vec<&'a Condition>) {
        match self {
            Expr::All => {}
            Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|part| part.collect_conditions(found)),
            Expr::Not(inner) => inner.collect_conditions(found),
            Expr::Condition(condition) => found.push(condition),
        }
    }

    /// The columns that an evaluation looks at.
    pub fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        for condition in self.conditions() {
            match condition {
                Condition::Time(..) => columns.timestamp = true,
                Condition::Id(..) => columns.id = true,
                Condition::Severity(_) => columns.severity = true,
                Condition::Field(Field::Service, _) => columns.service = true,
                Condition::Field(Field::LevelText, _) => columns.level = true,
                Condition::Field(Field::Message, _) => columns.message = true,
                Condition::Field(Field::Attribute(name), _) => drop(columns.attributes.insert(name.clone())),
            }
        }
        columns
    }
}

/// The columns that an evaluation looks at: what a reader of files has to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// `timestamp`
    pub timestamp: bool,
    /// `run` and `sequence`
    pub id: bool,
    /// `severity`
    pub severity: bool,
    /// `level`
    pub level: bool,
    /// `service`
    pub service: bool,
    /// `message`
    pub message: bool,
    /// Those of attributes, by name, and `overflow`, if there is any.
    pub attributes: BTreeSet<String>,
    /// Those of all attributes, and `overflow`.
    pub every_attribute: bool,
}

impl Columns {
    /// What either looks at.
    #[must_use]
    pub fn and(mut self, other: &Columns) -> Columns {
        self.timestamp |= other.timestamp;
        self.id |= other.id;
        self.severity |= other.severity;
        self.level |= other.level;
        self.service |= other.service;
        self.message |= other.message;
        self.attributes.extend(other.attributes.iter().cloned());
        self.every_attribute |= other.every_attribute;
        self
    }

    /// Whether any attribute is among them.
    pub fn has_attributes(&self) -> bool {
        self.every_attribute || !self.attributes.is_empty()
    }
}

impl Needle {
    /// Folded tokens that every text with the needle has.
    pub fn tokens(&self) -> &[String] {
        match self {
            Needle::Term(term) => term.tokens(),
            Needle::Fuzzy(_) | Needle::Pattern(_) => &[],
        }
    }

    /// The folded token that a text has just when it has the needle, if that is all there is to it.
    pub fn one_token(&self) -> Option<&str> {
        match self {
            Needle::Term(term) => term.one_token(),
            Needle::Fuzzy(_) | Needle::Pattern(_) => None,
        }
    }

    /// The folded tokens that a text has one after the other, with one space between them, just when it has the needle.
    pub fn phrase(&self) -> Option<&[String]> {
        match self {
            Needle::Term(term) => term.phrase(),
            Needle::Fuzzy(_) | Needle::Pattern(_) => None,
        }
    }

    /// Folded ASCII letters that every text with the needle has, each of these side by side.
    pub fn letters(&self) -> &[String] {
        match self {
            Needle::Term(term) => term.letters(),
            Needle::Fuzzy(_) => &[],
            Needle::Pattern(pattern) => pattern.letters(),
        }
    }
}
