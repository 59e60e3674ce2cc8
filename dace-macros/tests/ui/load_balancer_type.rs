use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, load_balancer = 7)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
