//! The `goldcrest` command.
mod cli;

/// Matrix products pack their operands into large buffers that live for one product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
