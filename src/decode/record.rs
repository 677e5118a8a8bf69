//! One record: its members to the builder, the fixed fields by the order of their names.

use sluice_model::{Severity, Timestamp, TimestampReader};

use super::cursor::{Cursor, Value};
use super::fault::SyntaxError;
use super::fields::{Claim, Field};
use super::scalar::{Kind, Scalar, shown};
use super::text::Text;
use super::{ATTRIBUTE_NAME_BYTES_MAX, Options};
use crate::batch::{AttributeRef, LogBatch, LogBatchBuilder};

const ATTRIBUTES: &str = "attributes";
const ID: &str = "id";
const TWICE: &str = "stands twice with different values";
/// How many members of a record are remembered for the next one.
const MEMBERS_MAX: usize = 64;

/// Why a record is bad.
pub enum RecordError {
    /// It is faulty JSON.
    Syntax(SyntaxError),
    /// It is JSON, but not a record that can be kept.
    Refused {
        /// The field at fault.
        field: Option<String>,
        /// What is wrong.
        detail: String,
    },
}

impl From<SyntaxError> for RecordError {
    fn from(error: SyntaxError) -> Self {
        RecordError::Syntax(error)
    }
}

fn refused(field: &str, detail: impl Into<String>) -> RecordError {
    RecordError::Refused { field: Some(field.to_owned()), detail: detail.into() }
}

/// A value under a name that a fixed field may have.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    name: &'a str,
    claim: Claim,
    value: Scalar<'a>,
}

/// What a member of a record is, by its name.
#[derive(Clone, Copy)]
enum Role<'a> {
    /// It may be a fixed field, which has this name.
    Field(&'a str, Claim),
    Id,
    Attribute,
}

/// A member of a record, as one before it had it.
#[derive(Clone, Copy)]
struct Member<'a> {
    /// Its name in quotes and the colon behind it, as sent.
    text: &'a str,
    name: &'a str,
    role: Role<'a>,
}

/// The name of a member of a record.
enum Name<'a> {
    Plain(Member<'a>),
    Escaped(Text<'a>),
}

/// Decodes the records of one body, one after the other, and reuses its buffers for each.
pub struct RecordDecoder<'a> {
    options: &'a Options,
    builder: LogBatchBuilder,
    times: TimestampReader,
    /// The members of the records before, by their place: those of one program are the same in most records.
    members: Vec<Member<'a>>,
    /// The best candidate for each field so far, by the place in [`Field::ALL`].
    chosen: [Option<Candidate<'a>>; Field::ALL.len()],
    /// Candidates that mean "absent".
    empty: Vec<Candidate<'a>>,
    id: Option<Scalar<'a>>,
    has_attributes_object: bool,
    /// The path of the object in hand, with a dot behind each name.
    path: String,
    name: String,
    scratch: String,
    texts: [String; 3],
}

impl<'a> RecordDecoder<'a> {
    /// Starts a batch.
    pub fn new(options: &'a Options) -> RecordDecoder<'a> {
        RecordDecoder {
            options,
            builder: LogBatchBuilder::new(),
            times: TimestampReader::default(),
            members: Vec::new(),
            chosen: [None; Field::ALL.len()],
            empty: Vec::new(),
            id: None,
            has_attributes_object: false,
            path: String::new(),
            name: String::new(),
            scratch: String::new(),
            texts: Default::default(),
        }
    }

    /// Reads the record at the cursor; of a bad one nothing is kept, and the cursor is anywhere within it.
    pub fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), RecordError> {
        let outcome = self.try_read(cursor);
        if outcome.is_err() {
            self.builder.rollback();
        }
        outcome
    }

    /// Makes the batch of all good records.
    pub fn finish(self) -> LogBatch {
        self.builder.finish()
    }

    fn try_read(&mut self, cursor: &mut Cursor<'a>) -> Result<(), RecordError> {
        self.chosen = [None; Field::ALL.len()];
        self.empty.clear();
        self.id = None;
        self.has_attributes_object = false;
        self.path.clear();
        let start = cursor.position();
        if let Value::Scalar(other) = cursor.value(0)? {
            let detail = format!("a record is a JSON object, not {}", other.kind_name());
            return Err(RecordError::Refused { field: None, detail });
        }
        if !cursor.take(b'}') {
            self.record(cursor)?;
        }
        let limit = self.options.limits.record_bytes;
        let length = cursor.position() - start;
        if length > limit {
            let detail = format!("the record has {length} bytes; {limit} are allowed (limits.record_bytes)");
            return Err(RecordError::Refused { field: None, detail });
        }
        self.commit()
    }

    /// Reads the members of a record that has some, up to its end.
    fn record(&mut self, cursor: &mut Cursor<'a>) -> Result<(), RecordError> {
        const DEPTH: usize = 1;
        for nth in 0.. {
            cursor.peek();
            let known = self.members.get(nth).copied().filter(|known| cursor.take_text(known.text));
            let name = match known {
                Some(known) => Name::Plain(known),
                None => self.new_name(cursor, nth)?,
            };
            match (name, cursor.value(DEPTH)?) {
                (Name::Plain(member), Value::Scalar(value)) => self.scalar(member.name, member.role, value)?,
                (Name::Plain(member), Value::Object) => self.object(cursor, Text::Plain(member.name), DEPTH, false)?,
                (Name::Escaped(name), Value::Scalar(value)) => self.named_scalar(name, value, false)?,
                (Name::Escaped(name), Value::Object) => self.object(cursor, name, DEPTH, false)?,
            }
            if !cursor.another_member()? {
                break;
            }
        }
        Ok(())
    }

    /// Reads the name of a record's `nth` member, and remembers it, if it has no escapes.
    #[inline(never)]
    fn new_name(&mut self, cursor: &mut Cursor<'a>, nth: usize) -> Result<Name<'a>, SyntaxError> {
        let start = cursor.position();
        let name = match cursor.name()? {
            Text::Plain(name) => name,
            escaped => return Ok(Name::Escaped(escaped)),
        };
        let member = Member { text: cursor.since(start), name, role: self.role(name) };
        match self.members.get_mut(nth) {
            Some(before) => *before = member,
            None if nth < MEMBERS_MAX => self.members.push(member),
            None => {}
        }
        Ok(Name::Plain(member))
    }

    /// Reads the members of an object that has some, up to its end.
    fn members(&mut self, cursor: &mut Cursor<'a>, depth: usize, in_attributes: bool) -> Result<(), RecordError> {
        loop {
            let name = cursor.name()?;
            match cursor.value(depth)? {
                Value::Scalar(value) => self.named_scalar(name, value, in_attributes)?,
                Value::Object => self.object(cursor, name, depth, in_attributes)?,
            }
            if !cursor.another_member()? {
                return Ok(());
            }
        }
    }

    /// Reads an object from behind its `{`.
    fn object(
        &mut self,
        cursor: &mut Cursor<'a>,
        name: Text<'a>,
        depth: usize,
        in_attributes: bool,
    ) -> Result<(), RecordError> {
        let empty = cursor.take(b'}');
        let top_level = self.path.is_empty() && !in_attributes;
        if top_level && name.resolve(&mut self.scratch) == ATTRIBUTES {
            self.has_attributes_object = true;
            // It is no level of its own: what is within would be refused when an answer is sent back, else.
            return if empty { Ok(()) } else { self.members(cursor, depth, true) };
        }
        if empty {
            return self.named(name, |this, name| this.attribute(name, AttributeRef::Json("{}")));
        }
        let length = self.path.len();
        self.path.push_str(name.resolve(&mut self.scratch));
        if self.path.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return Err(name_too_long(&self.path));
        }
        self.path.push('.');
        self.members(cursor, depth + 1, in_attributes)?;
        self.path.truncate(length);
        Ok(())
    }

    /// Calls `with` with the whole path of the member `name` of the object in hand.
    #[inline]
    fn named(
        &mut self,
        name: Text<'a>,
        with: impl FnOnce(&mut Self, &str) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if let (Text::Plain(name), true) = (name, self.path.is_empty()) {
            return with(self, name);
        }
        let mut path = std::mem::take(&mut self.name);
        path.clear();
        path.push_str(&self.path);
        path.push_str(name.resolve(&mut self.scratch));
        let outcome = with(self, &path);
        self.name = path;
        outcome
    }

    fn named_scalar(&mut self, name: Text<'a>, value: Scalar<'a>, in_attributes: bool) -> Result<(), RecordError> {
        self.named(name, |this, name| {
            let role = if in_attributes { Role::Attribute } else { this.role(name) };
            this.scalar(name, role, value)
        })
    }

    /// What the member at a path is, if it stands in no `attributes`.
    fn role(&self, name: &str) -> Role<'a> {
        match self.options.fields.find(name) {
            Some((name, claim)) => Role::Field(name, claim),
            None if name == ID => Role::Id,
            None => Role::Attribute,
        }
    }

    #[inline]
    fn scalar(&mut self, name: &str, role: Role<'a>, value: Scalar<'a>) -> Result<(), RecordError> {
        match role {
            Role::Field(name, claim) => self.candidate(Candidate { name, claim, value }),
            Role::Id => match self.id.replace(value) {
                Some(first) if first != value => Err(refused(ID, TWICE)),
                _ => Ok(()),
            },
            Role::Attribute => self.scalar_attribute(name, value),
        }
    }

    /// Keeps the best name of a field; a worse one is an attribute.
    #[inline]
    fn candidate(&mut self, new: Candidate<'a>) -> Result<(), RecordError> {
        if let Some(chosen @ None) = self.chosen.get_mut(new.claim.field as usize)
            && self.empty.is_empty()
            && !new.means_absent()
        {
            *chosen = Some(new);
            return Ok(());
        }
        self.rival(new)
    }

    /// Decides about a candidate that is not the only one, or means "absent".
    #[inline(never)]
    fn rival(&mut self, new: Candidate<'a>) -> Result<(), RecordError> {
        // Each name stands in the list once, or a record that repeats one would take time by its square.
        if let Some(old) = self.empty.iter().find(|old| old.claim == new.claim) {
            return if old.value == new.value { Ok(()) } else { Err(refused(new.name, TWICE)) };
        }
        let Some(chosen) = self.chosen.get_mut(new.claim.field as usize) else { return Ok(()) };
        let worse = match *chosen {
            Some(old) if old.claim == new.claim => {
                return if old.value == new.value { Ok(()) } else { Err(refused(new.name, TWICE)) };
            }
            _ if new.means_absent() => {
                self.empty.push(new);
                return Ok(());
            }
            Some(old) if old.claim.rank < new.claim.rank => Some(new),
            _ => chosen.replace(new),
        };
        worse.map_or(Ok(()), |worse| self.scalar_attribute(worse.name, worse.value))
    }

    fn scalar_attribute(&mut self, name: &str, value: Scalar<'a>) -> Result<(), RecordError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = self.attribute(name, value.attribute(&mut scratch));
        self.scratch = scratch;
        outcome
    }

    fn attribute(&mut self, name: &str, value: AttributeRef<'_>) -> Result<(), RecordError> {
        if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
            return Err(name_too_long(name));
        }
        self.builder.attribute(name, value).map_err(|error| refused(name, error.to_string()))?;
        let limits = &self.options.limits;
        if self.builder.pending_attributes() > limits.record_attributes {
            let limit = limits.record_attributes;
            return Err(refused(
                name,
                format!("more than {limit} attributes in one record (limits.record_attributes)"),
            ));
        }
        if self.builder.attribute_names() > limits.batch_attribute_names {
            let limit = limits.batch_attribute_names;
            let detail = format!("more than {limit} attribute names in one batch (limits.batch_attribute_names)");
            return Err(refused(name, detail));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), RecordError> {
        self.settle_leftovers()?;
        if self.chosen.iter().all(Option::is_none) && self.builder.pending_attributes() == 0 {
            let detail = "neither a message nor any other field".to_owned();
            return Err(RecordError::Refused { field: None, detail });
        }
        let [timestamp, level, service, message] = self.chosen;
        let timestamp = match timestamp {
            Some(timestamp) => timestamp.timestamp(&mut self.times)?,
            None => self.options.arrival,
        };
        let [level_text, service_text, message_text] = &mut self.texts;
        let level = level.map(|level| (level.name, level.value.as_text(level_text)));
        let (severity, level) = match level {
            Some((name, level)) => (self.options.severity(name, level)?, level),
            None => (Severity::Info, Severity::Info.name()),
        };
        let service = service.map_or("", |service| service.value.as_text(service_text));
        let message = message.map_or("", |message| message.value.as_text(message_text));
        self.builder.commit(timestamp, severity, level, service, message);
        Ok(())
    }

    /// Decides about what could not be placed before the record's end: the id, and names that were empty.
    fn settle_leftovers(&mut self) -> Result<(), RecordError> {
        if let Some(id) = self.id.take()
            && !(self.has_attributes_object && id.is_our_id())
        {
            self.scalar_attribute(ID, id)?;
        }
        while let Some(empty) = self.empty.pop() {
            let chosen = self.chosen.iter().flatten().find(|chosen| chosen.claim.field == empty.claim.field);
            if chosen.is_some_and(|chosen| chosen.claim.rank < empty.claim.rank) {
                self.scalar_attribute(empty.name, empty.value)?;
            }
        }
        Ok(())
    }
}

impl Options {
    fn severity(&self, name: &str, level: &str) -> Result<Severity, RecordError> {
        let known = Severity::from_name(level).or(self.limits.unknown_level);
        known.ok_or_else(|| {
            let level = shown(level);
            refused(name, format!("unknown level {level:?}: use TRACE, DEBUG, INFO, WARN, ERROR or FATAL"))
        })
    }
}

fn name_too_long(name: &str) -> RecordError {
    refused(&shown(name), format!("a name of more than {ATTRIBUTE_NAME_BYTES_MAX} bytes"))
}

impl Candidate<'_> {
    /// Whether the value says that there is none.
    fn means_absent(&self) -> bool {
        match self.value.kind {
            Kind::Null => true,
            Kind::Plain => self.value.text.is_empty() && self.claim.field != Field::Message,
            _ => false,
        }
    }

    fn timestamp(self, reader: &mut TimestampReader) -> Result<Timestamp, RecordError> {
        match self.value.timestamp(reader) {
            Some(parsed) => parsed.map_err(|error| refused(self.name, error.to_string())),
            None => Err(refused(self.name, format!("a time is a string or a number, not {}", self.value.kind_name()))),
        }
    }
}
