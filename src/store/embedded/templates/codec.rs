//! Templates on disk.
//!
//! # Specification
//!
//! Compressed with zstd, all numbers of 32 bits, little-endian: how many words, templates, places and runs there are; the
//! ends of the words; the ends of the templates; their letters; the places, of which the last two bits say how the word
//! follows the one before; the template of each run; its rows; and then the text of the words, in UTF-8.

use std::io::Read;

use super::words::Letters;
use super::{Follows, Templates};
use crate::store::embedded::reader::ReadError;

/// How many bytes templates have at most, before they are compressed.
const BYTES_MAX: u64 = 64 << 20;

/// The bytes of a number.
const NUMBER: usize = 4;

impl Templates {
    /// The bytes on disk.
    pub(in crate::store::embedded) fn encode(&self) -> Result<Vec<u8>, std::io::Error> {
        let Templates { text, word_ends, places, template_ends, letters, runs } = self;
        let counts = [word_ends.len(), template_ends.len(), places.len(), runs.len()];
        // What is counted is of one row group, whose rows are counted by u32.
        let numbers = counts.into_iter().map(|count| count as u32);
        let numbers = numbers.chain(word_ends.iter().chain(template_ends).copied());
        let numbers = numbers.chain(letters.iter().map(|letters| letters.0)).chain(places.iter().copied());
        let numbers = numbers.chain(runs.iter().map(|(template, _)| *template));
        let numbers = numbers.chain(runs.iter().map(|(_, rows)| *rows));
        let mut bytes: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        bytes.extend_from_slice(text.as_bytes());
        zstd::bulk::compress(&bytes, 1)
    }

    /// Reads them, of a row group of `rows` rows.
    pub(in crate::store::embedded) fn decode(bytes: &[u8], rows: u32) -> Result<Templates, ReadError> {
        let templates = unpack(bytes).ok().and_then(|plain| Numbers(&plain).templates());
        let sound = templates.filter(|templates| templates.is_sound(rows));
        sound.ok_or_else(|| ReadError::Damaged("its templates are none".to_owned()))
    }

    /// Whether nothing in them points anywhere else.
    fn is_sound(&self, rows: u32) -> bool {
        let ends_at = |ends: &[u32], end: usize| ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == end;
        let all = self.runs.iter().try_fold(0_u32, |all, (_, rows)| all.checked_add(*rows));
        ends_at(&self.word_ends, self.text.len())
            && ends_at(&self.template_ends, self.places.len())
            && self.places.iter().all(|place| (Follows::place(*place) as usize) < self.word_ends.len())
            && self.runs.iter().all(|(template, _)| (*template as usize) < self.template_ends.len())
            && all == Some(rows)
    }
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    zstd::Decoder::with_buffer(bytes)?.take(BYTES_MAX).read_to_end(&mut plain)?;
    Ok(plain)
}

/// Numbers that are still to be read, and what is behind them.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn templates(mut self) -> Option<Templates> {
        let counts = self.take(4)?;
        let [words, templates, places, runs] = *counts.as_slice() else { return None };
        let (word_ends, template_ends) = (self.take(words)?, self.take(templates)?);
        let letters = self.take(templates)?.into_iter().map(Letters).collect();
        let places = self.take(places)?;
        let runs = self.take(runs)?.into_iter().zip(self.take(runs)?).collect();
        let text = String::from_utf8(self.0.to_vec()).ok()?;
        Some(Templates { text, word_ends, places, template_ends, letters, runs })
    }

    /// The next numbers; `None`, if there are not so many.
    fn take(&mut self, count: u32) -> Option<Vec<u32>> {
        let (numbers, rest) = self.0.split_at_checked((count as usize).checked_mul(NUMBER)?)?;
        self.0 = rest;
        let (numbers, _) = numbers.as_chunks::<NUMBER>();
        Some(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }
}
