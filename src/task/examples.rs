//! Examples of a file that was checked when it was stored: read one after the other, and written.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::lines::LineReader;
use crate::domain::{Example, LineError};

/// The examples of an already validated file, in order; a bad line is an error of kind `InvalidData`.
pub fn read(reader: impl Read) -> impl Iterator<Item = io::Result<Example>> {
    Examples { reader, lines: Some(LineReader::new()), ready: VecDeque::new(), buffer: vec![0; 1 << 16] }
}

/// The example as one JSON line, without its line feed.
pub fn write(example: &Example) -> String {
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
    use crate::domain::Split;

    #[test]
    fn examples_are_read_as_they_were_written() {
        let example = Example {
            id: "a".to_owned(),
            input: "x\ny".to_owned(),
            label: Some("l".to_owned()),
            teacher_label: None,
            rationale: Some("r".to_owned()),
            more_rationales: vec!["s".to_owned()],
            split: Some(Split::Test),
        };
        let line = write(&example);
        assert_eq!(line, r#"{"id":"a","input":"x\ny","label":"l","rationale":"r","rationales":["s"],"split":"test"}"#);
        let found: Vec<_> = read(line.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(found, [example]);
        let bad = read(&b"{}"[..]).next().unwrap().unwrap_err();
        assert_eq!(bad.kind(), io::ErrorKind::InvalidData);
    }
}
