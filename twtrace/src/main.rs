//! The `twtrace` command.

#[global_allocator]
static ALLOCATOR: twtrace::host::memory::HugePages = twtrace::host::memory::HugePages;

fn main() -> std::process::ExitCode {
    twtrace::cli::main()
}
