//! The subjects of `benches/instructions.rs` under gungraun, which shows caches and cycles too, and compares
//! with the run before. Start-up is counted with the 12,000 calls.
//!
//! ```text
//! cargo install --locked gungraun-runner@0.20.0    # the version in Cargo.lock
//! cargo bench --all-features --bench instructions --no-run    # prints the path
//! cd benches/gungraun && INSTRUCTIONS=/the/path cargo bench
//! ```

use gungraun::prelude::*;

#[binary_benchmark]
#[bench::success("success")]
#[bench::many_targets("success, 1,000 targets")]
#[bench::rejected("rejected")]
#[bench::second_attempt("second attempt succeeds")]
#[bench::observed("observed")]
fn call(name: &str) -> gungraun::Command {
    let instructions = std::env::var_os("INSTRUCTIONS").expect("the path of that bench");
    gungraun::Command::new(instructions).args([name, "12000"]).build()
}

binary_benchmark_group!(name = calls, benchmarks = call);
main!(binary_benchmark_groups = calls);
