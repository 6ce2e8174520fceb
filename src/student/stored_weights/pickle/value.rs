//! What a pickle's instructions make.

use std::cell::RefCell;
use std::rc::Rc;

use super::StoredTensor;

#[derive(Debug, Clone)]
pub enum Value {
    Nothing,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    /// With how deep it nests.
    Tuple(Rc<[Value]>, usize),
    Dict(Dict),
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<StoredTensor>),
}

/// A dict as it fills; the memo may put it into itself.
pub type Dict = Rc<RefCell<Vec<(Value, Value)>>>;

/// Numbers that lie elsewhere in the file.
#[derive(Debug)]
pub struct Storage {
    pub storage_type: Rc<str>,
    pub key: Rc<str>,
    pub numel: i64,
}

impl Value {
    /// Tuples within tuples.
    pub fn depth(&self) -> usize {
        if let Self::Tuple(_, depth) = self { *depth } else { 0 }
    }

    /// A tuple of integers.
    pub fn ints(&self) -> Option<Vec<i64>> {
        let Self::Tuple(items, _) = self else { return None };
        items.iter().map(|item| if let Self::Int(value) = item { Some(*value) } else { None }).collect()
    }
}
