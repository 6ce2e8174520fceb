//! What is timed, and how.

use std::{path::Path, sync::Arc, time::Instant};

use crate::{
    cli::{
        CommandError,
        bench_rows::{in_turn, prompt},
    },
    inference::{CompletionRequest, Engine, InferenceError, ModelFiles, PredictionRequest, Prompt},
    student::StudentTokenizer,
};

/// An engine with its models and their inputs.
pub struct Bench {
    /// Who answers.
    pub engine: Engine,
    /// The same files under several names, asked in turn.
    pub models: Vec<ModelFiles>,
    /// What is asked.
    pub texts: Vec<String>,
}

/// Inputs of exactly so many tokens, end token included, made of texts after each other.
pub fn of_length(model: &Path, texts: &[String], tokens: usize) -> Result<Vec<Prompt>, CommandError> {
    let tokenizer = StudentTokenizer::from_dir(model)?;
    let ids: Vec<Vec<i64>> = texts.iter().map(|text| tokenizer.encode(text, usize::MAX).ids).collect();
    let prompt = |first: usize| {
        let words = ids.iter().cycle().skip(first).flat_map(|ids| &ids[..ids.len() - 1]);
        Prompt::Tokens(words.copied().take(tokens.max(1) - 1).chain([tokenizer.eos_id()]).collect())
    };
    Ok((0..texts.len()).map(prompt).collect())
}

impl Bench {
    /// Seconds: the median of so many runs, after one that is not timed for each model.
    pub async fn median(
        &self,
        runs: usize,
        work: impl AsyncFn(usize) -> Result<(), InferenceError>,
    ) -> Result<f64, InferenceError> {
        let mut seconds = Vec::with_capacity(runs);
        for run in 0..self.models.len() + runs {
            let start = Instant::now();
            work(run).await?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let mut timed = seconds.split_off(self.models.len());
        timed.sort_by(f64::total_cmp);
        Ok(timed.get(timed.len() / 2).copied().unwrap_or_default())
    }

    /// The texts as a student of rationales reads them.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.texts.iter().map(|text| Prompt::Text(prompt(text))).collect()
    }

    /// Writes so many tokens to each of some prompts.
    pub async fn generate(
        &self,
        run: usize,
        prompts: &[Prompt],
        batch: usize,
        tokens: usize,
    ) -> Result<(), InferenceError> {
        let request = |prompt: &Prompt| CompletionRequest {
            prompt: prompt.clone(),
            max_tokens: tokens,
            min_tokens: tokens,
            ..CompletionRequest::default()
        };
        let requests = in_turn(prompts, run, batch).map(request).collect();
        for written in self.engine.complete(self.model(run), requests).await? {
            let said = written?.completion_tokens;
            assert_eq!(said, tokens as u64, "as many tokens were asked for, no more and no less");
        }
        Ok(())
    }

    /// Weighs labels of some texts.
    pub async fn score(&self, run: usize, batch: usize, labels: &Arc<[String]>) -> Result<(), InferenceError> {
        let request = |input: &String| PredictionRequest {
            input: input.clone(),
            label_set: Some(Arc::clone(labels)),
            ..PredictionRequest::default()
        };
        let requests = in_turn(&self.texts, run, batch).map(request).collect();
        self.engine.predict(self.model(run), requests).await?.into_iter().try_for_each(|scored| scored.map(drop))
    }

    fn model(&self, run: usize) -> &ModelFiles {
        &self.models[run % self.models.len()]
    }
}
