//! The `twtrace` command.

fn main() -> std::process::ExitCode {
    twtrace::cli::main()
}
