//! The `stepwise` program.

fn main() -> std::process::ExitCode {
    stepwise::cli::run()
}
