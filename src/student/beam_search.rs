//! Beam search: the likeliest beginnings of an answer are gone on from side by side, and what ends is kept by its score.
//!
//! It finds what `transformers` 4.57 finds (`GenerationMixin._beam_search`). Of equal scores libtorch's `topk` takes one or
//! the other by where they stand, so the choices here are made by `topk` too, on the same numbers in the same order.

mod row;

use tch::{Kind, Tensor, no_grad};

use self::row::{Candidate, Row};
use super::T5;
use super::batch::size;
use super::decoding::Decoding;
use super::generation::{Enough, host};

/// Added to a score that must not be chosen. In fp32 it swallows the score.
const OUT: f64 = -1e9;

/// How a search goes. Its words and defaults are those of `transformers`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamSearch {
    /// Beginnings that are gone on from, at least 1.
    pub beams: usize,
    /// Tokens of an answer, `</s>` included, at most.
    pub max_new_tokens: usize,
    /// `</s>` is not said before so many tokens.
    pub min_new_tokens: usize,
    /// The power of the length that a log-probability is divided by: above 0 favors long answers.
    pub length_penalty: f64,
    /// When a row's search is over.
    pub early_stopping: EarlyStopping,
}

impl Default for BeamSearch {
    fn default() -> Self {
        Self {
            beams: 4,
            max_new_tokens: 20,
            min_new_tokens: 0,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Unlikely,
        }
    }
}

/// When the search of a row that has as many ended answers as beams is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When the best beginning, were it to end now, would be worse than all of them (`false`).
    Unlikely,
    /// At once (`true`).
    Full,
    /// When no beginning can become better than one of them, however it goes on (`"never"`).
    Impossible,
}

/// An answer that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The tokens, with `</s>` at the end unless the limit came first; without the start token.
    pub ids: Vec<i64>,
    /// The sum of the tokens' log-probabilities, divided by the length to the power of the penalty.
    pub score: f64,
}

/// The best answers to each row of `input_ids` (rows, length) with its `mask` (rows, length), as many as there are beams, best
/// first; none where the student's scores are not numbers.
pub fn search(model: &T5, input_ids: &Tensor, mask: &Tensor, settings: &BeamSearch) -> Vec<Vec<Hypothesis>> {
    no_grad(|| {
        let encoded = model.encode(input_ids, mask);
        let mut found = vec![Vec::new(); usize::try_from(encoded.size()[0]).unwrap_or_default()];
        let mut search = Search::new(model, &encoded, mask, *settings);
        while !search.is_empty() {
            for (row, hypotheses) in search.step(&|_, _| false) {
                found[row] = hypotheses;
            }
        }
        found
    })
}

/// Searches that go on side by side, one a row. Runs under `no_grad`.
pub struct Search<'a> {
    model: &'a T5,
    settings: BeamSearch,
    decoding: Decoding<'a>,
    rows: Vec<Row>,
    /// The newest token of each beginning: (rows * beams)
    tokens: Tensor,
    /// The beginnings' log-probabilities, best first: (rows, beams) in fp32
    running_scores: Tensor,
    /// The scores of what has ended, best first, `OUT` where nothing has: (rows, beams) in fp32
    ended_scores: Tensor,
    /// Tokens said so far.
    length: usize,
}

impl<'a> Search<'a> {
    /// A search for each input: `encoded` (rows, length, d_model) is what the encoder made of them, with their `mask` (rows, length).
    pub fn new(model: &'a T5, encoded: &Tensor, mask: &Tensor, settings: BeamSearch) -> Self {
        let (rows, beams, device) = (encoded.size()[0], size(settings.beams), encoded.device());
        let running_scores = Tensor::zeros([rows, beams], (Kind::Float, device));
        // All beams begin alike: only the first is gone on from, or they would stay alike.
        let _ = running_scores.narrow(1, 1, beams - 1).fill_(OUT);
        let places = 0..usize::try_from(rows).unwrap_or_default();
        Self {
            model,
            settings,
            decoding: Decoding::new(model, encoded, mask, settings.max_new_tokens, beams),
            rows: places.map(|place| Row::new(place, settings.beams)).collect(),
            tokens: Tensor::full([rows * beams], model.config().decoder_start_token_id, (Kind::Int64, device)),
            running_scores,
            ended_scores: Tensor::full([rows, beams], OUT, (Kind::Float, device)),
            length: 0,
        }
    }

    /// Whether nothing is left to find.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Beginnings that are computed at a step.
    pub fn len(&self) -> usize {
        self.rows.len() * self.settings.beams
    }

    /// One more token of every beginning; the rows whose search is over with it, by their places, and what was found for each, best
    /// first. A row also ends what it says where it has said `enough`.
    pub fn step(&mut self, enough: &Enough<'_>) -> Vec<(usize, Vec<Hypothesis>)> {
        let beams = size(self.settings.beams);
        // As many as could end, and as many again to go on with.
        let (scores, places) = self.totals().topk(2 * beams, -1, true, true);
        self.length += 1;
        let candidates = self.candidates(&places, enough);

        let ends = self.marks(&candidates, |_, candidate| candidate.ends);
        let (running_scores, running) = (&scores + ends * OUT).topk(beams, -1, true, true);
        // Only what is among the best is kept when it ends.
        let is_no_end = self.marks(&candidates, |place, candidate| place >= self.settings.beams || !candidate.ends);
        let offered = scores / self.penalty(self.length) + is_no_end * OUT;
        let (ended_scores, ended) = Tensor::cat(&[&self.ended_scores, &offered], 1).topk(beams, -1, true, true);

        (self.running_scores, self.ended_scores) = (running_scores, ended_scores);
        let chosen = places_by_row(&running).into_iter().zip(places_by_row(&ended));
        for ((row, candidates), (running, ended)) in self.rows.iter_mut().zip(&candidates).zip(chosen) {
            row.choose(candidates, &running, &ended);
        }
        self.go_on()
    }

    /// The log-probability of every beginning with every next token: (rows, beams * vocabulary) in fp32.
    fn totals(&mut self) -> Tensor {
        let logits = self.model.logits(&self.decoding.step(&self.tokens)).to_kind(Kind::Float);
        let mut log_probabilities = logits.log_softmax(-1, Kind::Float);
        if self.length < self.settings.min_new_tokens {
            let end = self.model.config().eos_token_id;
            let _ = log_probabilities.narrow(-1, end, 1).fill_(f64::NEG_INFINITY);
        }
        log_probabilities += self.running_scores.view([-1, 1]);
        log_probabilities.view([size(self.rows.len()), -1])
    }

    /// What stands at the places of `totals` that were chosen (rows, 2 * beams).
    fn candidates(&self, places: &Tensor, enough: &Enough<'_>) -> Vec<Vec<Candidate>> {
        let (end, vocabulary) = (self.model.config().eos_token_id, self.model.config().vocab_size);
        let is_last = self.length >= self.settings.max_new_tokens;
        let places: Vec<i64> = host(places);
        let of_row = |(row, places): (&Row, &[i64])| {
            let ends = |said: &[i64]| is_last || said.last() == Some(&end) || enough(row.place, said);
            row.candidates(places, vocabulary, ends)
        };
        self.rows.iter().zip(places.chunks(2 * self.settings.beams)).map(of_row).collect()
    }

    /// 1 for the candidates that something holds for, else 0: (rows, 2 * beams) in fp32.
    fn marks(&self, candidates: &[Vec<Candidate>], holds: impl Fn(usize, &Candidate) -> bool) -> Tensor {
        let mark = |(place, candidate)| if holds(place, candidate) { 1.0_f32 } else { 0.0 };
        let marks: Vec<f32> = candidates.iter().flat_map(|row| row.iter().enumerate().map(mark)).collect();
        Tensor::from_slice(&marks).view([size(candidates.len()), -1]).to_device(self.tokens.device())
    }

    fn penalty(&self, length: usize) -> f64 {
        (length as f64).powf(self.settings.length_penalty)
    }

    /// Takes leave of the rows that are over, and puts the caches of the others into the order of their beginnings.
    fn go_on(&mut self) -> Vec<(usize, Vec<Hypothesis>)> {
        let scores: (Vec<f32>, Vec<f32>) = (host(&self.running_scores), host(&self.ended_scores));
        let (mut going, mut found) = (Vec::new(), Vec::new());
        for (place, row) in self.rows.iter().enumerate() {
            let of_row = place * self.settings.beams..(place + 1) * self.settings.beams;
            let (best_running, ended) = (scores.0[of_row.start], &scores.1[of_row]);
            if self.goes_on(row, best_running, ended) {
                going.push(place);
            } else {
                found.push((row.place, row.hypotheses(ended)));
            }
        }
        self.follow(&going);
        found
    }

    /// Whether a row could still say something that would be kept; not where its scores are not numbers.
    fn goes_on(&self, row: &Row, best_running: f32, ended: &[f32]) -> bool {
        let longest = match self.settings.early_stopping {
            EarlyStopping::Impossible if self.settings.length_penalty > 0.0 => self.settings.max_new_tokens,
            _ => self.length,
        };
        #[expect(clippy::cast_possible_truncation, reason = "libtorch divides what this is compared with in fp32")]
        let best_possible = best_running / self.penalty(longest) as f32;
        // What is not full yet takes anything: it has a score of `OUT` in it.
        let to_beat = ended.iter().copied().fold(f32::INFINITY, f32::min);
        let is_enough = row.is_full() && self.settings.early_stopping == EarlyStopping::Full;
        row.can_go_on() && !is_enough && best_possible > to_beat
    }

    fn follow(&mut self, going: &[usize]) {
        let beams = self.settings.beams;
        let of_row = |row: usize| self.rows[row].sources().map(move |beam| size(row * beams + beam));
        let sources: Vec<i64> = going.iter().copied().flat_map(of_row).collect();
        let tokens: Vec<i64> = going.iter().flat_map(|row| self.rows[*row].newest()).collect();
        let device = self.tokens.device();
        self.tokens = Tensor::from_slice(&tokens).to_device(device);
        if !sources.iter().copied().eq(0..size(self.rows.len() * beams)) {
            self.decoding.follow(&sources);
        }
        if going.len() < self.rows.len() {
            let places: Vec<i64> = going.iter().map(|row| size(*row)).collect();
            self.decoding.keep_inputs(&places);
            let places = Tensor::from_slice(&places).to_device(device);
            self.running_scores = self.running_scores.index_select(0, &places);
            self.ended_scores = self.ended_scores.index_select(0, &places);
            let mut place = 0..;
            self.rows.retain(|_| place.next().is_some_and(|place| going.contains(&place)));
        }
    }
}

/// A matrix of places, row by row.
fn places_by_row(places: &Tensor) -> Vec<Vec<usize>> {
    let width = places.size()[1];
    let places: Vec<i64> = host(places);
    let row = |row: &[i64]| row.iter().map(|place| usize::try_from(*place).expect("topk counts from 0")).collect();
    places.chunks(usize::try_from(width).unwrap_or(1)).map(row).collect()
}
