//! The parser of query texts: from the pieces of the lexer to a tree. The grammar stands in [`super`].

mod condition;

use super::Term;
use super::explain::{self, Explanation};
use super::expr::{Expr, Needle};
use super::fuzzy::{self, Fuzzy};
use super::lexer::{self, Kind, Lexeme, Lexer, Operator};
use super::pattern::Pattern;
use super::term::Edges;

/// How long a query text may be, in bytes.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// How many terms and conditions it may have.
pub const TERMS_MAX: usize = 64;
/// How long each may be, in bytes.
pub const TERM_BYTES_MAX: usize = 1 << 10;
/// How many of them may be regular expressions.
pub const REGEXES_MAX: usize = 16;
/// How deep brackets and NOTs may be nested.
pub const DEPTH_MAX: usize = 32;

/// Why a query text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; {hint}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// Reads a query text. One of white space asks for everything.
///
/// # Errors
/// [`ParseError`], at the first piece that is out of place, or at a limit.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(ParseError {
            column: 1,
            message: format!("the query has {} bytes", query.len()),
            hint: format!("at most {QUERY_BYTES_MAX} are allowed"),
        });
    }
    let mut lexer = Lexer::new(query);
    let next = lexer.next();
    let mut parser = Parser { query, lexer, next, depth: 0, terms: 0, regexes: 0 };
    if parser.next.is_none() {
        return Ok(Expr::All);
    }
    let expr = parser.any()?;
    match &parser.next {
        None => Ok(expr),
        Some(lexeme) => Err(parser.refuse(lexeme, explain::explain(query, lexeme))),
    }
}

/// Goes through the pieces, with one of them in sight.
struct Parser<'a> {
    query: &'a str,
    lexer: Lexer<'a>,
    next: Option<Lexeme<'a>>,
    depth: usize,
    terms: usize,
    regexes: usize,
}

impl<'a> Parser<'a> {
    /// Parts of which one must be passed.
    fn any(&mut self) -> Result<Expr, ParseError> {
        let mut parts = vec![self.all()?];
        while let Some(or) = self.next.clone().filter(|next| next.kind == Kind::Or) {
            if let Some(explained) = explain::explain_habit(self.query, &or) {
                return Err(self.refuse(&or, explained));
            }
            self.advance();
            self.require_term(&or)?;
            parts.push(self.all()?);
        }
        Ok(Expr::any_of(parts))
    }

    /// Parts of which all must be passed.
    fn all(&mut self) -> Result<Expr, ParseError> {
        let mut parts = vec![self.part()?];
        while let Some(next) = self.next.clone() {
            match next.kind {
                Kind::Or => break,
                Kind::Bracket if next.source == ")" => break,
                Kind::And => {
                    self.advance();
                    self.require_term(&next)?;
                }
                _ => {}
            }
            parts.push(self.part()?);
        }
        Ok(Expr::all_of(parts))
    }

    fn part(&mut self) -> Result<Expr, ParseError> {
        let Some(lexeme) = self.next.clone() else { return Err(self.refuse_end("a term")) };
        match &lexeme.kind {
            Kind::Not => {
                self.advance();
                self.require_term(&lexeme)?;
                self.nested(&lexeme, |parser| parser.part()).map(Expr::negated)
            }
            Kind::Bracket if lexeme.source == "(" => {
                self.advance();
                let inner = self.nested(&lexeme, Parser::any)?;
                self.close(&lexeme)?;
                Ok(inner)
            }
            Kind::Comparison(Some(name), operator) => {
                let name = name.clone();
                let operator = *operator;
                self.advance();
                self.condition(&lexeme, &name, Some(operator))
            }
            Kind::Word | Kind::Phrase(..) => match self.field_before_operator(&lexeme) {
                Some((name, operator)) => self.condition(&lexeme, &name, operator),
                None => self.needle(&lexeme).map(Expr::message),
            },
            Kind::Pattern if lexeme.source == "*" => {
                self.count(&lexeme)?;
                self.advance();
                Ok(Expr::All)
            }
            Kind::Pattern | Kind::Tilde | Kind::Regex(..) => self.needle(&lexeme).map(Expr::message),
            _ => Err(self.refuse(&lexeme, explain::explain(self.query, &lexeme))),
        }
    }

    /// The field that `lexeme` names, where an operator follows it between spaces; the operator is passed then, and
    /// for a list, which has none, the opening bracket.
    fn field_before_operator(&mut self, lexeme: &Lexeme<'a>) -> Option<(String, Option<Operator>)> {
        let name = match &lexeme.kind {
            Kind::Phrase(name, false) => name.clone(),
            Kind::Word if lexer::is_name(lexeme.source) => lexeme.source.to_owned(),
            _ => return None,
        };
        let mut ahead = self.lexer.clone();
        let second = ahead.next()?;
        match second.kind {
            Kind::Comparison(None, operator) => {
                let end = second.start + second.source.len();
                let spaced = self.query.get(end..)?.chars().next().is_none_or(char::is_whitespace);
                if !spaced || second.start == lexeme.start + lexeme.source.len() {
                    return None;
                }
                self.lexer = ahead;
                self.advance();
                Some((name, Some(operator)))
            }
            Kind::Word if second.source == "in" => {
                ahead.next().filter(|third| third.source == "(")?;
                ahead.in_list = true;
                self.lexer = ahead;
                self.advance();
                Some((name, None))
            }
            _ => None,
        }
    }

    /// What a text must contain.
    fn needle(&mut self, lexeme: &Lexeme<'a>) -> Result<Needle, ParseError> {
        self.count(lexeme)?;
        let quoted = |text: &str| explain::instead_of(text);
        let needle = match &lexeme.kind {
            Kind::Word => Needle::Term(Term::new(lexeme.source)),
            Kind::Phrase(text, _) if text.is_empty() => {
                let explained = ("nothing is quoted".to_owned(), "leave the quotes out".to_owned());
                return Err(self.refuse(lexeme, explained));
            }
            Kind::Phrase(text, true) => Needle::Term(Term::in_exact_case(text)),
            Kind::Phrase(text, false) => Needle::Term(Term::new(text)),
            Kind::Pattern => Needle::Term(part(lexeme.source).map_err(|message| {
                let hint = format!("for more write an expression, /a.*b/; {}", quoted(lexeme.source));
                self.refuse(lexeme, (message, hint))
            })?),
            Kind::Tilde => Needle::Fuzzy(fuzzy(lexeme.source).ok_or_else(|| {
                let (chars, slips) = (fuzzy::CHARS_MAX, fuzzy::SLIPS_MAX);
                let message = format!(
                    "`~` stands behind one word of at most {chars} characters, and behind it 1 to {slips} slips"
                );
                self.refuse(lexeme, (message, format!("as in timeout~ or timeout~2; {}", quoted(lexeme.source))))
            })?),
            Kind::Regex(source, exact_case) => Needle::Pattern(self.pattern(lexeme, source, *exact_case)?),
            _ => return Err(self.refuse(lexeme, explain::explain(self.query, lexeme))),
        };
        if let Needle::Term(term) = &needle
            && !term.has_token()
            && !matches!(lexeme.kind, Kind::Phrase(..))
        {
            let message = format!("`{}` has no letter or digit", explain::shown(lexeme.source));
            return Err(self.refuse(lexeme, (message, explain::instead(self.query, lexeme))));
        }
        self.advance();
        Ok(needle)
    }

    fn pattern(&mut self, lexeme: &Lexeme<'a>, source: &str, exact_case: bool) -> Result<Pattern, ParseError> {
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            let explained = ("there are too many expressions", format!("at most {REGEXES_MAX} are allowed"));
            return Err(self.refuse(lexeme, (explained.0.to_owned(), explained.1)));
        }
        Pattern::new(source, exact_case).map_err(|error| {
            let message = format!("`{}` is no regular expression: {error}", explain::shown(lexeme.source));
            self.refuse(lexeme, (message, explain::instead(self.query, lexeme)))
        })
    }

    /// Counts a term, and checks its length.
    fn count(&mut self, lexeme: &Lexeme<'a>) -> Result<(), ParseError> {
        self.check_length(lexeme)?;
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let explained = ("there are too many terms".to_owned(), format!("at most {TERMS_MAX} are allowed"));
            return Err(self.refuse(lexeme, explained));
        }
        Ok(())
    }

    fn check_length(&self, lexeme: &Lexeme<'a>) -> Result<(), ParseError> {
        if lexeme.source.len() <= TERM_BYTES_MAX {
            return Ok(());
        }
        let message = format!("the term has {} bytes", lexeme.source.len());
        Err(self.refuse(lexeme, (message, format!("at most {TERM_BYTES_MAX} are allowed"))))
    }

    fn nested<T>(
        &mut self,
        lexeme: &Lexeme<'a>,
        inner: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let explained = ("it is nested too deep".to_owned(), format!("at most {DEPTH_MAX} levels are allowed"));
            return Err(self.refuse(lexeme, explained));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Passes the bracket that closes the one that `open` is.
    fn close(&mut self, open: &Lexeme<'a>) -> Result<(), ParseError> {
        match &self.next {
            Some(next) if next.source == ")" => {
                self.lexer.in_list = false;
                self.advance();
                Ok(())
            }
            Some(next) => Err(self.refuse(next, explain::explain(self.query, next))),
            None => {
                let hint = format!("end it with ), or {}", explain::instead(self.query, open));
                Err(self.refuse(open, ("the bracket is not closed".to_owned(), hint)))
            }
        }
    }

    /// Refuses an operator that nothing follows.
    fn require_term(&self, operator: &Lexeme<'a>) -> Result<(), ParseError> {
        match &self.next {
            None => Err(self.refuse_end(&format!("a term after `{}`", operator.source))),
            Some(next) if matches!(next.kind, Kind::And | Kind::Or) || next.source == ")" => {
                Err(self.refuse(next, explain::explain(self.query, next)))
            }
            Some(_) => Ok(()),
        }
    }

    fn advance(&mut self) {
        self.next = self.lexer.next();
    }

    fn refuse(&self, lexeme: &Lexeme<'_>, explained: Explanation) -> ParseError {
        self.refuse_at(lexeme.start, explained)
    }

    fn refuse_end(&self, expected: &str) -> ParseError {
        let hint = "write it, or put the operator into quotes".to_owned();
        self.refuse_at(self.query.len(), (format!("expected {expected}"), hint))
    }

    fn refuse_at(&self, at: usize, (message, hint): Explanation) -> ParseError {
        // In characters from 1.
        let column = self.query.get(..at).unwrap_or_default().chars().count() + 1;
        ParseError { column, message, hint }
    }
}

/// The part of words that a bare term with a `*` at its start, its end or both stands for.
fn part(source: &str) -> Result<Term, String> {
    let (open_start, rest) = source.strip_prefix('*').map_or((false, source), |rest| (true, rest));
    let (open_end, text) = rest.strip_suffix('*').map_or((false, rest), |rest| (true, rest));
    if text.contains('*') || text.is_empty() {
        return Err("`*` stands at the start or the end of a word".to_owned());
    }
    Ok(Term::with_edges(text, Edges { open_start, open_end }))
}

/// The fuzzy word that a bare term such as `timeout~` or `timeout~2` stands for.
fn fuzzy(source: &str) -> Option<Fuzzy> {
    let (word, slips) = source.split_once('~')?;
    let slips = if slips.is_empty() { 1 } else { slips.parse().ok().filter(|_| slips.len() == 1)? };
    Fuzzy::new(word, slips)
}

#[cfg(test)]
mod tests;
