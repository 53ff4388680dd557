//! Bugs that are planted on purpose, one at a time, to show that a harness finds them.
//!
//! `MUTANT=M2` in the environment plants one, in a build with the feature `mutants`, which no build of the
//! server has: without it every question below is a constant `false`.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("planted bugs have no place in a release build");

/// Whether the bug of this name is planted in this process.
#[cfg(feature = "mutants")]
pub fn is_planted(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "no configuration: nobody sets it but a harness")]
    let planted = PLANTED.get_or_init(|| std::env::var("MUTANT").ok());
    planted.as_deref() == Some(name)
}

/// Whether the bug of this name is planted in this process: it is not.
#[cfg(not(feature = "mutants"))]
pub const fn is_planted(_: &str) -> bool {
    false
}
