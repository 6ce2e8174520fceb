//! Greedy decoding: the likeliest next token until `</s>`, or until a row has said enough. Rows leave as they end, and others may
//! begin between two steps.

use tch::{Kind, Tensor, no_grad};

use super::T5;
use super::batch::size;
use super::decoding::Decoding;

/// What a student said to one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generated {
    /// The tokens, with `</s>` at the end unless the limit came first; without the start token.
    pub ids: Vec<i64>,
    /// The sum of the tokens' log-probabilities, `</s>` included.
    pub log_probability: f64,
}

/// Whether a row, by its name, has said enough with these tokens. Asked after each of its tokens.
pub type Enough<'a> = dyn Fn(usize, &[i64]) -> bool + 'a;

/// A row that begins.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// What it is called until it has ended; the caller's to choose.
    pub name: usize,
    /// Its tokens before which it cannot say `</s>`.
    pub least: usize,
}

/// Greedy decoding of each row of `input_ids` (rows, length) with its `mask` (rows, length), at most `max_new_tokens`
/// each, in the order of the rows.
pub fn greedy(model: &T5, input_ids: &Tensor, mask: &Tensor, max_new_tokens: usize) -> Vec<Generated> {
    no_grad(|| {
        let encoded = model.encode(input_ids, mask);
        let mut outputs = vec![Generated::default(); usize::try_from(encoded.size()[0]).unwrap_or_default()];
        let beginnings: Vec<Beginning> = (0..outputs.len()).map(|name| Beginning { name, least: 0 }).collect();
        let mut batch = Greedy::new(model, max_new_tokens.max(1));
        batch.join(&encoded, mask, &beginnings);
        while max_new_tokens > 0 && !batch.is_empty() {
            for (row, said) in batch.step(&|_, said| said.len() >= max_new_tokens) {
                outputs[row] = said;
            }
        }
        outputs
    })
}

/// Rows that are gone on from side by side. Runs under `no_grad`.
pub struct Greedy<'model> {
    model: &'model T5,
    capacity: i64,
    /// None while there are no rows.
    decoding: Option<Decoding<'model>>,
    rows: Vec<Row>,
    /// The newest token of each row: (rows)
    tokens: Tensor,
}

struct Row {
    beginning: Beginning,
    said: Generated,
    /// Whether its answer was given away: it is computed on for nothing until it is worth while to leave it out.
    ended: bool,
}

impl<'model> Greedy<'model> {
    /// No rows yet. There is room for `capacity` tokens of each before buffers grow.
    pub fn new(model: &'model T5, capacity: usize) -> Self {
        let tokens = Tensor::empty([0], (Kind::Int64, model.device()));
        Self { model, capacity: size(capacity), decoding: None, rows: Vec::new(), tokens }
    }

    /// Whether nothing is left to say.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that are computed at a step.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows begin, as many as inputs: `encoded` (inputs, length, d_model) is what the encoder made of them, with their `mask`
    /// (inputs, length).
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, beginnings: &[Beginning]) {
        self.leave_ended(1);
        match &mut self.decoding {
            Some(decoding) => decoding.join(encoded, mask),
            None => self.decoding = Some(Decoding::new(self.model, encoded, mask, self.capacity, 1)),
        }
        let row = |beginning: &Beginning| Row { beginning: *beginning, said: Generated::default(), ended: false };
        self.rows.extend(beginnings.iter().map(row));
        let start = self.model.config().decoder_start_token_id;
        let starts = Tensor::full([size(beginnings.len())], start, (Kind::Int64, self.tokens.device()));
        self.tokens = Tensor::cat(&[&self.tokens, &starts], 0);
    }

    /// One more token of every row; the rows that have ended with it.
    pub fn step(&mut self, enough: &Enough<'_>) -> Vec<(usize, Generated)> {
        let Some(decoding) = &mut self.decoding else { return Vec::new() };
        let mut logits = self.model.logits(&decoding.step(&self.tokens)).to_kind(Kind::Float);
        let end = self.model.config().eos_token_id;
        self.forbid(&mut logits, end);
        self.say(&logits);
        let mut ended = Vec::new();
        for row in self.rows.iter_mut().filter(|row| !row.ended) {
            row.ended = row.said.ids.last() == Some(&end) || enough(row.beginning.name, &row.said.ids);
            if row.ended {
                ended.push((row.beginning.name, std::mem::take(&mut row.said)));
            }
        }
        // Copying the caches costs about a step; it pays when a quarter of the rows would be computed for nothing.
        self.leave_ended(self.rows.len().div_ceil(4));
        ended
    }

    /// Takes a token from the choices of the rows that have not said their least.
    fn forbid(&self, logits: &mut Tensor, token: i64) {
        let unfinished = |row: &Row| row.said.ids.len() < row.beginning.least;
        let rows = (0..).zip(&self.rows).filter(|(_, row)| unfinished(row)).map(|(place, _)| place);
        let rows: Vec<i64> = rows.collect();
        if !rows.is_empty() {
            let rows = Tensor::from_slice(&rows).to_device(logits.device());
            let _ = logits.select(1, token).index_fill_(0, &rows, f64::NEG_INFINITY);
        }
    }

    /// Chooses each row's next token by its `logits` (rows, vocabulary) in fp32.
    fn say(&mut self, logits: &Tensor) {
        let (best, tokens) = logits.max_dim(-1, false);
        let log_probabilities = host::<f64>(&(best - logits.logsumexp([-1], false)).to_kind(Kind::Double));
        for ((row, token), log_probability) in self.rows.iter_mut().zip(host::<i64>(&tokens)).zip(log_probabilities) {
            row.said.ids.push(token);
            row.said.log_probability += log_probability;
        }
        self.tokens = tokens;
    }

    /// Computes rows that have ended no longer, where they are so many, or no others.
    fn leave_ended(&mut self, at_least: usize) {
        let going = (0..).zip(&self.rows).filter(|(_, row)| !row.ended).map(|(place, _)| place);
        let going: Vec<i64> = going.collect();
        if going.is_empty() {
            *self = Self { capacity: self.capacity, ..Self::new(self.model, 0) };
        } else if let Some(decoding) = self.decoding.as_mut().filter(|_| going.len() + at_least <= self.rows.len()) {
            decoding.follow(&going);
            decoding.keep_inputs(&going);
            self.tokens = self.tokens.index_select(0, &Tensor::from_slice(&going).to_device(self.tokens.device()));
            self.rows.retain(|row| !row.ended);
        }
    }
}

/// A flat tensor's numbers.
pub(super) fn host<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    values
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::domain::FromScratch;
    use crate::student::batch::pad;
    use crate::student::{T5Config, initial_weights};

    fn model() -> T5 {
        let shape =
            FromScratch { d_model: 32, d_kv: 8, d_ff: 48, num_layers: 2, num_heads: 4, ..FromScratch::default() };
        let config = T5Config::from_scratch(&shape, 90);
        T5::new(&config, &initial_weights(&config, 11)).unwrap()
    }

    /// Row 4 reads 5 tokens and writes 15, and so on.
    fn input(row: usize) -> Vec<i64> {
        (0..=row).map(|at| size(5 + (7 * at + 13 * row) % 80)).collect()
    }

    fn to_write(row: usize) -> usize {
        3 * (row + 1)
    }

    /// What rows write that begin before these steps, and how many rows each step computes.
    fn write(model: &T5, joining: &[(usize, &[usize])]) -> (Vec<(usize, Generated)>, Vec<usize>) {
        let _no_gradients = tch::no_grad_guard();
        let (mut batch, mut written, mut sizes) = (Greedy::new(model, 2), Vec::new(), Vec::new());
        let last = joining.iter().map(|(step, _)| *step).max().unwrap_or_default();
        while sizes.len() <= last || !batch.is_empty() {
            for (_, rows) in joining.iter().filter(|(step, _)| *step == sizes.len()) {
                let (ids, mask) = pad(&rows.iter().map(|row| input(*row)).collect::<Vec<_>>(), 0, Device::Cpu);
                let beginnings = rows.iter().map(|row| Beginning { name: *row, least: to_write(*row) });
                batch.join(&model.encode(&ids, &mask), &mask, &beginnings.collect::<Vec<_>>());
            }
            sizes.push(batch.len());
            written.extend(batch.step(&|row, said| said.len() >= to_write(row)));
        }
        (written, sizes)
    }

    #[test]
    fn rows_that_join_and_leave_between_steps_write_what_each_writes_alone() {
        let model = model();
        // Row 6 writes 21 tokens; the others come and go beside it, and after a pause rows begin anew.
        let joining: [(usize, &[usize]); 5] = [(0, &[6, 0]), (1, &[2]), (4, &[1, 5, 3]), (19, &[4, 7]), (50, &[8, 9])];
        let (written, sizes) = write(&model, &joining);
        assert_eq!(written.len(), 10);
        for (row, said) in &written {
            let alone = &write(&model, &[(0, &[*row])]).0[0].1;
            assert_eq!((said.ids.len(), &said.ids), (to_write(*row), &alone.ids), "row {row}");
            let off = (said.log_probability - alone.log_probability).abs();
            assert!(off < 1e-4, "row {row}: {off}");
        }
        assert!(written.iter().any(|(row, said)| said.ids.iter().any(|id| *id != said.ids[0]) && *row > 0));
        // Row 0 had left before the others came, and nobody wrote between 44 and 50.
        assert_eq!(sizes[..6], [2, 3, 3, 2, 5, 5], "{sizes:?}");
        assert_eq!((sizes[46], sizes[50]), (0, 2), "{sizes:?}");
    }

    #[test]
    fn who_joins_late_and_has_little_to_say_is_ready_first() {
        let order: Vec<usize> = write(&model(), &[(0, &[6]), (5, &[1])]).0.into_iter().map(|(row, _)| row).collect();
        assert_eq!(order, [1, 6]);
    }
}
