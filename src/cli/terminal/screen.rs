//! Standard output: what it can show, and the pager before it.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::ValueEnum;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use unicode_width::UnicodeWidthStr;

use super::{Look, Zone};

/// The pager where `$PAGER` says nothing: it ends at once if all fits the screen, lets colours through, and leaves what it
/// has shown.
const PAGER: &str = "less";
const PAGER_FLAGS: &str = "-FRX";

const BUFFER_BYTES: usize = 64 << 10;
const WIDTH_DEFAULT: usize = 80;
const HEIGHT_DEFAULT: usize = 24;

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(in crate::cli) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set; elsewhere if CLICOLOR_FORCE is.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What is wished of the output.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Wish {
    pub(in crate::cli) color: ColorChoice,
    pub(in crate::cli) zone: Zone,
    /// Whether it may go through a pager.
    pub(in crate::cli) pager: bool,
    /// Whether a pager begins at the end, where the newest is.
    pub(in crate::cli) at_end: bool,
}

/// Standard output, or a pager that shows it. Whatever is written must be flushed by [`Screen::finish`].
pub(in crate::cli) struct Screen {
    sink: Sink,
    /// How things are shown on it.
    pub(in crate::cli) look: Look,
    /// Whether a person looks at it.
    pub(in crate::cli) is_terminal: bool,
}

enum Sink {
    Plain(BufWriter<Stdout>),
    /// A pager starts when there is more than fits the terminal: what fits, or an error, needs none.
    Waiting {
        at_end: bool,
        held: Vec<u8>,
    },
    Paged(Pager),
}

struct Pager {
    process: Child,
    /// Gone once all is written, which tells the pager so.
    input: Option<BufWriter<ChildStdin>>,
}

impl Screen {
    /// Takes standard output, with a pager if that is wished and a person looks.
    pub(in crate::cli) fn open(wish: Wish) -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let color = wants_color(wish.color, is_terminal, |name| env::var_os(name));
        let unicode = speaks_unicode(|name| env::var_os(name));
        let look = Look { color, unicode, width: width(), zone: wish.zone };
        let sink = if is_terminal && wish.pager {
            Sink::Waiting { at_end: wish.at_end, held: Vec::new() }
        } else {
            Sink::plain()
        };
        Screen { sink, look, is_terminal }
    }

    /// Writes what is left, and waits until the reader has closed the pager.
    pub(in crate::cli) fn finish(mut self) -> io::Result<()> {
        self.release()?;
        self.flush()
    }

    /// Writes what has waited for a pager that is not needed.
    fn release(&mut self) -> io::Result<()> {
        let Sink::Waiting { held, .. } = &mut self.sink else { return Ok(()) };
        let held = std::mem::take(held);
        self.sink = Sink::plain();
        self.write_all(&held)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After an error, what came before it is still worth seeing.
        let _ = self.release();
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Sink::Waiting { at_end, held } = &mut self.sink {
            held.extend_from_slice(bytes);
            if rows(held, self.look.width) < size().1 {
                return Ok(bytes.len());
            }
            let (at_end, held) = (*at_end, std::mem::take(held));
            // Without a pager, all goes to the terminal as it is.
            self.sink = Pager::start(at_end).map_or_else(Sink::plain, Sink::Paged);
            return self.write_all(&held).map(|()| bytes.len());
        }
        match &mut self.sink {
            Sink::Plain(out) => out.write(bytes),
            Sink::Waiting { .. } => Ok(0),
            Sink::Paged(pager) => pager.input.as_mut().map_or(Ok(bytes.len()), |input| input.write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Plain(out) => out.flush(),
            Sink::Waiting { .. } => Ok(()),
            Sink::Paged(pager) => pager.input.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}

impl Sink {
    fn plain() -> Sink {
        Sink::Plain(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
    }
}

impl Pager {
    fn start(at_end: bool) -> Option<Pager> {
        let mut command = match env::var("PAGER") {
            Ok(chosen) if chosen.trim().is_empty() || chosen.trim() == "cat" => return None,
            Ok(chosen) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &chosen]);
                shell
            }
            Err(_) => {
                let mut less = Command::new(PAGER);
                less.arg(PAGER_FLAGS).args(at_end.then_some("+G"));
                less
            }
        };
        let mut process = command.stdin(Stdio::piped()).spawn().ok()?;
        // An interrupt is for the pager; this process must outlive it, or the terminal would have two readers.
        let _ = flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
        let input = process.stdin.take().map(|input| BufWriter::with_capacity(BUFFER_BYTES, input));
        Some(Pager { process, input })
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// Whether colours are used: <https://no-color.org> and <https://bixense.com/clicolors>.
fn wants_color(choice: ColorChoice, is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto if variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") => true,
        ColorChoice::Auto => is_terminal && variable("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Whether the locale's letters are Unicode's, and the terminal can do more than a typewriter.
fn speaks_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(&variable).find(|value| !value.is_empty());
    let name = locale.unwrap_or_default().to_string_lossy().to_uppercase();
    (name.contains("UTF-8") || name.contains("UTF8")) && variable("TERM").is_none_or(|term| term != "dumb")
}

fn width() -> usize {
    let told = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.filter(|width| *width > 0).unwrap_or_else(|| size().0)
}

/// The columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let or = |told: Option<u16>, default| told.filter(|told| *told > 0).map_or(default, usize::from);
    (or(size.map(|size| size.ws_col), WIDTH_DEFAULT), or(size.map(|size| size.ws_row), HEIGHT_DEFAULT))
}

/// How many rows of a terminal a text takes.
fn rows(text: &[u8], width: usize) -> usize {
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| visible_width(line).div_ceil(width.max(1)).max(1)).sum()
}

/// The columns that a line takes: colours take none.
fn visible_width(line: &str) -> usize {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().width();
    first + parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text).width()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(set: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn colours_follow_the_conventions() {
        use ColorChoice::{Always, Auto, Never};
        for (choice, terminal, set, expected) in [
            (Auto, true, &[][..], true),
            (Auto, false, &[][..], false),
            (Auto, true, &[("NO_COLOR", "1")][..], false),
            (Auto, true, &[("NO_COLOR", "")][..], true),
            (Auto, false, &[("CLICOLOR_FORCE", "1")][..], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")][..], false),
            (Auto, true, &[("TERM", "dumb")][..], false),
            (Always, false, &[("NO_COLOR", "1")][..], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")][..], false),
        ] {
            assert_eq!(wants_color(choice, terminal, variables(set)), expected, "{choice:?} {terminal} {set:?}");
        }
    }

    #[test]
    fn rows_are_counted_as_a_terminal_breaks_them() {
        for (text, expected) in [
            ("", 0),
            ("a\n", 1),
            ("0123456789\n\n", 2),
            ("0123456789a\n", 2),
            ("\x1b[31m0123456789\x1b[0m\n", 1),
            ("漢字漢字漢字\n", 2),
        ] {
            assert_eq!(rows(text.as_bytes(), 10), expected, "{text:?}");
        }
    }

    #[test]
    fn the_first_locale_that_is_set_decides() {
        for (set, expected) in [
            (&[("LANG", "en_US.UTF-8")][..], true),
            (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")][..], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")][..], true),
            (&[("LANG", "C.UTF-8"), ("TERM", "dumb")][..], false),
            (&[][..], false),
        ] {
            assert_eq!(speaks_unicode(variables(set)), expected, "{set:?}");
        }
    }
}
