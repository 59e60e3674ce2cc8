#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() -> Result<u8, String> {
    Ok(1)
}

fn main() {}
