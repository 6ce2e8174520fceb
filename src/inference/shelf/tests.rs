//! The bookkeeping of memory: whom it lets in, in which order, and who makes room.

use super::super::EngineMetrics;
use super::*;

fn shelf(bytes: u64, count: usize) -> Shelf {
    Shelf::new(ShelfLimits { bytes: Some(bytes), count })
}

fn model(key: &str) -> Arc<ModelFiles> {
    Arc::new(ModelFiles::folder(key, "nowhere".into()))
}

fn load(key: &str) -> Order {
    Order::Load(model(key))
}

fn put_away(key: &str) -> Order {
    Order::PutAway(key.to_owned())
}

fn of(bytes: u64) -> Measure {
    Measure { bytes, ..Measure::default() }
}

fn loaded(shelf: &mut Shelf, key: &str, bytes: u64) {
    shelf.loaded(key, bytes, Arc::new(EngineMetrics::new().of(key)));
}

/// A student that was wanted, came, and was used once.
fn bring(shelf: &mut Shelf, key: &str, bytes: u64) {
    let failure = shelf.want(&model(key), of(bytes));
    assert_eq!(shelf.settle(), [load(key)]);
    loaded(shelf, key, bytes);
    assert!(shelf.begin_use(key).is_some());
    shelf.unwant(key, &failure);
    shelf.end_use(key);
    assert_eq!(shelf.settle(), []);
}

#[test]
fn the_least_recently_used_makes_room_by_its_bytes() {
    let mut shelf = shelf(100, 9);
    for key in ["a", "b", "c"] {
        bring(&mut shelf, key, 30);
    }
    assert!(shelf.begin_use("a").is_some());
    shelf.end_use("a");
    shelf.want(&model("d"), of(60));
    assert_eq!(shelf.settle(), [put_away("b"), put_away("c")], "two must go for 60 bytes, and not the one used last");
    shelf.gone("b");
    assert_eq!(shelf.settle(), [], "bytes that are on their way out are not free yet");
    shelf.gone("c");
    assert_eq!(shelf.settle(), [load("d")]);
}

#[test]
fn who_leaves_answers_first_and_takes_nothing_new() {
    let mut shelf = shelf(50, 9);
    bring(&mut shelf, "a", 30);
    assert!(shelf.begin_use("a").is_some());
    let waits = shelf.want(&model("b"), of(30));
    assert_eq!(shelf.settle(), []);
    assert!(shelf.begin_use("a").is_none(), "steady traffic would keep b out for ever");
    // Whoever waited for b leaves again: a need not go.
    shelf.unwant("b", &waits);
    assert_eq!(shelf.settle(), []);
    assert!(shelf.begin_use("a").is_some());
    shelf.want(&model("b"), of(30));
    assert!(!shelf.end_use("a"));
    assert_eq!(shelf.settle(), []);
    assert!(shelf.end_use("a"));
    assert_eq!(shelf.settle(), [put_away("a")]);
}

#[test]
fn students_come_in_the_order_in_which_they_were_wanted() {
    let mut shelf = shelf(100, 1);
    bring(&mut shelf, "a", 10);
    for key in ["b", "c"] {
        shelf.want(&model(key), of(10));
    }
    assert_eq!(shelf.settle(), [put_away("a")]);
    shelf.gone("a");
    shelf.want(&model("a"), of(10));
    assert_eq!(shelf.settle(), [load("b")]);
    loaded(&mut shelf, "b", 10);
    assert_eq!(shelf.settle(), [], "who waited for b has not used it yet");
    assert!(shelf.begin_use("b").is_some());
    assert_eq!(shelf.settle(), []);
    shelf.end_use("b");
    assert_eq!(shelf.settle(), [put_away("b")]);
    shelf.gone("b");
    assert_eq!(shelf.settle(), [load("c")]);
}

#[test]
fn pinned_students_stay_and_what_never_fits_beside_them_is_refused() {
    let mut shelf = shelf(100, 9);
    bring(&mut shelf, "a", 60);
    shelf.pin("a");
    bring(&mut shelf, "b", 30);
    shelf.want(&model("c"), of(40));
    assert_eq!(shelf.settle(), [put_away("b")], "a was used before b, and is pinned");
    let error = shelf.refuses("d", 41).unwrap();
    assert_eq!(error, InferenceError::ModelTooLarge { bytes: 41, most: 100, pinned: 60, count: 9 });
    assert_eq!((shelf.refuses("d", 40), shelf.refuses("a", 60)), (None, None));
    shelf.unpin_all_but(&[]);
    assert_eq!(shelf.refuses("d", 100), None);
}

#[test]
fn a_load_that_fails_is_told_to_those_who_waited_and_to_nobody_else() {
    let mut shelf = shelf(100, 9);
    let told = shelf.want(&model("a"), of(10));
    assert_eq!(shelf.settle(), [load("a")]);
    shelf.failed("a", InferenceError::Stopped);
    assert_eq!((told.get(), shelf.is_awaited("a", &told)), (Some(&InferenceError::Stopped), false));
    let later = shelf.want(&model("a"), of(10));
    shelf.unwant("a", &told);
    assert_eq!((later.get(), shelf.settle()), (None, vec![load("a")]), "the one who came later still waits");
}

#[test]
fn a_student_without_files_goes_when_it_is_no_longer_used() {
    let mut shelf = shelf(100, 9);
    bring(&mut shelf, "a", 10);
    assert!(shelf.begin_use("a").is_some());
    shelf.forget("a");
    assert_eq!(shelf.settle(), []);
    shelf.end_use("a");
    assert_eq!(shelf.settle(), [put_away("a")]);
}

#[test]
fn a_name_is_free_when_no_student_of_it_is_in_memory_whichever_may_come() {
    let mut shelf = shelf(100, 1);
    bring(&mut shelf, "a", 10);
    let changed = Arc::new(ModelFiles { name: "a".to_owned(), ..ModelFiles::folder("changed", "nowhere".into()) });
    let waits = shelf.want(&changed, of(10));
    assert_eq!(shelf.settle(), [put_away("a")]);
    assert_eq!(shelf.gone("a"), Some("a".to_owned()));
    assert_eq!(shelf.settle(), [Order::Load(Arc::clone(&changed))]);
    loaded(&mut shelf, "changed", 10);
    shelf.unwant("changed", &waits);
    // The first one comes back beside it.
    shelf.limits.count = 2;
    bring(&mut shelf, "a", 10);
    assert_eq!((shelf.gone("changed"), shelf.gone("a")), (None, Some("a".to_owned())));
}

#[test]
fn a_student_that_turns_out_larger_lets_others_leave() {
    let mut shelf = shelf(100, 9);
    bring(&mut shelf, "a", 40);
    let failure = shelf.want(&model("b"), of(40));
    assert_eq!(shelf.settle(), [load("b")]);
    loaded(&mut shelf, "b", 70);
    assert_eq!(shelf.settle(), [put_away("a")]);
    assert_eq!((shelf.held(), shelf.gone("a"), shelf.held()), (2, Some("a".to_owned()), 1));
    assert!(shelf.begin_use("b").is_some());
    shelf.unwant("b", &failure);
}
