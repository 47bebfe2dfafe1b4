//! The `goldcrest` command.
mod cli;

/// mimalloc, because matrix products pack their operands into large buffers that live for a single product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
