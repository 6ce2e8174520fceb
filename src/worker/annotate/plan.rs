//! The leader's plan of an annotation: where the chunks of its file begin, found by looking for line ends alone, so that a
//! file of a million rows is planned in a second or two and its first chunks are there at once.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;

use crate::{
    domain::{Chunk, File},
    task::lines::{LinePlace, LineReader},
    worker::{Attempt, AttemptError, Worker, inputs},
};

/// Examples of a chunk. Two workers end within one chunk's time of each other; each chunk costs two statements.
const EXAMPLES: i64 = 256;
/// Bytes of a chunk, at most, but for a single line that is longer: it is read whole.
const BYTES: u64 = 1 << 20;
/// Chunks written at once.
const BATCH: usize = 64;

/// Plans all examples before `end`, from where an earlier attempt had come to, and says when all is planned.
pub(super) async fn plan(
    worker: &Worker,
    attempt: &Attempt,
    file: &File,
    end: i64,
    done: &AtomicBool,
) -> Result<(), AttemptError> {
    let last = attempt.persist(|| attempt.store().last_chunk(attempt.job.id)).await?;
    let size = u64::try_from(file.bytes).unwrap_or_default();
    let mut planner = Planner::from(last, end);
    if !planner.is_done() {
        let start = planner.start;
        let mut bytes = worker.artifacts.read_range(&file.artifact_key, start.offset..size).await?;
        let mut lines = LineReader::at(start);
        while let Some(piece) = bytes.next().await {
            lines.push_places(&piece?, &mut |place| planner.line(place));
            planner.write(attempt, BATCH).await?;
            if planner.is_done() {
                break;
            }
        }
        lines.finish_places(&mut |place| planner.line(place));
        planner.close(size);
    }
    planner.write(attempt, 1).await?;
    done.store(true, Ordering::Release);
    Ok(())
}

/// Cuts lines into chunks.
#[derive(Debug)]
struct Planner {
    /// Where reading begins.
    start: LinePlace,
    /// Examples that are planned in all.
    end: i64,
    /// The place of the next example.
    next: i64,
    /// The number of the next chunk.
    number: i32,
    /// The chunk that lines still come to.
    open: Option<(i64, LinePlace)>,
    /// Chunks that are not written yet.
    planned: Vec<Chunk>,
}

impl Planner {
    /// From the last chunk that was planned, which is planned again: it knows where its first line is.
    fn from(last: Option<Chunk>, end: i64) -> Self {
        let planner = |start, next, number| Self { start, end, next, number, open: None, planned: Vec::new() };
        match last {
            None => planner(LinePlace { number: 1, offset: 0 }, 0, 0),
            Some(chunk) if chunk.end_index >= end => planner(inputs::start_of(&chunk), end, chunk.number),
            Some(chunk) => planner(inputs::start_of(&chunk), chunk.first_index, chunk.number),
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.end && self.open.is_none()
    }

    /// Takes the next line.
    fn line(&mut self, place: LinePlace) {
        let is_full =
            |(first, start): (i64, LinePlace)| self.next - first >= EXAMPLES || place.offset - start.offset >= BYTES;
        if self.next >= self.end || self.open.is_some_and(is_full) {
            self.close(place.offset);
        }
        if self.next < self.end {
            self.open.get_or_insert((self.next, place));
            self.next += 1;
        }
    }

    /// Ends the open chunk before this byte.
    fn close(&mut self, end_offset: u64) {
        let Some((first_index, start)) = self.open.take() else { return };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.planned.push(Chunk {
            number: self.number,
            first_index,
            end_index: self.next,
            line_number: signed(start.number),
            byte_offset: signed(start.offset),
            end_offset: signed(end_offset),
        });
        self.number += 1;
    }

    /// Writes what is planned, if it is so much.
    async fn write(&mut self, attempt: &Attempt, least: usize) -> Result<(), AttemptError> {
        if self.planned.len() < least {
            return Ok(());
        }
        let planned = std::mem::take(&mut self.planned);
        attempt.persist(|| attempt.store().plan_chunks(attempt.lease, &planned)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(lines: &[&str], last: Option<Chunk>, end: i64) -> Vec<Chunk> {
        let text = lines.concat();
        let mut planner = Planner::from(last, end);
        let mut reader = LineReader::at(planner.start);
        let from = usize::try_from(planner.start.offset).unwrap();
        for piece in text.as_bytes()[from..].chunks(7) {
            reader.push_places(piece, &mut |place| planner.line(place));
        }
        reader.finish_places(&mut |place| planner.line(place));
        planner.close(text.len() as u64);
        planner.planned
    }

    fn examples_of(lines: &[&str], chunk: Chunk) -> Vec<String> {
        let text = lines.concat();
        let [from, to] = [chunk.byte_offset, chunk.end_offset].map(|offset| usize::try_from(offset).unwrap());
        let (mut reader, mut ids) = (LineReader::at(inputs::start_of(&chunk)), Vec::new());
        reader.push(&text.as_bytes()[from..to], &mut |_, line| ids.push(line.unwrap().id));
        reader.finish(&mut |_, line| ids.push(line.unwrap().id));
        ids
    }

    #[test]
    fn chunks_have_every_example_once_under_the_name_that_its_line_gives_it() {
        let mut lines = vec!["\u{feff}\n", "{\"input\":\"a\"}\r\n", " \n"];
        lines.resize(600, "{\"input\":\"b\"}\n");
        lines.push("{\"input\":\"without a line feed\"}");
        let chunks = planned(&lines, None, 10_000);
        let places: Vec<(i64, i64)> = chunks.iter().map(|chunk| (chunk.first_index, chunk.end_index)).collect();
        assert_eq!(places, [(0, 256), (256, 512), (512, 599)]);
        let ids: Vec<String> = chunks.iter().flat_map(|chunk| examples_of(&lines, *chunk)).collect();
        let expected: Vec<String> = std::iter::once(2).chain(4..=601).map(|line| format!("line-{line}")).collect();
        assert_eq!(ids, expected);
        for resumed in &chunks {
            let again = planned(&lines, Some(*resumed), 10_000);
            let rest: Vec<Chunk> = chunks.iter().filter(|chunk| chunk.number >= resumed.number).copied().collect();
            assert!(again == rest, "a plan goes on where it ended: {again:?}");
        }
    }

    #[test]
    fn a_plan_ends_with_the_examples_that_are_asked_for() {
        let lines = vec!["{\"input\":\"b\"}\n"; 600];
        let chunks = planned(&lines, None, 300);
        assert_eq!(chunks.iter().map(|chunk| chunk.end_index).collect::<Vec<_>>(), [256, 300]);
        assert_eq!(examples_of(&lines, chunks[1]).len(), 44);
        assert!(Planner::from(Some(chunks[1]), 300).is_done());
    }

    #[test]
    fn long_lines_make_chunks_of_fewer_examples() {
        let long = format!("{{\"input\":\"{}\"}}\n", "x".repeat(400_000));
        let chunks = planned(&[&long, &long, &long, &long], None, 4);
        assert_eq!(chunks.iter().map(|chunk| chunk.end_index).collect::<Vec<_>>(), [3, 4]);
    }
}
