//! What C++ has for a prepacked T5 (`native/t5/shim.cpp`). Whatever gives a message gives none where all went well, and the caller has to
//! free it; what is given by `out` is the caller's as well.

use std::ffi::{c_char, c_void};

use super::Sizes;

unsafe extern "C" {
    pub fn stepwise_t5_way() -> i64;
    #[cfg(test)]
    pub fn stepwise_t5_multiply(
        left: *const c_void,
        right: *const c_void,
        storage: i64,
        way: i64,
        threads: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_t5_prepack(
        sizes: *const Sizes,
        storage: i64,
        ends: *const *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_t5_add_encoder_layer(t5: *mut c_void, tensors: *const *const c_void) -> *mut c_char;
    pub fn stepwise_t5_add_decoder_layer(t5: *mut c_void, tensors: *const *const c_void) -> *mut c_char;
    pub fn stepwise_t5_free(t5: *mut c_void);
    pub fn stepwise_t5_use_threads(t5: *mut c_void, threads: i64);
    pub fn stepwise_t5_encode(
        t5: *mut c_void,
        ids: *const c_void,
        mask: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_t5_logits(t5: *mut c_void, hidden: *const c_void, out: *mut *mut c_void) -> *mut c_char;
    pub fn stepwise_t5_likeliest(
        t5: *mut c_void,
        hidden: *const c_void,
        barred: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_t5_normalizers(t5: *mut c_void, hidden: *const c_void, out: *mut *mut c_void) -> *mut c_char;
    pub fn stepwise_t5_logits_of(
        t5: *mut c_void,
        hidden: *const c_void,
        tokens: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_t5_pass_tree(
        t5: *mut c_void,
        encoded: *const c_void,
        mask: *const c_void,
        nodes: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_answers_begin(t5: *const c_void, out: *mut *mut c_void) -> *mut c_char;
    pub fn stepwise_answers_free(answers: *mut c_void);
    #[cfg(test)]
    pub fn stepwise_answers_place(t5: *const c_void, answers: *const c_void, row: i64) -> *const c_void;
    pub fn stepwise_answers_join(
        t5: *mut c_void,
        answers: *mut c_void,
        encoded: *const c_void,
        mask: *const c_void,
        rows: i64,
        expected: i64,
    ) -> *mut c_char;
    pub fn stepwise_answers_step(
        t5: *mut c_void,
        answers: *mut c_void,
        tokens: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    pub fn stepwise_answers_follow(t5: *const c_void, answers: *mut c_void, sources: *const c_void) -> *mut c_char;
}
