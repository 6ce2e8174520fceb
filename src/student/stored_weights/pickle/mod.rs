//! The part of Python's pickles that a state dict takes: names and tensors, nothing that runs.
//!
//! A pickle is a program that may call anything. This reader knows the instructions that `torch.save` writes for a state
//! dict (protocol 2) and three names that they may call; every other instruction or name is refused by name.

mod instructions;
mod machine;
mod value;

use std::io::BufRead;

use self::instructions::Instructions;
use self::machine::Machine;
use self::value::Value;

/// Where a tensor's numbers are: a storage, and a view of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The storage's type, such as `FloatStorage`.
    pub storage_type: String,
    /// The storage's name in the file.
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

/// The tensors of a pickled state dict, by name. What follows the pickle is left.
///
/// # Errors
/// What is no state dict: an instruction, a name or a value that it does not take.
pub fn state_dict(pickle: impl BufRead) -> Result<Vec<(String, StoredTensor)>, String> {
    let tensor = |(name, value): &(Value, Value)| match (name, value) {
        (Value::Text(name), Value::Tensor(tensor)) => Ok((name.to_string(), StoredTensor::clone(tensor))),
        (Value::Text(name), _) => Err(format!("{name:?} is no tensor in it")),
        _ => Err("it has a key that is no text".to_owned()),
    };
    Machine::run(pickle, |value| match value {
        Value::Dict(entries) => entries.borrow().iter().map(tensor).collect(),
        _ => Err("its top is no dict of tensors".to_owned()),
    })
}

/// Whether the pickled dict that describes a machine says that its numbers are little-endian.
///
/// # Errors
/// What is no dict of plain values.
pub fn is_little_endian(pickle: impl BufRead) -> Result<bool, String> {
    let says = |(name, value): &(Value, Value)| matches!((name, value), (Value::Text(name), Value::Bool(true)) if &**name == "little_endian");
    Machine::run(pickle, |value| match value {
        Value::Dict(entries) => Ok(entries.borrow().iter().any(says)),
        _ => Err("it does not say what machine it is from".to_owned()),
    })
}

/// A pickled list of texts.
///
/// # Errors
/// An instruction that such a list does not take.
pub fn texts(pickle: impl BufRead) -> Result<Vec<String>, String> {
    let (mut instructions, mut texts) = (Instructions::new(pickle), Vec::new());
    loop {
        match instructions.byte()? {
            // Protocol, and places that nothing asks for; then the list, its marks and its ends.
            0x80 | b'q' => drop(instructions.byte()?),
            b'r' => drop(instructions.word()?),
            b']' | b'(' | b'e' | b'a' => {}
            b'X' => texts.push(instructions.text()?),
            b'.' => return Ok(texts),
            other => return Err(format!("it has the instruction {other:#04x}, which no list of keys takes")),
        }
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
        assert_eq!(state_dict(&good()[..]), Ok(vec![("a".to_owned(), tensor)]));
        for end in 0..good().len() {
            assert!(state_dict(&good()[..end]).is_err(), "{end}");
        }
        for place in 0..good().len() {
            for byte in 0..=255 {
                let mut broken = good();
                broken[place] = byte;
                drop(state_dict(&broken[..]));
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

    #[test]
    fn a_list_of_keys_is_read_and_nothing_else_is_taken_for_one() {
        let keys = b"\x80\x02]q\x00(X\x01\x00\x00\x007q\x01X\x02\x00\x00\x0042q\x02e.rest";
        assert_eq!(texts(&keys[..]), Ok(vec!["7".to_owned(), "42".to_owned()]));
        assert!(texts(&keys[..20]).unwrap_err().contains("breaks off"));
        assert!(texts(&b"\x80\x02]cposix\nsystem\n)Re."[..]).unwrap_err().contains("0x63"));
        let endless = b"\x80\x02]X\xff\xff\xff\xffa";
        assert!(texts(&endless[..]).unwrap_err().contains("breaks off"));
    }

    #[test]
    fn a_machine_says_how_its_numbers_lie() {
        let machine = |value: u8| [b"\x80\x02}q\x00(X\x0d\x00\x00\x00little_endianq\x01", &[value][..], b"u."].concat();
        assert_eq!(is_little_endian(&machine(0x88)[..]), Ok(true));
        assert_eq!(is_little_endian(&machine(0x89)[..]), Ok(false));
        assert_eq!(is_little_endian(&b"\x80\x02}."[..]), Ok(false));
        assert!(is_little_endian(&b"\x80\x02K\x01."[..]).is_err());
    }
}
