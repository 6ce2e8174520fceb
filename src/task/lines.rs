//! JSONL read a chunk at a time: bytes in, checked examples or line errors out, in memory that no file can make grow.
//! What an example's fields may hold is decided in `fields`; what a whole file must be, in `Validator`.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::fields;
use crate::domain::{Example, LineError};

/// Longer lines are refused, skipped and counted without being kept.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Characters of a bad line that its error shows.
const SNIPPET_CHARS: usize = 80;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Takes a file's bytes as they come and hands out its lines. Blank lines, CRLF and a byte order mark are accepted.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The line so far; of a line that is too long only what a snippet needs.
    pending: Vec<u8>,
    /// Whether the line so far is too long.
    too_long: bool,
    /// Lines finished.
    lines: u64,
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

    /// Takes the next bytes. `on_line` gets each finished line's number, from 1, with its example or its error.
    pub fn push(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(u64, Result<Example, LineError>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.keep(&rest[..end]);
            self.end_line(on_line);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// Ends the file: the last line needs no line feed.
    pub fn finish(mut self, on_line: &mut dyn FnMut(u64, Result<Example, LineError>)) {
        self.end_line(on_line);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.too_long || self.is_array {
            return;
        }
        if self.pending.len() + bytes.len() > MAX_LINE_BYTES {
            self.too_long = true;
            self.pending.extend_from_slice(&bytes[..bytes.len().min(4 * SNIPPET_CHARS)]);
            self.pending.truncate(4 * SNIPPET_CHARS);
            self.pending.shrink_to_fit();
            return;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn end_line(&mut self, on_line: &mut dyn FnMut(u64, Result<Example, LineError>)) {
        self.lines += 1;
        let mut line = std::mem::take(&mut self.pending);
        let too_long = std::mem::take(&mut self.too_long);
        let text = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.lines == 1).unwrap_or(&line).trim_ascii();
        if text.is_empty() || self.is_array {
            return;
        }
        self.is_array = !self.begun && text[0] == b'[';
        self.begun = true;
        on_line(self.lines, self.read(text, too_long).map_err(|fault| self.describe(fault, text)));
        line.clear();
        self.pending = line;
    }

    fn read(&self, text: &[u8], too_long: bool) -> Result<Example, Fault> {
        if self.is_array {
            let hint = "this is JSON, not JSONL: write each object on its own line, without brackets and commas around";
            return Err(Fault::line("not_object", hint));
        }
        if too_long {
            return Err(Fault::line("too_long", &format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            Fault::line("invalid_utf8", &format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1))
        })?;
        fields::read(text, self.lines)
    }

    fn describe(&self, fault: Fault, text: &[u8]) -> LineError {
        let opening = String::from_utf8_lossy(&text[..text.len().min(4 * SNIPPET_CHARS)]);
        let snippet = opening.chars().take(SNIPPET_CHARS).collect();
        let Fault { code, field, message } = fault;
        LineError { line: self.lines, code: code.to_owned(), field, message, snippet }
    }
}

/// What is wrong with a line, before its number and text are known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) field: Option<String>,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn line(code: &'static str, message: &str) -> Self {
        Self { code, field: None, message: message.to_owned() }
    }

    pub(super) fn field(code: &'static str, field: &str, message: String) -> Self {
        Self { code, field: Some(field.to_owned()), message }
    }
}

/// The examples of an already validated file, in order; a bad line is an error of kind `InvalidData`.
pub fn read_examples(reader: impl Read) -> impl Iterator<Item = io::Result<Example>> {
    Examples { reader, lines: Some(LineReader::new()), ready: VecDeque::new(), buffer: vec![0; 1 << 16] }
}

/// The example as one JSON line, without its line feed.
pub fn write_example(example: &Example) -> String {
    serde_json::to_string(example).expect("strings are always JSON")
}

struct Examples<R> {
    reader: R,
    /// `None` after the end of the file or an error of reading.
    lines: Option<LineReader>,
    ready: VecDeque<io::Result<Example>>,
    buffer: Vec<u8>,
}

impl<R: Read> Examples<R> {
    /// Reads one more chunk.
    fn fill(&mut self, mut lines: LineReader) -> io::Result<()> {
        let ready = &mut self.ready;
        let mut on_line = |_, read: Result<Example, LineError>| ready.push_back(read.map_err(invalid_data));
        match self.reader.read(&mut self.buffer)? {
            0 => lines.finish(&mut on_line),
            count => {
                lines.push(&self.buffer[..count], &mut on_line);
                self.lines = Some(lines);
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Examples<R> {
    type Item = io::Result<Example>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let lines = self.lines.take()?;
            if let Err(error) = self.fill(lines) {
                return Some(Err(error));
            }
        }
        self.ready.pop_front()
    }
}

fn invalid_data(error: LineError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {}", error.line, error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in_chunks(bytes: &[u8], size: usize) -> Vec<(u64, Result<Example, LineError>)> {
        let (mut reader, mut seen) = (LineReader::new(), Vec::new());
        for chunk in bytes.chunks(size) {
            reader.push(chunk, &mut |number, line| seen.push((number, line)));
        }
        reader.finish(&mut |number, line| seen.push((number, line)));
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
            let ids: Vec<_> = seen.iter().map(|(number, line)| (*number, line.as_ref().unwrap().id.as_str())).collect();
            assert_eq!(ids, [(1, "line-1"), (4, "x")]);
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
        reader.push(b"\"}\n{\"input\":\"b\"}\n", &mut |number, line| seen.push((number, line)));
        let error = seen[0].1.as_ref().unwrap_err();
        assert_eq!((error.code.as_str(), error.snippet.chars().count()), ("too_long", 80));
        assert_eq!(seen[1].1.as_ref().unwrap().input, "b");
    }

    #[test]
    fn examples_are_read_as_they_were_written() {
        let example = Example {
            id: "a".to_owned(),
            input: "x\ny".to_owned(),
            label: Some("l".to_owned()),
            teacher_label: None,
            rationale: Some("r".to_owned()),
        };
        let line = write_example(&example);
        assert_eq!(line, r#"{"id":"a","input":"x\ny","label":"l","rationale":"r"}"#);
        let read: Vec<_> = read_examples(line.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, [example]);
        let bad = read_examples(&b"{}"[..]).next().unwrap().unwrap_err();
        assert_eq!(bad.kind(), io::ErrorKind::InvalidData);
    }
}
