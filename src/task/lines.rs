//! JSONL read a chunk at a time: bytes in, checked examples or line errors out, in memory that no file can make grow.
//! What an example's fields may hold is decided in `fields`; what a whole file must be, in the room `survey`.

use super::faults::Fault;
use super::fields;
use crate::domain::{Example, LineError};

/// Longer lines are refused, skipped and counted without being kept.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Characters of a bad line that its error shows.
const SNIPPET_CHARS: usize = 80;
/// Characters of an error's message.
const MESSAGE_CHARS: usize = 500;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePlace {
    /// Its number, from 1; blank lines count.
    pub number: u64,
    /// Its first byte's place in the file, from 0.
    pub offset: u64,
}

/// Takes a file's bytes as they come and hands out its lines. Blank lines, CRLF and a byte order mark are accepted.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The line so far; of a line that is too long only what a snippet needs.
    pending: Vec<u8>,
    /// Whether the line so far is too long.
    too_long: bool,
    /// Lines finished.
    lines: u64,
    /// Bytes of the lines finished.
    offset: u64,
    /// Bytes of the line so far, kept or not.
    length: u64,
    /// Whether a line with text was seen.
    begun: bool,
    /// Whether the file opens with `[`: one error says all, and the rest is not looked at.
    is_array: bool,
}

impl LineReader {
    /// A reader at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader at the start of this line of a file that was read before.
    pub fn at(place: LinePlace) -> Self {
        Self { lines: place.number - 1, offset: place.offset, begun: place.number > 1, ..Self::default() }
    }

    /// Takes the next bytes. `on_line` gets each finished line's place with its example or its error.
    pub fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(LinePlace, Result<Example, LineError>)) {
        self.split(bytes, &mut |line| on_line(line.place, line.parse()));
    }

    /// Takes the next bytes of a file whose lines are known to be good, and says only where they are.
    pub fn push_places(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(LinePlace)) {
        self.split(bytes, &mut |line| on_line(line.place));
    }

    /// Ends the file: the last line needs no line feed.
    pub fn finish(mut self, on_line: &mut dyn FnMut(LinePlace, Result<Example, LineError>)) {
        self.end_line(&mut |line| on_line(line.place, line.parse()));
    }

    /// The same of a file whose lines are known to be good.
    pub fn finish_places(mut self, on_line: &mut dyn FnMut(LinePlace)) {
        self.end_line(&mut |line| on_line(line.place));
    }

    fn split(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.keep(&rest[..end]);
            self.end_line(on_line);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.too_long || self.is_array {
            return;
        }
        if self.pending.len() + bytes.len() > MAX_LINE_BYTES {
            self.too_long = true;
            self.pending.extend_from_slice(&bytes[..bytes.len().min(SNIPPET_BYTES)]);
            self.pending.truncate(SNIPPET_BYTES);
            self.pending.shrink_to_fit();
            return;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn end_line(&mut self, on_line: &mut dyn FnMut(Line<'_>)) {
        self.lines += 1;
        let place = LinePlace { number: self.lines, offset: self.offset };
        self.offset += std::mem::take(&mut self.length) + 1;
        let mut line = std::mem::take(&mut self.pending);
        let too_long = std::mem::take(&mut self.too_long);
        let text = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.lines == 1).unwrap_or(&line).trim_ascii();
        if text.is_empty() || self.is_array {
            return;
        }
        self.is_array = !self.begun && text[0] == b'[';
        self.begun = true;
        on_line(Line { place, text, too_long, is_array: self.is_array });
        line.clear();
        self.pending = line;
    }
}

/// A line with text.
struct Line<'a> {
    place: LinePlace,
    text: &'a [u8],
    too_long: bool,
    is_array: bool,
}

impl Line<'_> {
    fn parse(&self) -> Result<Example, LineError> {
        self.read().map_err(|fault| self.describe(fault))
    }

    fn read(&self) -> Result<Example, Fault> {
        if self.is_array {
            let hint = "this is JSON, not JSONL: write each object on its own line, without brackets and commas around";
            return Err(Fault::line("not_object", hint));
        }
        if self.too_long {
            return Err(Fault::line("too_long", &format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        }
        let text = std::str::from_utf8(self.text).map_err(|error| {
            Fault::line("invalid_utf8", &format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1))
        })?;
        fields::read(text, self.place.number)
    }

    fn describe(&self, fault: Fault) -> LineError {
        let Fault { code, field, message } = fault;
        // A message may quote the line, and a line may be a megabyte.
        let message = message.chars().take(MESSAGE_CHARS).collect();
        LineError { line: self.place.number, code: code.to_owned(), field, message, snippet: snippet(self.text) }
    }
}

/// Bytes of a line that hold whatever its snippet shows.
pub const SNIPPET_BYTES: usize = 4 * SNIPPET_CHARS;

/// What an error shows of a line: its first 80 characters.
pub fn snippet(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(SNIPPET_BYTES)]).chars().take(SNIPPET_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_chunks(bytes: &[u8], size: usize) -> Vec<(LinePlace, Result<Example, LineError>)> {
        let (mut reader, mut seen) = (LineReader::new(), Vec::new());
        for chunk in bytes.chunks(size) {
            reader.push(chunk, &mut |place, line| seen.push((place, line)));
        }
        reader.finish(&mut |place, line| seen.push((place, line)));
        seen
    }

    fn only_error(bytes: &[u8]) -> LineError {
        let mut seen = read_in_chunks(bytes, 7);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0).1.unwrap_err()
    }

    #[test]
    fn chunks_marks_carriage_returns_and_blank_lines_do_not_matter() {
        let file = "\u{feff}{\"input\":\"ä\"}\r\n\r\n  \n{\"id\":\"x\",\"input\":\"b\"}".as_bytes();
        for size in 1..file.len() {
            let seen = read_in_chunks(file, size);
            let found =
                seen.iter().map(|(place, line)| (place.number, place.offset, line.as_ref().unwrap().id.as_str()));
            assert_eq!(found.collect::<Vec<_>>(), [(1, 0, "line-1"), (4, 24, "x")]);
        }
    }

    #[test]
    fn a_json_array_is_named_once() {
        let error = only_error(b"[\n{\"input\":\"a\"},\n{\"input\":\"b\"}\n]");
        assert_eq!((error.line, error.code.as_str()), (1, "not_object"));
        assert!(error.message.contains("this is JSON, not JSONL"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let error = only_error(b"{\"input\":\"\xff\"}");
        assert_eq!(error.code, "invalid_utf8");
        assert!(error.message.contains("byte 11"), "{}", error.message);
    }

    #[test]
    fn a_gigantic_line_is_skipped_in_bounded_memory_and_the_next_is_read() {
        let (mut reader, mut seen) = (LineReader::new(), Vec::new());
        reader.push(b"{\"input\":\"", &mut |_, _| ());
        for _ in 0..64 {
            reader.push(&[b'a'; 1 << 16], &mut |_, _| ());
            assert!(reader.pending.capacity() <= 2 * MAX_LINE_BYTES);
        }
        reader.push(b"\"}\n{\"input\":\"b\"}\n", &mut |place, line| seen.push((place, line)));
        let error = seen[0].1.as_ref().unwrap_err();
        assert_eq!(seen[1].0, LinePlace { number: 2, offset: 10 + (64 << 16) + 3 });
        assert_eq!((error.code.as_str(), error.snippet.chars().count()), ("too_long", 80));
        assert_eq!(seen[1].1.as_ref().unwrap().input, "b");
    }
}
