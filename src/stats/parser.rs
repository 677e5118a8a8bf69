//! Reads what is asked from the texts of parameters: `count,p95(duration_ms)` and `service,"an odd name"`.

use super::aggregation::{AGGREGATES_MAX, Aggregate, FIELDS_MAX, Function, GroupField, Named};

/// How long a list may be.
const LIST_BYTES_MAX: usize = 8 << 10;

/// What cannot be read, where it begins, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}")]
pub struct ParseError {
    /// The place in the text, in characters from 1.
    pub column: usize,
    /// What is wrong, and what is right.
    pub what: String,
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("count_distinct", Function::CountDistinct),
    ("sum", Function::Sum),
    ("avg", Function::Average),
    ("min", Function::Min),
    ("max", Function::Max),
];

/// What other tools call them.
const ALIASES: &[(&str, &str)] = &[
    ("mean", "avg"),
    ("average", "avg"),
    ("median", "p50"),
    ("cardinality", "count_distinct"),
    ("distinct", "count_distinct"),
    ("count_uniq", "count_distinct"),
    ("uniq", "count_distinct"),
    ("dc", "count_distinct"),
    ("total", "sum"),
];

const USAGE: &str = "use count, count_distinct(field), sum(field), avg(field), min(field), max(field), or a percentile such as p95(field) or p99.9(field)";

/// Reads a list of aggregates.
///
/// # Errors
/// [`ParseError`].
pub fn parse_aggregates(text: &str) -> Result<Vec<Named<Aggregate>>, ParseError> {
    let mut reader = Reader::new(text)?;
    let mut aggregates: Vec<Named<Aggregate>> = Vec::new();
    loop {
        reader.skip_spaces();
        let begin = reader.place;
        let meaning = reader.aggregate()?;
        let name = reader.since(begin).trim().to_owned();
        if aggregates.iter().any(|other| other.name == name) {
            return Err(reader.error(begin, format!("{name} is named twice")));
        }
        aggregates.push(Named { name, meaning });
        if aggregates.len() > AGGREGATES_MAX {
            return Err(reader.error(begin, format!("more than {AGGREGATES_MAX} aggregates (a fixed limit)")));
        }
        if !reader.next_item()? {
            return Ok(aggregates);
        }
    }
}

/// Reads a list of fields.
///
/// # Errors
/// [`ParseError`].
pub fn parse_fields(text: &str) -> Result<Vec<Named<GroupField>>, ParseError> {
    let mut reader = Reader::new(text)?;
    let mut fields: Vec<Named<GroupField>> = Vec::new();
    loop {
        reader.skip_spaces();
        let begin = reader.place;
        let name = reader.name(&[','])?;
        let meaning = GroupField::named(&name);
        if fields.iter().any(|other| other.meaning == meaning) {
            return Err(reader.error(begin, format!("{name} is named twice")));
        }
        fields.push(Named { name, meaning });
        if fields.len() > FIELDS_MAX {
            return Err(reader.error(begin, format!("more than {FIELDS_MAX} fields to group by (a fixed limit)")));
        }
        if !reader.next_item()? {
            return Ok(fields);
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Reader<'a>, ParseError> {
        let reader = Reader { text, place: 0 };
        if text.len() > LIST_BYTES_MAX {
            return Err(reader.error(0, format!("the list is longer than {LIST_BYTES_MAX} bytes (a fixed limit)")));
        }
        Ok(reader)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.place..).unwrap_or_default()
    }

    fn since(&self, begin: usize) -> &'a str {
        self.text.get(begin..self.place).unwrap_or_default()
    }

    fn error(&self, place: usize, what: impl Into<String>) -> ParseError {
        let column = self.text.get(..place).unwrap_or_default().chars().count() + 1;
        ParseError { column, what: what.into() }
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.place += rest.len() - rest.trim_start().len();
    }

    /// Takes the comma before another item; `false` at the end.
    fn next_item(&mut self) -> Result<bool, ParseError> {
        self.skip_spaces();
        match self.rest().chars().next() {
            None => Ok(false),
            Some(',') => {
                self.place += 1;
                Ok(true)
            }
            Some(other) => Err(self.error(self.place, format!("expected a comma, not `{other}`"))),
        }
    }

    fn aggregate(&mut self) -> Result<Aggregate, ParseError> {
        let begin = self.place;
        let rest = self.rest();
        let end = rest.find([',', '(', ')']).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().trim();
        self.place += end;
        let has_field = self.rest().starts_with('(');
        if name == "count" {
            return if has_field {
                let what = "count takes no field; how many records have one is asked with q=field:*, how many \
                            different values there are with count_distinct(field)";
                Err(self.error(self.place, what))
            } else {
                Ok(Aggregate::Count)
            };
        }
        let function = self.function(begin, name)?;
        if !has_field {
            return Err(self.error(self.place, format!("{name} takes a field: {name}(duration_ms)")));
        }
        self.place += 1;
        self.skip_spaces();
        let inner = self.place;
        let field = GroupField::named(&self.name(&[')'])?);
        self.skip_spaces();
        if !self.rest().starts_with(')') {
            return Err(self.error(self.place, "expected `)` behind the field"));
        }
        self.place += 1;
        check(function, &field).map_err(|what| self.error(inner, what))?;
        Ok(Aggregate::Of(function, field))
    }

    fn function(&self, begin: usize, name: &str) -> Result<Function, ParseError> {
        if let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) {
            return Ok(*function);
        }
        let digits = name.strip_prefix('p').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(percent) = digits {
            let plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && percent.len() <= 16;
            let share = percent.parse::<f64>().ok().filter(|share| plain && (0.0..=100.0).contains(share));
            let share = share.map(|share| Function::Quantile(share / 100.0));
            return share
                .ok_or_else(|| self.error(begin, format!("`{name}`: a percentile is p0 to p100, such as p99.9")));
        }
        let lower = name.to_lowercase();
        let known = FUNCTIONS.iter().map(|(known, _)| *known).chain(["count"]);
        let alias = ALIASES.iter().find(|(other, _)| *other == lower).map(|(_, known)| *known);
        let like = |known: &str| strsim::jaro_winkler(&lower, known);
        let nearest = known.max_by(|a, b| like(a).total_cmp(&like(b))).filter(|known| like(known) >= 0.75);
        Err(self.error(
            begin,
            match alias.or(nearest) {
                _ if name.is_empty() => format!("expected an aggregate: {USAGE}"),
                Some(known) => format!("unknown aggregate `{name}`: did you mean {known}?"),
                None => format!("unknown aggregate `{name}`: {USAGE}"),
            },
        ))
    }

    /// A name up to one of `ends`, or in quotes, where `\"` and `\\` are the escapes.
    fn name(&mut self, ends: &[char]) -> Result<String, ParseError> {
        let begin = self.place;
        let rest = self.rest();
        if !rest.starts_with('"') {
            let end = rest.find(ends).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default().trim_end();
            self.place += end;
            if name.is_empty() || name.contains('"') {
                let what = "expected the name of a field; an odd one stands in quotes: \"a,b\"";
                return Err(self.error(begin, what));
            }
            return Ok(name.to_owned());
        }
        let mut name = String::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.place += at + 1;
                    return Ok(name);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => name.push(escaped),
                    _ => return Err(self.error(begin + at, "in quotes only \\\" and \\\\ are escapes")),
                },
                c => name.push(c),
            }
        }
        Err(self.error(begin, "the quote is not closed"))
    }
}

/// Whether the field has values that the function takes.
fn check(function: Function, field: &GroupField) -> Result<(), String> {
    let is_extreme = matches!(function, Function::Min | Function::Max);
    match field {
        _ if function == Function::CountDistinct => Ok(()),
        GroupField::Attribute(_) => Ok(()),
        GroupField::Timestamp if is_extreme => Ok(()),
        GroupField::Timestamp => Err("of times there are only min, max and count_distinct".to_owned()),
        GroupField::Severity => Err("levels are no numbers: use count_distinct, or group by them".to_owned()),
        _ => Err("its values are texts: use count_distinct, or group by it; an attribute of that name is \
                  attributes.NAME"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn aggregates_are_read_and_keep_their_names() {
        let of = |function, name: &str| Aggregate::Of(function, GroupField::Attribute(name.to_owned()));
        let text = "count, count_distinct(user.id),p99.9(duration_ms) ,max(timestamp),avg(\"a)\\\",b\"),sum( attributes.level ),p0(x)";
        let read = parse_aggregates(text).unwrap();
        let names: Vec<&str> = read.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "count",
                "count_distinct(user.id)",
                "p99.9(duration_ms)",
                "max(timestamp)",
                "avg(\"a)\\\",b\")",
                "sum( attributes.level )",
                "p0(x)"
            ]
        );
        let expected = [
            Aggregate::Count,
            of(Function::CountDistinct, "user.id"),
            of(Function::Quantile(99.9 / 100.0), "duration_ms"),
            Aggregate::Of(Function::Max, GroupField::Timestamp),
            of(Function::Average, "a)\",b"),
            of(Function::Sum, "level"),
            of(Function::Quantile(0.0), "x"),
        ];
        assert_eq!(read.into_iter().map(|named| named.meaning).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn fields_are_read() {
        let read = parse_fields("service,severity, http.status,\"odd, name\",attributes.service,level_text").unwrap();
        let meanings: Vec<GroupField> = read.iter().map(|named| named.meaning.clone()).collect();
        let attribute = |name: &str| GroupField::Attribute(name.to_owned());
        assert_eq!(
            meanings,
            [
                GroupField::Service,
                GroupField::Severity,
                attribute("http.status"),
                attribute("odd, name"),
                attribute("service"),
                GroupField::LevelText
            ]
        );
        assert_eq!(read[3].name, "odd, name");
        assert_eq!(read[4].name, "attributes.service");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place_and_the_cure() {
        for (text, column, what) in [
            ("", 1, "expected an aggregate: use count,"),
            ("count,", 7, "expected an aggregate"),
            ("count,avgg(x)", 7, "unknown aggregate `avgg`: did you mean avg?"),
            ("mean(x)", 1, "did you mean avg?"),
            ("median(x)", 1, "did you mean p50?"),
            ("COUNT", 1, "did you mean count?"),
            ("zzz(x)", 1, "unknown aggregate `zzz`: use count,"),
            ("count(*)", 6, "count takes no field"),
            ("avg", 4, "avg takes a field: avg(duration_ms)"),
            ("avg()", 5, "expected the name of a field"),
            ("avg(x", 6, "expected `)`"),
            ("avg(\"x)", 5, "the quote is not closed"),
            ("avg(\"x\\n\")", 7, "escapes"),
            ("avg(x) sum(y)", 8, "expected a comma, not `s`"),
            ("p101(x)", 1, "p0 to p100"),
            ("p1e1(x)", 1, "p0 to p100"),
            ("größe,count", 1, "unknown aggregate"),
            ("count,count", 7, "named twice"),
            ("sum(service)", 5, "its values are texts"),
            ("avg(level)", 5, "levels are no numbers"),
            ("p50(timestamp)", 5, "only min, max and count_distinct"),
        ] {
            let error = parse_aggregates(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.what.contains(what), "{text}: {error}");
        }
        for (text, column, what) in [
            ("", 1, "expected the name of a field"),
            ("a,,b", 3, "expected the name of a field"),
            ("level,severity", 7, "named twice"),
            ("a\"b", 1, "in quotes"),
            ("a,b,c,d,e,f,g,h,i", 17, "more than 8 fields"),
        ] {
            let error = parse_fields(text).expect_err(text);
            assert_eq!((error.column, error.what.contains(what)), (column, true), "{text}: {error}");
        }
        let many: Vec<String> = (0..40).map(|n| format!("sum(a{n})")).collect();
        assert!(parse_aggregates(&many.join(",")).unwrap_err().what.contains("more than 32 aggregates"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-zé(),\"\\\\. 0-9]{0,40}", any: String) {
            let _ = (parse_aggregates(&text), parse_fields(&text), parse_aggregates(&any), parse_fields(&any));
        }
    }
}
