#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() -> Option<u8> {
    None
}

fn main() {}
