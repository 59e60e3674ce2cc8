#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() -> Own {
    Own
}

struct Own;

fn main() {}
