//! `queue`: parse, run, exit code.

fn main() -> std::process::ExitCode {
    quorate::cli::main()
}
