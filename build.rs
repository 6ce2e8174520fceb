//! Writes libtorch's place into the binary, so that neither the service nor its child processes need LD_LIBRARY_PATH.

fn main() {
    // The schema is compiled in.
    println!("cargo:rerun-if-changed=migrations");
    #[cfg(feature = "engine")]
    engine::build();
}

#[cfg(feature = "engine")]
mod engine {
    use std::{env, fs, path::PathBuf};

    pub fn build() {
        println!("cargo:rerun-if-env-changed=LIBTORCH");
        let libtorch = env::var("LIBTORCH").expect("LIBTORCH is not set: run scripts/setup");
        // The link in the repository may move; the folder it points to is what the loader must find.
        let libtorch: PathBuf =
            fs::canonicalize(&libtorch).unwrap_or_else(|error| panic!("{libtorch}: {error}: run scripts/setup"));
        let lib = libtorch.join("lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if lib.join("libtorch_cuda.so").exists() {
            // Nothing calls into it by name: without this the linker drops it, and CUDA is silently missing.
            println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
            println!("cargo:rustc-link-arg=-ltorch_cuda");
        }
    }
}
