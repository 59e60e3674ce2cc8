#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
struct Own;

fn main() {}
