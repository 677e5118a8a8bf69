//! Conditions: a field, an operator and a value, by what kind of field it is.

use sluice_model::{RecordId, Severity, Timestamp};

use super::{ParseError, Parser};
use crate::query::display::{ATTRIBUTES, COMPARING};
use crate::query::explain::{self, Explanation, shown};
use crate::query::expr::{Comparison, Condition, Expr, Field, Needle, Test};
use crate::query::lexer::{Kind, Lexeme, Operator};
use crate::query::literal::Literal;
use crate::query::{Edge, SeveritySet, TimeRange, parse_time};

/// What a name in a query stands for.
enum Named {
    Time,
    Severity,
    Id,
    Field(Field),
}

impl Named {
    fn of(name: &str) -> Named {
        match name {
            "timestamp" => Named::Time,
            "level" | "severity" => Named::Severity,
            "id" => Named::Id,
            "message" => Named::Field(Field::Message),
            "service" => Named::Field(Field::Service),
            "level_text" => Named::Field(Field::LevelText),
            name => Named::Field(Field::Attribute(name.strip_prefix(ATTRIBUTES).unwrap_or(name).to_owned())),
        }
    }

    /// The records whose field equals `literal`.
    fn equal(&self, literal: Literal) -> Result<Expr, Explanation> {
        self.order(Comparison::Equal, literal)
    }

    /// The records whose field compares so with `literal`.
    fn order(&self, comparison: Comparison, literal: Literal) -> Result<Expr, Explanation> {
        match self {
            Named::Time => time(comparison, literal.text()),
            Named::Severity => severity(comparison, literal.text()),
            Named::Id => {
                let id = literal.text().parse::<RecordId>().map_err(|error| {
                    (format!("not an id: {error}"), "take it as it stands in an answer: 26 characters".to_owned())
                })?;
                Ok(Expr::Condition(Condition::Id(comparison, id)))
            }
            Named::Field(field) if comparison == Comparison::Equal => {
                Ok(Expr::field(field.clone(), Test::OneOf(vec![literal])))
            }
            Named::Field(field) => Ok(Expr::field(field.clone(), Test::Order(comparison, literal))),
        }
    }
}

impl<'a> Parser<'a> {
    /// The condition on the field `name` whose value, or list of values, is what comes next. It starts with `begin`.
    pub(super) fn condition(
        &mut self,
        begin: &Lexeme<'a>,
        name: &str,
        operator: Option<Operator>,
    ) -> Result<Expr, ParseError> {
        if let Some(explained) = explain::explain_name(name) {
            return Err(self.refuse(begin, explained));
        }
        self.count(begin)?;
        let named = Named::of(name);
        match operator {
            None => self.list(begin, name, &named),
            Some(Operator::Has) => self.has(name, &named),
            Some(Operator::Like) => self.like(name, &named),
            Some(Operator::Unlike) => self.like(name, &named).map(Expr::negated),
            Some(Operator::Equal) => self.compare(name, &named, Comparison::Equal, "="),
            Some(Operator::NotEqual) => self.compare(name, &named, Comparison::Equal, "!=").map(Expr::negated),
            Some(Operator::Less) => self.compare(name, &named, Comparison::Less, "<"),
            Some(Operator::LessEqual) => self.compare(name, &named, Comparison::LessEqual, "<="),
            Some(Operator::Greater) => self.compare(name, &named, Comparison::Greater, ">"),
            Some(Operator::GreaterEqual) => self.compare(name, &named, Comparison::GreaterEqual, ">="),
        }
    }

    fn compare(&mut self, name: &str, named: &Named, comparison: Comparison, sign: &str) -> Result<Expr, ParseError> {
        let value = self.value(name, sign)?;
        let literal = self.literal(&value, name, sign)?;
        let expr = named.order(comparison, literal).map_err(|explained| self.refuse(&value, explained))?;
        self.advance();
        Ok(expr)
    }

    /// `name in (a, b, c)`; the bracket is open already.
    fn list(&mut self, begin: &Lexeme<'a>, name: &str, named: &Named) -> Result<Expr, ParseError> {
        let mut literals: Vec<(Lexeme<'a>, Literal)> = Vec::new();
        loop {
            let value = self.value(name, " in (")?;
            let literal = self.literal(&value, name, "=")?;
            if !literals.iter().any(|(_, other)| *other == literal) {
                literals.push((value, literal));
            }
            self.advance();
            match &self.next {
                Some(next) if next.kind == Kind::Comma => self.advance(),
                _ => break,
            }
        }
        if let Some(next) = self.next.as_ref().filter(|next| next.source != ")") {
            let hint = "values stand between commas, and one with spaces in quotes: (a, \"b c\")".to_owned();
            return Err(self.refuse(next, (format!("`{}` is not expected in a list", shown(next.source)), hint)));
        }
        self.close(begin)?;
        if let Named::Field(field) = named {
            let literals = literals.into_iter().map(|(_, literal)| literal).collect();
            return Ok(Expr::field(field.clone(), Test::OneOf(literals)));
        }
        let mut parts = Vec::new();
        for (value, literal) in literals {
            parts.push(named.equal(literal).map_err(|explained| self.refuse(&value, explained))?);
        }
        Ok(merge_severities(parts))
    }

    /// `name:value`, which is the rule of words.
    fn has(&mut self, name: &str, named: &Named) -> Result<Expr, ParseError> {
        let value = self.value(name, ":")?;
        if value.source == "*" && value.kind == Kind::Pattern {
            self.advance();
            return Ok(match named {
                Named::Field(field) if *field != Field::LevelText => Expr::field(field.clone(), Test::Exists),
                _ => Expr::All,
            });
        }
        if value.source.starts_with(COMPARING) {
            let (name, source) = (shown(name), shown(value.source));
            let hint = format!("write {name}{source}, or {name}:\"{source}\"");
            return Err(self.refuse(&value, ("`:` is followed by a word".to_owned(), hint)));
        }
        if let Named::Field(field) = named {
            return Ok(Expr::field(field.clone(), Test::Contains(self.needle(&value)?)));
        }
        if !matches!(value.kind, Kind::Word | Kind::Phrase(_, false)) {
            return Err(self.refuse(&value, only_whole(name)));
        }
        let literal = self.literal(&value, name, "=")?;
        let expr = named.equal(literal).map_err(|explained| self.refuse(&value, explained))?;
        self.advance();
        Ok(expr)
    }

    /// `name=~"expression"`.
    fn like(&mut self, name: &str, named: &Named) -> Result<Expr, ParseError> {
        let value = self.value(name, "=~")?;
        let Named::Field(field) = named else { return Err(self.refuse(&value, only_whole(name))) };
        let source = match &value.kind {
            Kind::Phrase(source, false) => source.clone(),
            _ if value.source.starts_with('/') && value.source.ends_with('/') && value.source.len() > 2 => {
                let (name, source, bare) = (shown(name), shown(value.source), shown(value.source.trim_matches('/')));
                let hint = format!("write {name}=~\"{bare}\", or {name}:{source} in any case");
                return Err(self.refuse(&value, ("behind `=~` the slashes would be looked for too".to_owned(), hint)));
            }
            Kind::Word => value.source.to_owned(),
            _ => {
                let explained = ("`=~` respects the case anyway".to_owned(), "leave the c out".to_owned());
                return Err(self.refuse(&value, explained));
            }
        };
        self.check_length(&value)?;
        let pattern = self.pattern(&value, &source, true)?;
        self.advance();
        Ok(Expr::field(field.clone(), Test::Contains(Needle::Pattern(pattern))))
    }

    /// The piece that comes next, which has to be a value.
    fn value(&self, name: &str, operator: &str) -> Result<Lexeme<'a>, ParseError> {
        let Some(value) = self.next.clone() else {
            return Err(self.refuse_end(&format!("a value after \"{operator}\"")));
        };
        match value.kind {
            Kind::Word | Kind::Phrase(..) | Kind::Regex(..) | Kind::Pattern | Kind::Tilde => Ok(value),
            _ => Err(self.refuse(&value, explain::explain_value(self.query, &value, name, operator))),
        }
    }

    /// The literal that a value is.
    fn literal(&self, value: &Lexeme<'a>, name: &str, sign: &str) -> Result<Literal, ParseError> {
        self.check_length(value)?;
        let (name, source) = (shown(name), shown(value.source));
        let explained = match &value.kind {
            Kind::Phrase(text, false) => return Ok(Literal::new(text, true)),
            Kind::Phrase(..) => (format!("`{sign}` respects the case anyway"), "leave the c out".to_owned()),
            _ if value.source.starts_with(['=', '<', '>', '~']) => {
                let message = format!("`{sign}{source}` is no comparison");
                (message, format!("for the text itself write {name}{sign}\"{source}\""))
            }
            _ if value.source.contains('*') => {
                let message = format!("`{sign}` compares whole values, and a `*` in it stands for itself");
                (message, format!("for parts write {name}:{source}, for the text itself {name}{sign}\"{source}\""))
            }
            _ => return Ok(Literal::new(value.source, false)),
        };
        Err(self.refuse(value, explained))
    }
}

/// One set of severities for conditions on severities alone; what they are otherwise.
fn merge_severities(parts: Vec<Expr>) -> Expr {
    let sets: Option<Vec<SeveritySet>> = parts
        .iter()
        .map(|part| match part {
            Expr::Condition(Condition::Severity(set)) => Some(*set),
            _ => None,
        })
        .collect();
    match sets {
        Some(sets) => severities(sets.into_iter().fold(SeveritySet::NONE, SeveritySet::or)),
        None => Expr::any_of(parts),
    }
}

fn severities(set: SeveritySet) -> Expr {
    if set == SeveritySet::NONE { Expr::none() } else { Expr::Condition(Condition::Severity(set)) }
}

fn severity(comparison: Comparison, text: &str) -> Result<Expr, Explanation> {
    let wanted: Severity = text.parse().map_err(|_| {
        let hint = if text.contains(',') {
            format!("several are written level in ({})", shown(text))
        } else {
            "use trace, debug, info, warn, error or fatal, or one of their aliases; the sender's own text is level_text"
                .to_owned()
        };
        (format!("unknown level `{}`", shown(text)), hint)
    })?;
    let passing = Severity::ALL.into_iter().filter(|severity| comparison.holds(severity.cmp(&wanted)));
    Ok(severities(passing.fold(SeveritySet::NONE, SeveritySet::with)))
}

fn time(comparison: Comparison, text: &str) -> Result<Expr, Explanation> {
    let is_relative = text.starts_with("now") || text.starts_with(['-', '+']) && text.parse::<Timestamp>().is_err();
    if is_relative {
        let text = shown(text);
        let hint = format!("a relative one is the parameter startTime={text} or endTime={text}");
        return Err(("a time in q is absolute, so that it is the same on every page".to_owned(), hint));
    }
    let moment = |edge| {
        parse_time(text, Timestamp::default(), edge).map_err(|error| {
            (format!("`{}`: {error}", shown(text)), "as in timestamp>=2024-10-08T07:15:00Z".to_owned())
        })
    };
    // A date alone is the whole day.
    let day = TimeRange { start: moment(Edge::Start)?, end: moment(Edge::End)? };
    let condition = |comparison, time| Expr::Condition(Condition::Time(comparison, time));
    Ok(match comparison {
        Comparison::Equal if day.start == day.end => condition(comparison, day.start),
        Comparison::Equal => {
            Expr::all_of([condition(Comparison::GreaterEqual, day.start), condition(Comparison::LessEqual, day.end)])
        }
        Comparison::Less | Comparison::GreaterEqual => condition(comparison, day.start),
        Comparison::LessEqual | Comparison::Greater => condition(comparison, day.end),
    })
}

fn only_whole(name: &str) -> Explanation {
    let hint = match name {
        "level" | "severity" => "compare it, as in level>=warn; the sender's own text is level_text",
        "timestamp" => "compare it, as in timestamp>=2024-10-08",
        _ => "compare it, as in id=01J9M2CN0000000000000000G7",
    };
    (format!("`{}` has no words to look for", shown(name)), hint.to_owned())
}
