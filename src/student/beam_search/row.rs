//! What one row's search has said: the beginnings it goes on from, and what has ended.

use super::Hypothesis;

/// One row of a search.
pub struct Row {
    /// Its place among the inputs.
    pub place: usize,
    running: Vec<Beginning>,
    /// Best first; none where nothing has ended yet.
    ended: Vec<Option<Vec<i64>>>,
    can_go_on: bool,
}

struct Beginning {
    ids: Vec<i64>,
    /// The beam that it goes on from.
    source: usize,
}

/// A beginning with one more token.
pub struct Candidate {
    ids: Vec<i64>,
    source: usize,
    /// Whether nothing follows it.
    pub ends: bool,
}

impl Row {
    /// A search that has said nothing.
    pub fn new(place: usize, beams: usize) -> Self {
        let beginning = |source| Beginning { ids: Vec::new(), source };
        Self { place, running: (0..beams).map(beginning).collect(), ended: vec![None; beams], can_go_on: true }
    }

    /// What stands at these places of (beams * vocabulary).
    pub fn candidates(&self, places: &[i64], vocabulary: i64, ends: impl Fn(&[i64]) -> bool) -> Vec<Candidate> {
        let candidate = |place: &i64| {
            let source = usize::try_from(place / vocabulary).expect("topk counts from 0");
            let ids = [self.running[source].ids.as_slice(), &[place % vocabulary]].concat();
            Candidate { ends: ends(&ids), ids, source }
        };
        places.iter().map(candidate).collect()
    }

    /// Goes on from the candidates at the places `running`, and keeps what is at the places `ended` among what it had, followed
    /// by the candidates.
    pub fn choose(&mut self, candidates: &[Candidate], running: &[usize], ended: &[usize]) {
        let beams = self.running.len();
        let had = std::mem::take(&mut self.ended);
        let kept = |&place: &usize| match place.checked_sub(beams) {
            None => had[place].clone(),
            // What is not among the best is no end, and stands here only where there is nothing else.
            Some(place) => candidates.get(place).filter(|one| one.ends && place < beams).map(|one| one.ids.clone()),
        };
        self.ended = ended.iter().map(kept).collect();
        let beginning = |&place: &usize| {
            let Candidate { ids, source, .. } = &candidates[place];
            Beginning { ids: ids.clone(), source: *source }
        };
        self.running = running.iter().map(beginning).collect();
        self.can_go_on = candidates.iter().any(|candidate| !candidate.ends);
    }

    /// Whether any beginning has not ended.
    pub fn can_go_on(&self) -> bool {
        self.can_go_on
    }

    /// Whether as many answers have ended as there are beams.
    pub fn is_full(&self) -> bool {
        self.ended.iter().all(Option::is_some)
    }

    /// The beam that each beginning goes on from.
    pub fn sources(&self) -> impl Iterator<Item = usize> {
        self.running.iter().map(|beginning| beginning.source)
    }

    /// Each beginning's last token.
    pub fn newest(&self) -> impl Iterator<Item = i64> {
        self.running.iter().filter_map(|beginning| beginning.ids.last().copied())
    }

    /// What has ended, with its scores.
    pub fn hypotheses(&self, scores: &[f32]) -> Vec<Hypothesis> {
        let ended = self.ended.iter().zip(scores);
        let ended = ended.filter_map(|(ids, score)| Some(Hypothesis { ids: ids.clone()?, score: f64::from(*score) }));
        ended.collect()
    }
}
