#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() {}

fn main() {}
