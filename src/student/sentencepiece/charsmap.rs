//! A SentencePiece model's precompiled character map: a trie of texts (a double array of 32-bit units) and, behind it, what
//! each becomes. `tokenizers` follows it without looking, so a map that leads astray is refused here.

use tokenizers::normalizers::Precompiled;

const HAS_LEAF: usize = 1 << 8;
const IS_LEAF: usize = 1 << 31;

/// The normalizer that follows this map.
///
/// # Errors
/// The map is cut short, or a text would lead out of it.
pub fn precompiled(map: &[u8]) -> Result<Precompiled, &'static str> {
    let (size, rest) = map.split_first_chunk::<4>().ok_or(ASTRAY)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| ASTRAY)?;
    let (trie, texts) = rest.split_at_checked(size).filter(|_| size.is_multiple_of(4)).ok_or(ASTRAY)?;
    let texts = std::str::from_utf8(texts).map_err(|_| ASTRAY)?;
    let unit = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) as usize;
    let trie: Vec<usize> = trie.as_chunks::<4>().0.iter().map(unit).collect();
    check(&trie, texts).ok_or(ASTRAY)?;
    Precompiled::from(map).map_err(|_| ASTRAY)
}

const ASTRAY: &str = "its character map is damaged";

/// Walks to everything that a text can reach; none where that is out of the map.
fn check(trie: &[usize], texts: &str) -> Option<()> {
    let mut seen = vec![false; trie.len()];
    // What a unit's children are counted from: its own place (the root's is 0), moved by its offset.
    let mut bases = vec![offset(*trie.first()?)];
    while let Some(base) = bases.pop() {
        // A byte picks one of the 256 units around the base.
        if base | 0xff >= trie.len() {
            return None;
        }
        for byte in 1..=0xff {
            let place = base ^ byte;
            let unit = trie[place];
            if unit & (IS_LEAF | 0xff) != byte || std::mem::replace(&mut seen[place], true) {
                continue;
            }
            let children = place ^ offset(unit);
            if unit & HAS_LEAF != 0 && !texts.is_char_boundary(trie.get(children)? & (IS_LEAF - 1)) {
                return None;
            }
            bases.push(children);
        }
    }
    Some(())
}

fn offset(unit: usize) -> usize {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map that turns `a` into the text at `target`, with the child of `a` in unit `child`.
    fn map(child: u32, target: u32, texts: &[u8]) -> Vec<u8> {
        let mut trie = [0_u32; 512];
        trie[0x61] = 0x61 | (1 << 8) | ((child ^ 0x61) << 10);
        if let Some(leaf) = trie.get_mut(child as usize) {
            *leaf = (1 << 31) | target;
        }
        let units = trie.iter().flat_map(|unit| unit.to_le_bytes());
        (2048_u32.to_le_bytes().into_iter().chain(units).chain(texts.iter().copied())).collect()
    }

    #[test]
    fn a_sound_map_is_followed() {
        assert_eq!(precompiled(&map(256, 0, b"b\0")).unwrap().transform("a"), Some("b"));
    }

    #[test]
    fn a_map_that_leads_astray_is_refused() {
        assert!(precompiled(&map(512, 0, b"b\0")).is_err(), "a child past the end");
        assert!(precompiled(&map(256, 3, b"b\0")).is_err(), "a text past the end");
        assert!(precompiled(&map(256, 1, "é\0".as_bytes())).is_err(), "a text that begins within a character");
        assert!(precompiled(&map(256, 0, b"\xff\0")).is_err(), "texts that are none");
        let mut long = map(256, 0, b"b\0");
        long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(precompiled(&long).is_err(), "a length past the end");
        let sound = map(256, 0, b"b\0");
        assert!((0..2052).all(|length| precompiled(&sound[..length]).is_err()), "cut short");
    }
}
