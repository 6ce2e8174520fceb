//! Which of the questions that wait are read together.

/// Tokens of a batch for each of its `max_batch` rows: a batch of long inputs has fewer rows, because attention's memory grows with
/// the square of the length.
const TOKENS_A_ROW: usize = 256;

/// What a question takes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    /// Tokens that it holds at once.
    pub held: usize,
    /// Tokens that are read for it.
    pub read: usize,
    /// Rows that are written for it, side by side with those of others.
    pub rows: usize,
}

/// What is there already, and what a batch may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Rows that are being written.
    pub rows: usize,
    /// Tokens that the longest of them holds.
    pub longest: usize,
    /// Rows that are computed at once.
    pub max_batch: usize,
    /// Whether what is read together is filled up to the longest. Prepacked students read inputs end to end and keep each one's keys
    /// by itself: then the batch is the better the larger it is. Tensors fill up the attention over the input, at every step.
    pub pads: bool,
}

/// How many of these, which become shorter, are read now.
pub(super) fn read_now(waiting: impl Iterator<Item = Size> + Clone, room: Room) -> usize {
    let Some(longest) = waiting.clone().next() else { return 0 };
    let most = rows_at_once(longest.held.max(room.longest), room.max_batch);
    let (mut count, mut rows) = (0, room.rows);
    // What is read least and most of, of those that are read together: what holds most need not read most.
    let (mut least, mut most_read) = (usize::MAX, 0);
    for size in waiting.take(most) {
        rows += size.rows;
        (least, most_read) = (least.min(size.read), most_read.max(size.read));
        // What needs more room than there ever is goes alone.
        let alone = count == 0 && room.rows == 0;
        let has_room = size.rows == 0 || rows <= most || alone;
        if !has_room || (room.pads && least * 2 < most_read) {
            break;
        }
        count += 1;
    }
    count
}

/// Rows of such a length that are computed at once.
fn rows_at_once(longest: usize, max_batch: usize) -> usize {
    (max_batch * TOKENS_A_ROW / longest.max(1)).clamp(1, max_batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { rows: 0, longest: 0, max_batch: 8, pads: false };

    fn read(lengths: &[usize], room: Room) -> usize {
        read_now(lengths.iter().map(|length| Size { held: *length, read: *length, rows: 1 }), room)
    }

    #[test]
    fn a_batch_is_as_large_as_there_is_room_for() {
        assert_eq!([read(&[], ROOM), read(&[9; 3], ROOM), read(&[9; 20], ROOM)], [0, 3, 8]);
        assert_eq!(read(&[9; 20], Room { rows: 5, ..ROOM }), 3);
        assert_eq!([read(&[1024; 20], ROOM), read(&[9; 20], Room { longest: 1024, ..ROOM })], [2, 2]);
        // More than ever fits goes alone, and not beside others.
        assert_eq!([read(&[9999; 2], ROOM), read(&[9999; 2], Room { rows: 1, ..ROOM })], [1, 0]);
    }

    #[test]
    fn what_writes_nothing_needs_no_row() {
        let labels = std::iter::repeat_n(Size { held: 9, read: 9, rows: 0 }, 20);
        assert_eq!(read_now(labels, Room { rows: 8, ..ROOM }), 8);
    }

    #[test]
    fn short_inputs_are_not_filled_up_to_long_ones_where_that_costs() {
        let lengths = [40, 39, 20, 19, 5];
        assert_eq!(read(&lengths, ROOM), 5);
        assert_eq!(read(&lengths, Room { pads: true, ..ROOM }), 3);
        assert_eq!(read(&lengths[3..], Room { pads: true, ..ROOM }), 1);
        // A prompt of which much is to be written holds more than a longer one.
        let prompts = [(200, 5), (100, 6), (60, 60)].map(|(held, read)| Size { held, read, rows: 1 });
        assert_eq!(read_now(prompts.into_iter(), Room { pads: true, ..ROOM }), 2);
    }
}
