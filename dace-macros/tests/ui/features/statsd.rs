use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, statsd = "127.0.0.1:8125")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
