//! The machine that a pickle is a program for.

use std::collections::HashMap;
use std::io::BufRead;
use std::rc::Rc;

use super::StoredTensor;
use super::instructions::Instructions;
use super::value::{Dict, Storage, Value};

/// How deep tuples may nest; those of a state dict nest two deep.
const MAX_DEPTH: usize = 16;

/// A pickle as it runs. Values nest no deeper than [`MAX_DEPTH`], so a hostile file cannot exhaust the stack.
pub struct Machine<R> {
    instructions: Instructions<R>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Every dict, so that each can be emptied by itself at the end.
    dicts: Vec<Dict>,
}

impl<R> Drop for Machine<R> {
    /// Dicts within dicts, dropped one by one: dropping the outermost would recurse, and cycles would stay for ever.
    fn drop(&mut self) {
        self.dicts.iter().for_each(|dict| drop(dict.take()));
    }
}

impl<R: BufRead> Machine<R> {
    /// Runs a pickle and reads what it leaves.
    pub fn run<T>(pickle: R, read: impl FnOnce(&Value) -> Result<T, String>) -> Result<T, String> {
        let instructions = Instructions::new(pickle);
        let mut machine =
            Self { instructions, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), dicts: Vec::new() };
        // Read before the machine goes, which empties its dicts.
        read(&machine.result()?)
    }

    fn result(&mut self) -> Result<Value, String> {
        loop {
            match self.instructions.byte()? {
                0x80 => drop(self.instructions.byte()?),
                b'.' => return self.pop(),
                b'c' => {
                    let (module, name) = (self.instructions.line()?, self.instructions.line()?);
                    self.push(Value::Global(format!("{module}.{name}").into()));
                }
                b'q' => {
                    let place = u32::from(self.instructions.byte()?);
                    self.remember(place)?;
                }
                b'r' => {
                    let place = self.instructions.word()?;
                    self.remember(place)?;
                }
                b'h' => {
                    let place = u32::from(self.instructions.byte()?);
                    self.recall(place)?;
                }
                b'j' => {
                    let place = self.instructions.word()?;
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
                code @ (0x88 | 0x89) => self.push(Value::Bool(code == 0x88)),
                b'K' => {
                    let value = i64::from(self.instructions.byte()?);
                    self.push(Value::Int(value));
                }
                b'M' => {
                    let value = i64::from(u16::from_le_bytes(self.instructions.take()?));
                    self.push(Value::Int(value));
                }
                b'J' => {
                    let value = i64::from(i32::from_le_bytes(self.instructions.take()?));
                    self.push(Value::Int(value));
                }
                0x8a => {
                    let value = self.instructions.long()?;
                    self.push(Value::Int(value));
                }
                b'X' => {
                    let text = self.instructions.text()?;
                    self.push(Value::Text(text.into()));
                }
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

    /// `("storage", type, key, device, numel)`: the numbers are elsewhere in the file. Before PyTorch 1.6 a sixth part said of
    /// which other storage this is a part, and of a state dict's it said nothing.
    fn storage(&mut self) -> Result<(), String> {
        let found = self.pop()?;
        let Value::Tuple(items, _) = &found else { return Err("it names no storage where one should be".to_owned()) };
        match &items[..] {
            [Value::Text(what), Value::Global(of), Value::Text(key), _, Value::Int(numel), part @ ..]
                if &**what == "storage" && matches!(part, [] | [Value::Nothing]) =>
            {
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
}
