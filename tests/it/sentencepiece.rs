//! Students whose folder has a `spiece.model` and no `tokenizer.json`.

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value, json};
use stepwise::{
    domain::LabelSet,
    student::{StudentError, StudentTokenizer},
};

use crate::{
    api_export::unpack,
    support::{
        app::TestApp,
        shared::shared,
        spiece::{keep_spiece_alone, spiece},
        student::write_student,
    },
};

const TEXTS: [&str; 22] = [
    "",
    " ",
    "predict: A man is sleeping.</s>A man is awake.",
    "  two leading and  two inner spaces  ",
    "a\nline, a\ttab,\r\nand\n\n more",
    "the ﬁrst oﬀer of ½ and №5 in ㎏",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１２３",
    "naïve café, décomposé: e\u{301}",
    "日本語 and русский and العربية and ไทย",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 emoji",
    "<extra_id_0> starts <extra_id_1>in<extra_id_99> and <extra_id_100> is none",
    "<pad> <unk> </s>",
    "▁already▁marked",
    "no\u{a0}break, zero\u{200b}width, soft\u{ad}hyphen",
    "\u{feff}mark and \u{1} control",
    "x",
    "supercalifragilisticexpialidocious",
    "1,234.56 + 7 = ?",
    "\"quotes\" ‘curly’ “double” — dash…",
    "ĲǄ Ⅷ ™ ª",
    "한국어 e\u{1100}\u{1161}",
    "end with spaces   ",
];

fn alone(bytes: &[u8]) -> Result<StudentTokenizer, StudentError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spiece.model"), bytes).unwrap();
    StudentTokenizer::from_dir(folder.path())
}

fn refusal(bytes: &[u8]) -> String {
    let error = alone(bytes).err().expect("refused").to_string();
    assert!(error.contains("spiece.model: ") && error.contains("copy it again"), "{error}");
    error
}

fn ids(tokenizer: &StudentTokenizer, text: &str) -> Vec<i64> {
    tokenizer.encode(text, usize::MAX).ids
}

fn parsed(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The built tokenizer is, member by member, the file that `transformers` made of the same model. Its scores are the model's
/// 32-bit floats with a last digit that hangs on who wrote them.
fn assert_same_file(built: &StudentTokenizer, file: &Path) {
    let take_scores = |file: &mut Value| -> Vec<f32> {
        let pieces = file["model"]["vocab"].as_array_mut().unwrap().iter_mut();
        pieces.map(|piece| piece[1].take().as_f64().unwrap() as f32).collect()
    };
    let (mut built, mut known) = (serde_json::from_str(&built.to_json().unwrap()).unwrap(), parsed(file));
    assert!(take_scores(&mut built) == take_scores(&mut known), "the scores differ");
    for (member, value) in known.as_object().unwrap() {
        assert!(built[member] == *value, "{member} differs");
    }
}

#[test]
fn a_spiece_model_alone_gives_the_ids_of_transformers() {
    let Some(folder) = shared("reference") else { return };
    let tokenizer = alone(&fs::read(folder.join("spiece.model")).unwrap()).unwrap();
    for case in parsed(&folder.join("tokens.json")).as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<i64> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(ids(&tokenizer, text), expected, "{text:?}");
        assert_eq!(tokenizer.decode(&expected), case["decoded"].as_str().unwrap().trim_end(), "{text:?}");
    }
    assert_same_file(&tokenizer, &folder.join("t5_v1_1_gated_gelu/tokenizer.json"));
}

#[test]
fn a_spiece_model_gives_the_ids_of_the_tokenizer_json_beside_it() {
    let Some(folder) = shared("mini-t5") else { return };
    let known = StudentTokenizer::from_dir(&folder).unwrap();
    let built = alone(&fs::read(folder.join("spiece.model")).unwrap()).unwrap();
    let written = tempfile::tempdir().unwrap();
    built.save(&written.path().join("tokenizer.json")).unwrap();
    let read_again = StudentTokenizer::from_dir(written.path()).unwrap();
    for text in TEXTS {
        let expected = ids(&known, text);
        assert_eq!(ids(&built, text), expected, "{text:?}");
        assert_eq!(ids(&read_again, text), expected, "{text:?} after writing and reading");
        assert_eq!(built.decode(&expected), known.decode(&expected), "{text:?}");
    }
    assert_eq!(built.sentinels().len(), 100);
    assert_same_file(&built, &folder.join("tokenizer.json"));
}

#[test]
fn damaged_files_are_refused_by_name_and_none_panics() {
    let Some(folder) = shared("reference") else { return };
    let sound = fs::read(folder.join("spiece.model")).unwrap();
    for length in [0, 1, 2, 100, 40_000, sound.len() / 2, sound.len() - 1_000] {
        refusal(&sound[..length]);
    }
    refusal(&[b"version https://git-lfs.github.com/spec/v1\n".as_slice(), &[0xff; 40]].concat());
    for round in 0..24 {
        // The character map is most of the file, and follows the pieces.
        let mut damaged = sound.clone();
        for at in (0..64).map(|step| (round * 7_919 + step * 4_523) % sound.len()) {
            damaged[at] ^= 1 << (round % 8);
        }
        match alone(&damaged) {
            Ok(tokenizer) => TEXTS.iter().for_each(|text| assert!(!ids(&tokenizer, text).is_empty())),
            Err(error) => assert!(error.to_string().contains("spiece.model"), "{error}"),
        }
    }
}

#[test]
fn what_is_no_t5_model_is_refused_with_the_reason() {
    let specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)];
    let with = |more: &[(&str, f32)]| spiece(&[&specials, more].concat(), 1);
    let tokenizer = alone(&with(&[("▁a", -1.0), ("b", -2.0)])).unwrap();
    assert_eq!(ids(&tokenizer, "ab <extra_id_0>ü"), [3, 4, 104, 2, 1]);
    let whole = with(&[("▁a", -1.0)]);
    (0..whole.len()).for_each(|length| drop(refusal(&whole[..length])));
    assert!(refusal(&spiece(&specials, 2)).contains("BPE"));
    assert!(refusal(&with(&[("a", -1.0), ("a", -1.0)])).contains("twice"));
    assert!(refusal(&with(&[("a", f32::NAN)])).contains("score"));
    assert!(refusal(&spiece(&specials[..2], 1)).contains("unk_id"));
    let no_pad = alone(&spiece(&[("a", 0.0), ("</s>", 0.0), ("<unk>", 0.0)], 1)).err().unwrap().to_string();
    assert!(no_pad.contains("spiece.model") && no_pad.contains("<pad>"), "{no_pad}");
}

#[test]
fn the_files_beside_it_say_how_many_sentinels_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &Value| fs::write(folder.path().join(name), content.to_string()).unwrap();
    let pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("a", -1.0)];
    fs::write(folder.path().join("spiece.model"), spiece(&pieces, 1)).unwrap();
    let sentinels = || StudentTokenizer::from_dir(folder.path()).map(|tokenizer| tokenizer.sentinels().len());
    assert_eq!(sentinels().unwrap(), 100);
    write(
        "special_tokens_map.json",
        &json!({"additional_special_tokens": ["<extra_id_0>", {"content": "<extra_id_1>"}]}),
    );
    assert_eq!(sentinels().unwrap(), 2);
    write("tokenizer_config.json", &json!({"extra_ids": 0}));
    assert_eq!(sentinels().unwrap(), 0);
    write("tokenizer_config.json", &json!({"extra_ids": 3}));
    assert!(sentinels().unwrap_err().to_string().contains("tokenizer_config.json"));
    write("tokenizer_config.json", &json!({"extra_ids": 1_000_000_000}));
    assert!(sentinels().unwrap_err().to_string().contains("tokenizer_config.json"));
}

#[test]
fn tokens_that_are_neither_pieces_nor_sentinels_get_the_ids_of_transformers() {
    let Some(reference) = shared("reference") else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(reference.join("spiece.model"), folder.path().join("spiece.model")).unwrap();
    let read = |config: &Value, added: &Value| {
        fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        fs::write(folder.path().join("added_tokens.json"), added.to_string()).unwrap();
        StudentTokenizer::from_dir(folder.path())
    };
    let sentinels: Vec<String> = (0..100).map(|index| format!("<extra_id_{index}>")).collect();
    let all = [sentinels, vec!["<sep>".to_owned(), "<hl>".to_owned()]].concat();
    let described = json!({"content": "<sep>", "lstrip": true, "normalized": false, "__type": "AddedToken"});
    let (none, tail) = (json!({}), [3099, 20, 674, 20, 2, 265, 163, 2, 54, 1]);
    // What `T5TokenizerFast` of transformers 4.57.1 makes of the same files.
    let plain = [&[6, 3100, 20, 24, 3100, 20, 21][..], &tail].concat();
    for (config, added, expected) in [
        (json!({"additional_special_tokens": ["<sep>"]}), &none, plain.clone()),
        (json!({"additional_special_tokens": [described]}), &none, plain),
        (
            json!({"additional_special_tokens": ["<extra_id_0>", "<sep>"], "extra_ids": 1}),
            &none,
            vec![6, 3001, 20, 24, 3001, 20, 21, 3000, 20, 674, 20, 2, 265, 163, 2, 54, 1],
        ),
        (
            json!({"additional_special_tokens": all}),
            &none,
            vec![6, 3100, 20, 24, 3100, 20, 21, 3099, 20, 674, 3101, 20, 54, 1],
        ),
        (
            json!({}),
            &json!({"<sep>": 3100, "<hl>": 3101}),
            vec![6, 20, 3100, 20, 24, 3100, 20, 21, 3099, 20, 674, 20, 3101, 20, 54, 1],
        ),
    ] {
        let tokenizer = read(&config, added).unwrap();
        assert_eq!(ids(&tokenizer, "a <sep> b<sep>c <extra_id_0> x <hl>y"), expected, "{config} {added}");
    }
    // Of its slow tokenizer, which puts a lone special token before the sentinels.
    let slow = json!({"added_tokens_decoder": {"3000": {"content": "<sep>", "special": true}}});
    let error = read(&slow, &none).err().unwrap().to_string();
    assert!(error.contains("<sep>") && error.contains("3000") && error.contains("tokenizer.json"), "{error}");
}

#[tokio::test]
async fn a_folder_with_a_spiece_model_alone_is_a_model_and_its_export_has_a_tokenizer_json() {
    let app = TestApp::start().await;
    write_student(&app, "tiny", LabelSet::Open);
    let ask = async || {
        let request = json!({"model": "tiny", "inputs": ["the order came late"], "include": ["rationale"]});
        app.post("/v1/predictions", request).await
    };
    let expected = ask().await.body["data"].clone();
    let folder = app.models_dir.join("tiny");
    keep_spiece_alone(&folder);
    assert_eq!(app.get("/v1/models/tiny").await.body["missing_files"], json!([]));
    assert_eq!(ask().await.body["data"], expected);

    let files = unpack(&app.get("/v1/models/tiny/export").await.bytes).await;
    let names: HashSet<&str> = files.keys().map(|name| name.strip_prefix("tiny/").unwrap()).collect();
    assert!(names.contains("tokenizer.json") && !names.contains("spiece.model"), "{names:?}");
    let again = tempfile::tempdir().unwrap();
    fs::write(again.path().join("tokenizer.json"), &files["tiny/tokenizer.json"]).unwrap();
    let (taken, kept) = (StudentTokenizer::from_dir(again.path()), StudentTokenizer::from_dir(&folder));
    assert_eq!(ids(&taken.unwrap(), "late <extra_id_5>"), ids(&kept.unwrap(), "late <extra_id_5>"));

    fs::write(folder.join("spiece.model"), "no").unwrap();
    for broken in [ask().await, app.get("/v1/models/tiny/export").await] {
        assert_eq!((broken.status, broken.code()), (400, "model_unusable"));
        assert!(broken.detail().contains("spiece.model"), "{}", broken.detail());
    }
}
