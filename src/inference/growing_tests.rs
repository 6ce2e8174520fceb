//! Texts that grow by every kind of token, against the text that is decoded whole.

use super::*;
use crate::student::choice::TokenScore;
use crate::student::{StudentTokenizer, unigram};

fn tokenizer() -> StudentTokenizer {
    let texts = ["the order came late so it is a refund", "größe ändern über alles", "reject because of the rule  two"];
    StudentTokenizer::from_tokenizer(unigram::train_tokenizer(texts, 90).unwrap()).unwrap()
}

/// Says the ids one after the other; what was shown after each, and all of it with the rest.
fn say(tokenizer: &StudentTokenizer, ids: &[i64], stops: &[&str]) -> (Vec<String>, String, Growing) {
    let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
    let (mut growing, mut said, mut shown) = (Growing::new(String::new(), stops), Generated::default(), Vec::new());
    for id in ids {
        said.ids.push(*id);
        growing.hear(tokenizer, &said);
        shown.push(growing.grown().text);
        if growing.is_stopped() {
            break;
        }
    }
    let whole = tokenizer.decode(&said.ids);
    let whole = growing.cut.map_or(whole.as_str(), |cut| &whole[..cut]);
    let all = shown.concat() + &growing.rest(whole, &[]).text;
    (shown, all, growing)
}

/// Random ids, special ones and some past the tokenizer among them.
fn random_ids(tokenizer: &StudentTokenizer, seed: i64, count: i64) -> Vec<i64> {
    (0..count).map(|at| (seed * 7_919 + at * 104_729 + at * at * 31) % (tokenizer.vocabulary_size() + 3)).collect()
}

#[test]
fn the_pieces_of_any_tokens_are_the_text_of_all_of_them() {
    let (tokenizer, mut pieces) = (tokenizer(), 0);
    for seed in 0..200 {
        let ids = random_ids(&tokenizer, seed, 40);
        let (shown, all, _) = say(&tokenizer, &ids, &[]);
        assert_eq!(all, tokenizer.decode(&ids), "{ids:?}");
        pieces += shown.iter().filter(|piece| !piece.is_empty()).count();
    }
    assert!(pieces > 200 * 10, "{pieces}");
}

#[test]
fn what_a_stop_takes_back_is_never_shown() {
    let tokenizer = tokenizer();
    let (mut stopped, mut held) = (0, 0);
    for seed in 0..200 {
        let ids = random_ids(&tokenizer, seed, 40);
        let text = tokenizer.decode(&ids);
        let chars: Vec<char> = text.chars().collect();
        let stop: String = chars[chars.len() / 2..chars.len() / 2 + 4].iter().collect();
        let (shown, all, growing) = say(&tokenizer, &ids, &[&stop, "never said"]);
        assert_eq!(all, text[..text.find(&stop).unwrap()], "{stop:?} in {text:?}");
        assert!(shown.concat().len() <= all.len());
        stopped += usize::from(growing.is_stopped());
        // A stop that does not come takes nothing back, however long it looked as if it came.
        let almost: String = chars[chars.len() / 2..].iter().chain(&['!', '?']).collect();
        let (shown, all, growing) = say(&tokenizer, &ids, &[&almost]);
        assert_eq!(all, text);
        assert!(!growing.is_stopped());
        held += usize::from(shown.concat() != text);
    }
    assert_eq!((stopped, held), (200, 200));
}

#[test]
fn a_stop_that_begins_before_the_newest_token_is_found_and_the_first_one_counts() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("the order came late so", usize::MAX).ids;
    for (stops, right) in [
        (vec!["r came"], "the orde"),
        (vec!["late", "order came"], "the "),
        (vec!["the"], ""),
        (vec!["late so", "e late so"], "the order cam"),
    ] {
        let (_, all, growing) = say(&tokenizer, &ids, &stops);
        assert_eq!((all.as_str(), growing.is_stopped()), (right, true), "{stops:?}");
    }
}

#[test]
fn a_prompt_before_the_answer_is_shown_first_and_stops_nothing() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("came late", usize::MAX).ids;
    let mut growing = Growing::new("größe: ".to_owned(), vec!["größe".to_owned(), "late".to_owned()]);
    let mut said = Generated::default();
    let mut shown = String::new();
    for id in ids {
        said.ids.push(id);
        said.scores.push(TokenScore { log_probability: -1.0, likeliest: vec![(id, -1.0)] });
        growing.hear(&tokenizer, &said);
        let Grown { text, tokens } = growing.grown();
        shown += &text;
        let end = shown.chars().count();
        assert!(tokens.iter().all(|token| token.offset < end && token.offset >= 7), "{tokens:?}");
        if growing.is_stopped() {
            break;
        }
    }
    assert_eq!(shown + &growing.rest("größe: came ", &[]).text, "größe: came ");
}

#[test]
fn tokens_spell_the_text_and_stand_where_it_has_them() {
    let tokenizer = tokenizer();
    for seed in 0..50 {
        let ids = random_ids(&tokenizer, seed, 30);
        let score = TokenScore { log_probability: -0.5, likeliest: Vec::new() };
        let tokens = spell_all(&tokenizer, &ids, &vec![score; ids.len()], (0, usize::MAX));
        let text: String =
            tokens.iter().filter(|token| token.token.is_text).map(|token| token.token.text.as_str()).collect();
        assert_eq!(text.trim_end(), tokenizer.decode(&ids));
        let chars: Vec<char> = text.chars().collect();
        for token in tokens.iter().filter(|token| token.token.is_text) {
            let here: String = chars[token.offset..].iter().take(token.token.text.chars().count()).collect();
            assert_eq!(here, token.token.text);
        }
        assert_eq!(tokens.len(), ids.len());
    }
}
