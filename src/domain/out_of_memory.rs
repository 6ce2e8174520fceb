//! How a library or a dying process says that there is no more memory, for it has no code for it, only words; and what helps.

/// What needs less memory, once as few examples are computed at once as can be: micro-batches are halved without being asked.
pub const HINT: &str = "use \"optimizer\": \"adafactor\", \"gradient_checkpointing\": true, shorter maximum lengths or a smaller \
    student, or a worker with more memory; a dry run lists what each needs";

/// Parts of these words, in lower case.
const WORDS: [&str; 8] = [
    // libtorch and CUDA: "CUDA out of memory. Tried to allocate 2.00 GiB", "CUDA error: out of memory".
    "out of memory",
    // libtorch on a processor: "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1024 bytes".
    "can't allocate memory",
    "not enough memory",
    // The C++ library, and the C library's ENOMEM.
    "bad_alloc",
    "cannot allocate memory",
    // CUDA's libraries: "CUBLAS_STATUS_ALLOC_FAILED".
    "_alloc_failed",
    // oneDNN, which allocates its scratch memory when it makes a primitive, and names no reason.
    "could not create a primitive",
    // Rust, before it aborts: "memory allocation of 1024 bytes failed".
    "memory allocation of",
];

/// Whether a message says so.
pub fn is_told_by(message: &str) -> bool {
    let message = message.to_lowercase();
    WORDS.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_says_it_in_words_of_its_own() {
        for message in [
            "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB",
            "CUDA error: out of memory",
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to \
             allocate 4194304 bytes. Error code 12 (Cannot allocate memory)",
            "std::bad_alloc",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "memory allocation of 1073741824 bytes failed",
        ] {
            assert!(is_told_by(message), "{message}");
        }
        for message in ["The size of tensor a (2) must match the size of tensor b (3)", "index 7 is out of bounds"] {
            assert!(!is_told_by(message), "{message}");
        }
    }
}
