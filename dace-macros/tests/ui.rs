//! Mistakes, and what is said of them: at the place to mend, in one line.
//!
//! The texts are written anew with `TRYBUILD=overwrite cargo test -p dace-macros --test ui`; look at them then.

#[test]
fn mistakes_are_told_where_they_are_with_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

#[cfg(not(any(feature = "statsd", feature = "tls")))]
#[test]
fn a_parameter_of_a_feature_that_is_off_names_it() {
    trybuild::TestCases::new().compile_fail("tests/ui/features/*.rs");
}
