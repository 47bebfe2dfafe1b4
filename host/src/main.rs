//! The `goldcrest` command.
mod cli;

/// The training operators allocate and free large buffers all the time: half of a step with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::one_thread_for_candle();
    cli::main()
}
