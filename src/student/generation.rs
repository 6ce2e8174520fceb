//! Rows that are written side by side, a token each at a step, until `</s>` or until a row has said enough. Rows leave as they end,
//! and others may begin between two steps. How a row's tokens are chosen is its own affair (`choice`).

use tch::{Kind, Tensor, no_grad};

use super::T5;
use super::batch::size;
use super::choice::{self, Choosing, Scores, TokenScore, Wish};
use super::decoding::Decoding;

/// What a student said to one input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generated {
    /// The tokens, with `</s>` at the end unless the limit came first; without the start token.
    pub ids: Vec<i64>,
    /// The sum of the tokens' log-probabilities, `</s>` included; 0 where no scores are wanted, and not a number where the student's
    /// scores are none.
    pub log_probability: f64,
    /// Each token's score, where they are wanted.
    pub scores: Vec<TokenScore>,
}

/// Whether a row of a search, by its name, has said enough with these tokens. Asked of each candidate.
pub type Enough<'a> = dyn Fn(usize, &[i64]) -> bool + 'a;

/// Told what a row, by its name, has said with its newest token, unless it has ended of itself; whether that is enough.
pub type Heard<'a> = dyn FnMut(usize, &Generated) -> bool + 'a;

/// A row that begins.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// What it is called until it has ended; the caller's to choose.
    pub name: usize,
    /// Its tokens before which it cannot say `</s>`.
    pub least: usize,
    /// Tokens after which whoever hears it has had enough: there is room for the first of them from the start.
    pub expected: usize,
    /// How its tokens are chosen.
    pub choosing: Choosing,
    /// What is to be known of their scores.
    pub scores: Scores,
}

/// Greedy decoding of each row of `input_ids` (rows, length) with its `mask` (rows, length), at most `max_new_tokens`
/// each, in the order of the rows.
pub fn greedy(model: &T5, input_ids: &Tensor, mask: &Tensor, max_new_tokens: usize) -> Vec<Generated> {
    no_grad(|| {
        let encoded = model.encode(input_ids, mask);
        let mut outputs = vec![Generated::default(); usize::try_from(encoded.size()[0]).unwrap_or_default()];
        let beginning =
            |name| Beginning { name, expected: max_new_tokens, scores: Scores::Sum, ..Beginning::default() };
        let mut batch = Generation::new(model);
        batch.join(&encoded, mask, (0..outputs.len()).map(beginning).collect());
        while max_new_tokens > 0 && !batch.is_empty() {
            for (row, said) in batch.step(&mut |_, said| said.ids.len() >= max_new_tokens) {
                outputs[row] = said;
            }
        }
        outputs
    })
}

/// Rows that are gone on from side by side. Runs under `no_grad`.
pub struct Generation<'model> {
    model: &'model T5,
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

impl<'model> Generation<'model> {
    /// No rows yet.
    pub fn new(model: &'model T5) -> Self {
        let tokens = Tensor::empty([0], (Kind::Int64, model.device()));
        Self { model, decoding: None, rows: Vec::new(), tokens }
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
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, beginnings: Vec<Beginning>) {
        self.leave_ended(1);
        let expected = beginnings.iter().map(|beginning| beginning.expected).max().unwrap_or_default();
        match &mut self.decoding {
            Some(decoding) => decoding.join(encoded, mask, expected),
            None => self.decoding = Some(Decoding::new(self.model, encoded, mask, expected, 1)),
        }
        let start = self.model.config().decoder_start_token_id;
        let starts = Tensor::full([size(beginnings.len())], start, (Kind::Int64, self.tokens.device()));
        self.tokens = Tensor::cat(&[&self.tokens, &starts], 0);
        let row = |beginning| Row { beginning, said: Generated::default(), ended: false };
        self.rows.extend(beginnings.into_iter().map(row));
    }

    /// One more token of every row; the rows that have ended with it.
    pub fn step(&mut self, heard: &mut Heard<'_>) -> Vec<(usize, Generated)> {
        let Some(decoding) = &mut self.decoding else { return Vec::new() };
        let hidden = decoding.step(&self.tokens);
        self.say(&hidden);
        let end = self.model.config().eos_token_id;
        let mut ended = Vec::new();
        for row in self.rows.iter_mut().filter(|row| !row.ended) {
            row.ended = row.said.ids.last() == Some(&end) || heard(row.beginning.name, &row.said);
            if row.ended {
                ended.push((row.beginning.name, std::mem::take(&mut row.said)));
            }
        }
        let is_free = self.decoding.as_ref().is_some_and(Decoding::leaving_is_free);
        // Copying the caches costs about a step; it pays when a quarter of the rows would be computed for nothing.
        self.leave_ended(if is_free { 1 } else { self.rows.len().div_ceil(4) });
        ended
    }

    /// Chooses each row's next token after its `hidden` state (rows, d_model).
    fn say(&mut self, hidden: &Tensor) {
        let wishes: Vec<Wish<'_>> = self.rows.iter().map(Row::wish).collect();
        let choices = match self.likeliest(hidden, &wishes) {
            Some(likeliest) => choice::choose_likeliest(likeliest, &wishes),
            None => choice::choose(&self.allowed_logits(hidden), &wishes),
        };
        let tokens: Vec<i64> = choices.iter().map(|choice| choice.token).collect();
        self.tokens = Tensor::from_slice(&tokens).to_device(hidden.device());
        for (row, choice) in self.rows.iter_mut().zip(choices) {
            row.said.ids.push(choice.token);
            row.said.log_probability += choice.score.log_probability;
            if matches!(row.beginning.scores, Scores::Each(_)) {
                row.said.scores.push(choice.score);
            }
        }
    }

    /// The likeliest tokens with their scores, where nothing else is wanted and they are found without the others'.
    fn likeliest(&self, hidden: &Tensor, wishes: &[Wish<'_>]) -> Option<impl Iterator<Item = (i64, f64)>> {
        let prepacked = self.model.prepacked.as_ref().filter(|_| choice::wants_likeliest_alone(wishes))?;
        let end = self.model.config().eos_token_id;
        let barred: Vec<i64> = self.rows.iter().map(|row| if row.may_end() { -1 } else { end }).collect();
        let found: Vec<f64> = host(&prepacked.likeliest(hidden, &Tensor::from_slice(&barred)));
        let (tokens, scores) = found.split_at(wishes.len());
        #[expect(clippy::cast_possible_truncation, reason = "a token is a small whole number")]
        let tokens: Vec<i64> = tokens.iter().map(|token| *token as i64).collect();
        Some(tokens.into_iter().zip(scores.to_vec()))
    }

    /// Scores of the vocabulary (rows, vocabulary) in fp32, where the rows that have not said their least cannot end.
    fn allowed_logits(&self, hidden: &Tensor) -> Tensor {
        let logits = self.model.logits(hidden).to_kind(Kind::Float);
        let rows = (0..).zip(&self.rows).filter(|(_, row)| !row.may_end()).map(|(place, _)| place);
        let rows: Vec<i64> = rows.collect();
        if !rows.is_empty() {
            let rows = Tensor::from_slice(&rows).to_device(logits.device());
            let end = self.model.config().eos_token_id;
            let _ = logits.select(1, end).index_fill_(0, &rows, f64::NEG_INFINITY);
        }
        logits
    }

    /// Computes rows that have ended no longer, where they are so many, or no others.
    fn leave_ended(&mut self, at_least: usize) {
        let going = (0..).zip(&self.rows).filter(|(_, row)| !row.ended).map(|(place, _)| place);
        let going: Vec<i64> = going.collect();
        if going.is_empty() {
            *self = Self::new(self.model);
        } else if let Some(decoding) = self.decoding.as_mut().filter(|_| going.len() + at_least <= self.rows.len()) {
            decoding.follow(&going);
            decoding.keep_inputs(&going);
            self.tokens = self.tokens.index_select(0, &Tensor::from_slice(&going).to_device(self.tokens.device()));
            self.rows.retain(|row| !row.ended);
        }
    }
}

impl Row {
    /// Whether it has said its least.
    fn may_end(&self) -> bool {
        self.said.ids.len() >= self.beginning.least
    }

    /// Nothing is wanted of a row that has ended.
    fn wish(&self) -> Wish<'_> {
        let Beginning { choosing, scores, .. } = &self.beginning;
        let (choosing, scores) = if self.ended { (&Choosing::Likeliest, Scores::None) } else { (choosing, *scores) };
        Wish { choosing, scores, position: self.said.ids.len() }
    }
}

/// A flat tensor's numbers.
pub(super) fn host<T: tch::kind::Element + Copy + Default>(tensor: &Tensor) -> Vec<T> {
    let mut values = vec![T::default(); tensor.numel()];
    tensor.contiguous().copy_data(&mut values, tensor.numel());
    values
}

#[cfg(test)]
#[path = "generation_tests.rs"]
mod tests;
