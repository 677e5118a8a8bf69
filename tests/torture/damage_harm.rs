//! The harm that is done to a file of a data folder.

use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

/// A kind of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Some bits are others.
    Flip,
    /// The end is missing.
    Truncate,
    /// A range of zeros.
    Zero,
    /// The file is gone.
    Remove,
    /// It is there twice, under a name of its kind.
    Double,
    /// It stands under the name of another of its kind, and that one under its own.
    Swap,
    /// Random bytes in its place.
    Random,
    /// A later version of the program wrote it.
    NewerFormat,
}

const ALL: &[Harm] = &[
    Harm::Flip,
    Harm::Flip,
    Harm::Truncate,
    Harm::Zero,
    Harm::Remove,
    Harm::Double,
    Harm::Swap,
    Harm::Random,
    Harm::NewerFormat,
];

/// What was done.
pub struct Done {
    /// The kind.
    pub harm: Harm,
    /// To which file, below the data folder.
    pub file: String,
    /// The names of the files that a report may speak of.
    pub names: Vec<String>,
    /// Where, and how much.
    pub how: String,
    /// Whether nobody can tell it from what happens every day: a spool segment is gone, as one is whose blocks are all
    /// settled, or the end of the newest one is zeros, as it is before it is written.
    pub unseen: bool,
    /// Whether it is the newest segment of the spool, whose end may be torn: what is torn was never acknowledged, so it is
    /// set aside and told, but does not count as lost.
    pub may_be_torn: bool,
}

/// Does some harm to some file; nothing, if that kind cannot be done to it.
pub fn harm(data: &Path, files: &[PathBuf], rng: &mut SmallRng) -> Option<Done> {
    let path = choose(files, rng);
    let bytes = fs::read(&path).unwrap();
    let kind = *ALL.choose(rng).unwrap();
    let newest_of_spool = files.iter().rfind(|file| is_kind(file, "log"));
    let (mut names, mut how) = (vec![name(&path)], String::new());
    let mut changed = bytes.clone();
    match kind {
        Harm::Flip if !bytes.is_empty() => {
            let places: Vec<usize> = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..bytes.len())).collect();
            places.iter().for_each(|place| changed[*place] ^= 1 << rng.random_range(0..8));
            how = format!("at {places:?} of {}", bytes.len());
        }
        Harm::Truncate => {
            changed.truncate(rng.random_range(0..bytes.len().max(1)));
            how = format!("to {} of {}", changed.len(), bytes.len());
        }
        Harm::Zero => {
            let from = rng.random_range(0..bytes.len().max(1));
            let to = (from + rng.random_range(1..20_000)).min(bytes.len());
            changed[from..to].fill(0);
            how = format!("{from}..{to} of {}", bytes.len());
        }
        Harm::Random => rng.fill(&mut changed[..]),
        Harm::NewerFormat => changed = newer(&path, bytes.clone())?,
        Harm::Remove => {}
        Harm::Double => {
            let other = another_name(&path, rng)?;
            fs::write(&other, &bytes).unwrap();
            how = format!("as {}", name(&other));
            names.push(name(&other));
        }
        Harm::Swap => {
            let of_kind = |file: &&PathBuf| **file != path && file.extension() == path.extension();
            let others: Vec<&PathBuf> = files.iter().filter(of_kind).filter(|_| path.extension().is_some()).collect();
            let other = *others.choose(rng)?;
            changed = fs::read(other).unwrap();
            fs::write(other, &bytes).unwrap();
            how = format!("with {}", name(other));
            names.push(name(other));
        }
        Harm::Flip => return None,
    }
    if kind == Harm::Remove {
        fs::remove_file(&path).unwrap();
    } else {
        fs::write(&path, &changed).unwrap();
    }
    let of_newest = newest_of_spool == Some(&path);
    let unseen = is_kind(&path, "log") && (kind == Harm::Remove || (of_newest && cut_short(&bytes, &changed)));
    let file = path.strip_prefix(data).unwrap().display().to_string();
    Some(Done { harm: kind, file, names, how, unseen, may_be_torn: of_newest })
}

/// Every kind of file has its turn, however many there are of each.
fn choose(files: &[PathBuf], rng: &mut SmallRng) -> PathBuf {
    let kinds: &[&[&str]] =
        &[&["parquet"], &["parquet"], &["log"], &["log"], &["keys"], &["manifest", "previous"], &[]];
    loop {
        let kind = kinds.choose(rng).unwrap();
        let wanted = |file: &&PathBuf| match kind.is_empty() {
            true => name(file) == "records.ndjson" || name(file) == "lock",
            false => kind.iter().any(|kind| is_kind(file, kind) || name(file) == *kind),
        };
        let candidates: Vec<&PathBuf> = files.iter().filter(wanted).collect();
        if let Some(file) = candidates.choose(rng) {
            return (*file).clone();
        }
    }
}

/// Whether what is left is the same, but for zeros or nothing at its end.
fn cut_short(before: &[u8], after: &[u8]) -> bool {
    let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    after[same..].iter().all(|byte| *byte == 0)
}

/// Another name of the same kind, as a copy by hand would get.
fn another_name(path: &Path, rng: &mut SmallRng) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let ending = path.extension()?.to_str()?;
    let other = match ending {
        "parquet" => format!("{}{:02x}", &stem[..stem.len() - 2], rng.random::<u8>()),
        "log" | "keys" => format!("{:020}", stem.parse::<u64>().ok()? + rng.random_range(0..20)),
        _ => return None,
    };
    let other = path.with_file_name(format!("{other}.{ending}"));
    (!other.exists()).then_some(other)
}

/// The same file as a later version would write it.
fn newer(path: &Path, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some(ending @ ("log" | "keys")) => {
            let checked = if ending == "log" { 12..96 } else { 12..64 };
            bytes.get_mut(12..16)?.copy_from_slice(&99_u32.to_le_bytes());
            let checksum = crc32c::crc32c(bytes.get(checked)?);
            bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
            Some(bytes)
        }
        _ if name(path).starts_with("manifest") => {
            let text = String::from_utf8(bytes).ok()?;
            let (before, rest) = text.split_once("\"format\":")?;
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            Some(format!("{before}\"format\":99{}", &rest[digits..]).into_bytes())
        }
        _ => None,
    }
}

fn is_kind(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|ending| ending == kind)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
