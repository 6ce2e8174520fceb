//! Sequences end to end, without padding: what a step computes with, so that no product is spent on padding. Only attention
//! must know where one sequence ends.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor};

use super::batch::size;

/// Sequences of tokens that lie end to end.
pub struct Packed {
    /// (tokens) i64, on the device of the model.
    pub ids: Tensor,
    /// (sequences + 1) i64, on the processor: where each sequence starts, and where the last one ends.
    pub(super) starts: Tensor,
    lengths: Vec<i64>,
    /// Where each token lies in a grid's rows, and which places of a grid have a token: made once for all layers.
    places: OnceCell<Tensor>,
    mask: OnceCell<Tensor>,
}

impl Packed {
    /// Lays sequences end to end; at least one, and none of them empty.
    pub fn new(sequences: &[impl AsRef<[i64]>], device: Device) -> Self {
        let ids: Vec<i64> = sequences.iter().flat_map(|sequence| sequence.as_ref()).copied().collect();
        let lengths = sequences.iter().map(|sequence| size(sequence.as_ref().len())).collect();
        Self::of_lengths(Tensor::from_slice(&ids).to_device(device), lengths)
    }

    /// What lies in a grid `ids` (rows, length) i64 where its `mask` (rows, length) is true; the padding is at the rows' ends.
    pub fn from_grid(ids: &Tensor, mask: &Tensor) -> Self {
        let lengths = mask.sum_dim_intlist([1].as_slice(), false, Kind::Int64).to_device(Device::Cpu);
        let lengths = Vec::try_from(lengths).expect("a mask has two dimensions");
        Self::of_lengths(ids.masked_select(mask), lengths)
    }

    fn of_lengths(ids: Tensor, lengths: Vec<i64>) -> Self {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        let starts: Vec<i64> = std::iter::once(0).chain(ends).collect();
        Self { ids, starts: Tensor::from_slice(&starts), lengths, places: OnceCell::new(), mask: OnceCell::new() }
    }

    /// The longest sequence's tokens.
    pub fn longest(&self) -> i64 {
        self.lengths.iter().copied().max().unwrap_or_default()
    }

    /// Rows (tokens, width) in a grid (sequences, longest, width), zero where there is no token.
    pub fn grid(&self, rows: &Tensor) -> Tensor {
        let (count, width) = (size(self.lengths.len()) * self.longest(), rows.size()[1]);
        let grid = Tensor::zeros([count, width], (rows.kind(), rows.device()));
        grid.index_copy(0, self.places(), rows).view([-1, self.longest(), width])
    }

    /// The tokens' rows of a grid (sequences, longest, width), end to end again.
    pub fn ungrid(&self, grid: &Tensor) -> Tensor {
        grid.reshape([-1, grid.size()[2]]).index_select(0, self.places())
    }

    /// (sequences, longest) bool, true where a grid has a token.
    pub fn mask(&self) -> &Tensor {
        self.mask.get_or_init(|| {
            let lengths = Tensor::from_slice(&self.lengths).unsqueeze(1);
            Tensor::arange(self.longest(), (Kind::Int64, Device::Cpu)).lt_tensor(&lengths).to_device(self.ids.device())
        })
    }

    /// Where each token lies in a grid's rows.
    fn places(&self) -> &Tensor {
        self.places.get_or_init(|| {
            let longest = self.longest();
            let of_row = |(row, length): (i64, &i64)| (0..*length).map(move |at| row * longest + at);
            let places: Vec<i64> = (0..).zip(&self.lengths).flat_map(of_row).collect();
            Tensor::from_slice(&places).to_device(self.ids.device())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::batch::pad;

    #[test]
    fn a_grid_and_back_is_where_it_was() {
        let sequences = [vec![5, 6, 1], vec![1], vec![7, 1]];
        let packed = Packed::new(&sequences, Device::Cpu);
        assert_eq!(Vec::<i64>::try_from(&packed.starts).unwrap(), [0, 3, 4, 6]);
        let rows = packed.ids.to_kind(Kind::Float).unsqueeze(1);
        let grid = packed.grid(&rows);
        let (ids, mask) = pad(&sequences, 0, Device::Cpu);
        assert!(grid.squeeze_dim(2).to_kind(Kind::Int64).equal(&ids) && packed.mask().equal(&mask));
        assert!(packed.ungrid(&grid).equal(&rows));
        let again = Packed::from_grid(&ids, &mask);
        assert!(again.ids.equal(&packed.ids) && again.starts.equal(&packed.starts));
    }
}
