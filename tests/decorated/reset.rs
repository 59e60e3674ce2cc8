//! The module with tests that the guide shows. In a process of its own: `reset` is for all of one.

mod module;

#[test]
fn the_guide_shows_a_module_with_tests_that_pass() {
    let (_, module) = include_str!("module.rs").split_once("\n\n").unwrap();
    assert!(include_str!("../../docs/guide.md").contains(module));
}
