//! SentencePiece files, as protobuf has them.

use std::{fs, path::Path};

use serde_json::Value;

/// Takes the folder's `tokenizer.json` away and leaves its pieces as a `spiece.model`.
pub fn keep_spiece_alone(folder: &Path) {
    let file = folder.join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_array().unwrap().iter();
    let pieces = vocabulary.map(|piece| (piece[0].as_str().unwrap(), piece[1].as_f64().unwrap() as f32));
    let pieces: Vec<_> = pieces.filter(|(text, _)| !text.starts_with("<extra_id_")).collect();
    fs::remove_file(file).unwrap();
    fs::write(folder.join("spiece.model"), spiece(&pieces, 1)).unwrap();
}

/// A model of these pieces, `<unk>` at 2. Model type 1 is unigram, 2 is BPE.
pub fn spiece(pieces: &[(&str, f32)], model_type: u8) -> Vec<u8> {
    let mut file = Vec::new();
    for (text, score) in pieces {
        let kind = match *text {
            "<unk>" => 2,
            "<pad>" | "</s>" => 3,
            _ => 1,
        };
        let score = [&[0x15], score.to_le_bytes().as_slice()].concat();
        message(&mut file, 1, &[&field(1, text.as_bytes()), score.as_slice(), &[0x18, kind]].concat());
    }
    // Field 40 as a varint has the tag 320.
    message(&mut file, 2, &[0x18, model_type, 0xc0, 0x02, 2]);
    message(&mut file, 3, &field(1, b"identity"));
    file
}

fn message(file: &mut Vec<u8>, number: u8, content: &[u8]) {
    file.extend(field(number, content));
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80, "a length of one byte");
    [&[number << 3 | 2, length], content].concat()
}
