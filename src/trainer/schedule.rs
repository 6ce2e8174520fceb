//! The course of the learning rate.

use crate::domain::{Hyperparameters, Schedule};

/// Peak rate where each weight's step is scaled by that weight.
const SCALED_RATE: f64 = 1e-2;

/// How many steps there are and how fast each one goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// Optimizer steps in all.
    pub steps: i64,
    peak: f64,
    warmup: f64,
    schedule: Schedule,
}

impl Course {
    /// The course that a request asks for, over this many training rows.
    pub fn new(hyperparameters: &Hyperparameters, scale_by_weight: bool, rows: usize) -> Self {
        let usual = if scale_by_weight { SCALED_RATE } else { Hyperparameters::PRETRAINED_RATE };
        Self {
            steps: hyperparameters.steps(rows),
            peak: hyperparameters.learning_rate.unwrap_or(usual),
            warmup: f64::from(hyperparameters.warmup_steps),
            schedule: hyperparameters.schedule,
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: i64) -> f64 {
        let step = step as f64;
        if step < self.warmup {
            return self.peak * (step + 1.0) / self.warmup;
        }
        let left = (1.0 - (step - self.warmup) / (self.steps as f64 - self.warmup).max(1.0)).clamp(0.0, 1.0);
        self.peak
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Linear => left,
                Schedule::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * left).cos()),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(schedule: Schedule) -> Course {
        let hyperparameters = Hyperparameters {
            schedule,
            warmup_steps: 10,
            max_steps: Some(110),
            learning_rate: Some(1.0),
            ..Hyperparameters::default()
        };
        Course::new(&hyperparameters, false, 1)
    }

    #[test]
    fn a_rate_rises_through_the_warm_up_and_then_falls_to_zero() {
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            let course = course(schedule);
            assert_eq!([course.rate(0), course.rate(9), course.rate(10)], [0.1, 1.0, 1.0]);
            assert!((course.rate(60) - 0.5).abs() < 1e-9);
            assert!(course.rate(110).abs() < 1e-9);
        }
        assert_eq!(course(Schedule::Constant).rate(109), 1.0);
    }

    #[test]
    fn epochs_become_steps() {
        let hyperparameters = Hyperparameters { epochs: Some(2.0), batch_size: 8, ..Hyperparameters::default() };
        assert_eq!(Course::new(&hyperparameters, false, 10).steps, 3);
    }
}
