//! The part of Python's pickles that a state dict takes: names and tensors, nothing that runs.
//!
//! A pickle is a program that may call anything. This reader knows the instructions that `torch.save` writes for a state
//! dict (protocol 2) and three names that they may call; every other instruction or name is refused by name. Values nest no
//! deeper than [`MAX_DEPTH`], so a hostile file cannot exhaust the stack either.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How deep tuples may nest; those of a state dict nest two deep.
const MAX_DEPTH: usize = 16;

/// Where a tensor's numbers are: a storage, and a view of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The storage's type, such as `FloatStorage`.
    pub storage_type: String,
    /// The storage's name in the archive.
    pub key: String,
    /// Numbers in the storage.
    pub numel: i64,
    /// The first number of the tensor.
    pub offset: i64,
    /// The tensor's shape.
    pub size: Vec<i64>,
    /// Numbers from one entry of each dimension to the next.
    pub stride: Vec<i64>,
}

/// The tensors of a pickled state dict, by name.
///
/// # Errors
/// What is no state dict: an instruction, a name or a value that it does not take.
pub fn state_dict(bytes: &[u8]) -> Result<Vec<(String, StoredTensor)>, String> {
    let mut machine =
        Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), dicts: Vec::new() };
    let Value::Dict(entries) = machine.run()? else { return Err("its top is no dict of tensors".to_owned()) };
    let entries = entries.borrow();
    let tensor = |(name, value): &(Value, Value)| match (name, value) {
        (Value::Text(name), Value::Tensor(tensor)) => Ok((name.to_string(), StoredTensor::clone(tensor))),
        (Value::Text(name), _) => Err(format!("{name:?} is no tensor in it")),
        _ => Err("it has a key that is no text".to_owned()),
    };
    entries.iter().map(tensor).collect()
}

#[derive(Debug, Clone)]
enum Value {
    Nothing,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>, usize),
    Dict(Dict),
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<StoredTensor>),
}

/// A dict as it fills; the memo may put it into itself.
type Dict = Rc<RefCell<Vec<(Value, Value)>>>;

#[derive(Debug)]
struct Storage {
    storage_type: Rc<str>,
    key: Rc<str>,
    numel: i64,
}

impl Value {
    fn depth(&self) -> usize {
        if let Self::Tuple(_, depth) = self { *depth } else { 0 }
    }

    fn ints(&self) -> Option<Vec<i64>> {
        let Self::Tuple(items, _) = self else { return None };
        items.iter().map(|item| if let Self::Int(value) = item { Some(*value) } else { None }).collect()
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Every dict, so that each can be emptied by itself at the end.
    dicts: Vec<Dict>,
}

impl Drop for Machine<'_> {
    /// Dicts within dicts, dropped one by one: dropping the outermost would recurse, and cycles would stay for ever.
    fn drop(&mut self) {
        self.dicts.iter().for_each(|dict| drop(dict.take()));
    }
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            match self.byte()? {
                0x80 => drop(self.byte()?),
                b'.' => return self.pop(),
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Global(format!("{module}.{name}").into()));
                }
                b'q' => {
                    let place = u32::from(self.byte()?);
                    self.remember(place)?;
                }
                b'r' => {
                    let place = self.word()?;
                    self.remember(place)?;
                }
                b'h' => {
                    let place = u32::from(self.byte()?);
                    self.recall(place)?;
                }
                b'j' => {
                    let place = self.word()?;
                    self.recall(place)?;
                }
                b'(' => self.marks.push(self.stack.len()),
                b')' => self.tuple(0)?,
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let count = self.since_mark()?;
                    self.tuple(count)?;
                }
                b'N' => self.push(Value::Nothing),
                0x88 | 0x89 => self.push(Value::Bool),
                b'K' => {
                    let value = i64::from(self.byte()?);
                    self.push(Value::Int(value));
                }
                b'M' => {
                    let value = i64::from(u16::from_le_bytes(self.take()?));
                    self.push(Value::Int(value));
                }
                b'J' => {
                    let value = i64::from(i32::from_le_bytes(self.take()?));
                    self.push(Value::Int(value));
                }
                0x8a => self.long()?,
                b'X' => self.text()?,
                b'}' => {
                    let dict = self.dict();
                    self.push(dict);
                }
                b's' => self.set_items(2)?,
                b'u' => {
                    let count = self.since_mark()?;
                    self.set_items(count)?;
                }
                // A dict's own attributes: the versions of its modules.
                b'b' => drop(self.pop()?),
                b'Q' => self.storage()?,
                b'R' => self.call()?,
                other => return Err(format!("it has the instruction {other:#04x}, which no state dict takes")),
            }
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, String> {
        // What stands below a mark belongs to whoever set it.
        let floor = self.marks.last().copied().unwrap_or_default();
        if self.stack.len() <= floor {
            return Err("it takes a value that is not there".to_owned());
        }
        self.stack.pop().ok_or_else(|| "it takes a value that is not there".to_owned())
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let value = self.stack.last().ok_or("it keeps a value that is not there")?;
        self.memo.insert(place, value.clone());
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let value = self.memo.get(&place).ok_or("it asks for a value that it never kept")?.clone();
        self.push(value);
        Ok(())
    }

    fn since_mark(&mut self) -> Result<usize, String> {
        let mark = self.marks.pop().ok_or("it ends what never began")?;
        self.stack.len().checked_sub(mark).ok_or_else(|| "it ends what never began".to_owned())
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        let depth = items.iter().map(Value::depth).max().map_or(0, |depth| depth + 1);
        if depth > MAX_DEPTH {
            return Err(format!("its tuples nest deeper than {MAX_DEPTH}"));
        }
        self.push(Value::Tuple(items.into(), depth));
        Ok(())
    }

    fn dict(&mut self) -> Value {
        let dict = Dict::default();
        self.dicts.push(Rc::clone(&dict));
        Value::Dict(dict)
    }

    fn set_items(&mut self, count: usize) -> Result<(), String> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count / 2 {
            let (value, key) = (self.pop()?, self.pop()?);
            items.push((key, value));
        }
        items.reverse();
        let Some(Value::Dict(entries)) = self.stack.last() else {
            return Err("it sets items of something that is no dict".to_owned());
        };
        entries.borrow_mut().extend(items);
        Ok(())
    }

    fn text(&mut self) -> Result<(), String> {
        let length = self.word()? as usize;
        let text = std::str::from_utf8(self.slice(length)?).map_err(|_| "it has a text that is not UTF-8")?;
        self.push(Value::Text(text.into()));
        Ok(())
    }

    /// An integer of up to eight bytes, in two's complement.
    fn long(&mut self) -> Result<(), String> {
        let length = usize::from(self.byte()?);
        let bytes = self.slice(length)?;
        if length > 8 {
            return Err("it has a number of more than eight bytes".to_owned());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..length].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)));
        Ok(())
    }

    /// `("storage", type, key, device, numel)`: the numbers are in another file of the archive.
    fn storage(&mut self) -> Result<(), String> {
        let found = self.pop()?;
        let Value::Tuple(items, _) = &found else { return Err("it names no storage where one should be".to_owned()) };
        match &items[..] {
            [Value::Text(what), Value::Global(of), Value::Text(key), _, Value::Int(numel)] if &**what == "storage" => {
                let storage_type = of.strip_prefix("torch.").unwrap_or(of).into();
                self.push(Value::Storage(Rc::new(Storage { storage_type, key: key.clone(), numel: *numel })));
                Ok(())
            }
            _ => Err("it names a storage in a form that is not known".to_owned()),
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Global(name) = &callee else { return Err("it calls something that has no name".to_owned()) };
        let Value::Tuple(arguments, _) = &arguments else { return Err(format!("it calls {name} without arguments")) };
        let made = match (&**name, &arguments[..]) {
            ("collections.OrderedDict", []) => Some(self.dict()),
            ("torch._utils._rebuild_tensor_v2", [Value::Storage(storage), Value::Int(offset), size, stride, ..]) => {
                size.ints().zip(stride.ints()).map(|(size, stride)| {
                    Value::Tensor(Rc::new(StoredTensor {
                        storage_type: storage.storage_type.to_string(),
                        key: storage.key.to_string(),
                        numel: storage.numel,
                        offset: *offset,
                        size,
                        stride,
                    }))
                })
            }
            ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => Some(tensor.clone()),
            _ => None,
        };
        self.push(made.ok_or_else(|| format!("it calls {name}, and only tensors are read"))?);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take::<1>()?[0])
    }

    fn word(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or("it breaks off")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it breaks off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or("it breaks off")?;
        let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a": tensor}` as `torch.save` pickles it, without its memo.
    fn good() -> Vec<u8> {
        let mut pickle = b"\x80\x02}(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(".to_vec();
        pickle.extend(b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ");
        pickle.extend(b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRu.");
        pickle
    }

    #[test]
    fn a_state_dict_is_read_and_a_part_of_it_never_panics() {
        let tensor = StoredTensor {
            storage_type: "FloatStorage".to_owned(),
            key: "0".to_owned(),
            numel: 6,
            offset: 0,
            size: vec![2, 3],
            stride: vec![3, 1],
        };
        assert_eq!(state_dict(&good()), Ok(vec![("a".to_owned(), tensor)]));
        for end in 0..good().len() {
            assert!(state_dict(&good()[..end]).is_err(), "{end}");
        }
        for place in 0..good().len() {
            for byte in 0..=255 {
                let mut broken = good();
                broken[place] = byte;
                drop(state_dict(&broken));
            }
        }
    }

    #[test]
    fn nothing_is_called_but_what_makes_tensors() {
        let refused = |pickle: &[u8], words: &str| {
            let error = state_dict(pickle).unwrap_err();
            assert!(error.contains(words), "{error} lacks {words}");
        };
        refused(b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.", "posix.system");
        refused(b"\x80\x02cbuiltins\neval\n)R.", "builtins.eval");
        refused(b"\x80\x02K\x01.", "no dict");
        refused(b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "\"a\" is no tensor");
        refused(b"\x80\x02]q\x00.", "0x5d");
        refused(&[&b"\x80\x02)"[..], &[0x85; 100_000], b"."].concat(), "nest deeper");
        // Each dict in the one before, and the first in the last: neither the stack nor a cycle stays.
        let nested = b"}q\x01K\x01h\x01sh\x01h\x00s".repeat(3);
        refused(&[&b"\x80\x02}q\x00"[..], &nested, b"."].concat(), "is no");
        let deep = b"K\x01}".repeat(200_000);
        refused(&[&b"\x80\x02}"[..], &deep, &b"s".repeat(200_000), b"."].concat(), "no text");
    }
}
