//! Compiles the kernels of `native/`, and writes libtorch's place into the binary, so that neither the service nor its child
//! processes need LD_LIBRARY_PATH.

fn main() {
    // The schema is compiled in.
    println!("cargo:rerun-if-changed=migrations");
    #[cfg(feature = "engine")]
    engine::build();
}

#[cfg(feature = "engine")]
mod engine {
    use std::{
        env, fs,
        path::{Path, PathBuf},
    };

    const KERNELS: [&str; 16] = [
        "activation",
        "adamw",
        "attention",
        "cross_entropy",
        "norm",
        "t5/attention_tiles",
        "t5/decoder",
        "t5/encoder",
        "t5/kept",
        "t5/prepacked",
        "t5/prepacking",
        "t5/product_bf16",
        "t5/product_fp32",
        "t5/rows",
        "t5/shim",
        "t5/team",
    ];

    pub fn build() {
        println!("cargo:rerun-if-env-changed=LIBTORCH");
        let libtorch = env::var("LIBTORCH").expect("LIBTORCH is not set: run scripts/setup");
        // The link in the repository may move; the folder it points to is what the loader must find.
        let libtorch: PathBuf =
            fs::canonicalize(&libtorch).unwrap_or_else(|error| panic!("{libtorch}: {error}: run scripts/setup"));
        compile_kernels(&libtorch);
        let lib = libtorch.join("lib");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
        if lib.join("libtorch_cuda.so").exists() {
            // Nothing calls into it by name: without this the linker drops it, and CUDA is silently missing.
            println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
            println!("cargo:rustc-link-arg=-ltorch_cuda");
        }
    }
    /// The kernels choose their instructions when they run, so nothing is compiled for this machine alone.
    fn compile_kernels(libtorch: &Path) {
        println!("cargo:rerun-if-changed=native");
        let include = libtorch.join("include");
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(3).debug(false).warnings(false);
        build.include(&include).include(include.join("torch/csrc/api/include"));
        // Without errno and traps, roots and roundings are single instructions.
        for flag in ["-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"] {
            build.flag(flag);
        }
        build.files(KERNELS.map(|kernel| format!("native/{kernel}.cpp"))).compile("stepwise_native");
        for library in ["torch_cpu", "c10", "gomp"] {
            println!("cargo:rustc-link-lib=dylib={library}");
        }
        println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
    }
}
