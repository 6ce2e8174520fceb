//! A pickle's bytes, as its instructions take them. Memory is set aside for what is there, not for what a length promises.

use std::io::{BufRead, Read};

/// Instructions yet to come.
pub struct Instructions<R>(R);

impl<R: BufRead> Instructions<R> {
    pub fn new(pickle: R) -> Self {
        Self(pickle)
    }

    pub fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take::<1>()?[0])
    }

    pub fn word(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut taken = [0; N];
        self.0.read_exact(&mut taken).map_err(|_| "it breaks off")?;
        Ok(taken)
    }

    /// An integer of up to eight bytes, in two's complement.
    pub fn long(&mut self) -> Result<i64, String> {
        let length = u64::from(self.byte()?);
        let bytes = self.slice(length)?;
        if bytes.len() > 8 {
            return Err("it has a number of more than eight bytes".to_owned());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..bytes.len()].copy_from_slice(&bytes);
        Ok(i64::from_le_bytes(whole))
    }

    /// A text with its length before it.
    pub fn text(&mut self) -> Result<String, String> {
        let length = u64::from(self.word()?);
        let bytes = self.slice(length)?;
        String::from_utf8(bytes).map_err(|_| "it has a text that is not UTF-8".to_owned())
    }

    /// What stands before the next line feed.
    pub fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if line.pop() != Some(b'\n') {
            return Err("it breaks off".to_owned());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn slice(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let mut taken = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut taken).map_err(|error| error.to_string())?;
        if taken.len() as u64 == length { Ok(taken) } else { Err("it breaks off".to_owned()) }
    }
}
