//! Adafactor's second moments: a matrix's are kept as one number a row and one a column (Shazeer and Stern, 2018).

use tch::{Kind, Tensor};

use super::parameters::Parameters;
use crate::student::Weights;

/// Keeps squared gradients above zero (epsilon 1).
const EPSILON: f64 = 1e-30;
/// A piece's step is scaled down to this root mean square.
const MOST_SIZE: f64 = 1.0;
/// The moments' decay at step t is `1 - t^-0.8`.
const DECAY_POWER: f64 = -0.8;

/// The state of Adafactor without momentum.
pub struct Adafactor {
    moments: Vec<Moments>,
}

enum Moments {
    /// Of a matrix `(rows, columns)`: means over the columns `(rows)` and over the rows `(columns)`.
    Factored { rows: Tensor, columns: Tensor },
    /// Of a vector.
    Whole(Tensor),
}

impl Adafactor {
    /// The state before the first step.
    pub fn new(parameters: &Parameters) -> Self {
        let moments = |weight: Tensor| match weight.size().as_slice() {
            [rows, columns] => {
                let options = (Kind::Float, weight.device());
                Moments::Factored { rows: Tensor::zeros([*rows], options), columns: Tensor::zeros([*columns], options) }
            }
            _ => Moments::Whole(weight.zeros_like()),
        };
        Self { moments: parameters.pieces(parameters.values()).into_iter().map(moments).collect() }
    }

    /// The moments by name, sharing their memory.
    pub fn tensors(&self, parameters: &Parameters) -> Weights {
        let of_piece = |(name, moments): (&str, &Moments)| match moments {
            Moments::Factored { rows, columns } => {
                vec![
                    (format!("{name}.rows"), rows.shallow_clone()),
                    (format!("{name}.columns"), columns.shallow_clone()),
                ]
            }
            Moments::Whole(whole) => vec![(format!("{name}.whole"), whole.shallow_clone())],
        };
        parameters.names().zip(&self.moments).flat_map(of_piece).collect()
    }

    /// The step at rate 1 for the gradient of the weight of a number.
    pub fn direction(&mut self, number: usize, gradient: &Tensor, steps: i32) -> Tensor {
        let decay = 1.0 - f64::from(steps).powf(DECAY_POWER);
        bounded(self.moments[number].follow(gradient, decay))
    }
}

impl Moments {
    /// Takes a gradient in and divides it by the root of the moments.
    fn follow(&mut self, gradient: &Tensor, decay: f64) -> Tensor {
        let square = gradient * gradient + EPSILON;
        match self {
            Self::Factored { rows, columns } => {
                let _ = rows.lerp_(&square.mean_dim(-1, false, Kind::Float), 1.0 - decay);
                let _ = columns.lerp_(&square.mean_dim(-2, false, Kind::Float), 1.0 - decay);
                let row_factor = (&*rows / rows.mean(Kind::Float)).rsqrt().unsqueeze(-1);
                gradient * row_factor * columns.rsqrt().unsqueeze(0)
            }
            Self::Whole(moments) => {
                let _ = moments.lerp_(&square, 1.0 - decay);
                gradient * moments.rsqrt()
            }
        }
    }
}

fn bounded(direction: Tensor) -> Tensor {
    let size = direction.norm().double_value(&[]) / (direction.numel() as f64).sqrt();
    direction * (MOST_SIZE / size.max(MOST_SIZE))
}
