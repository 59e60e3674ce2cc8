use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, colour = "red", queue = "1")]
async fn function(count: u8) -> Result<impl Iterator<Item = u8>, HttpError> {
    Ok(0..count)
}

async fn caller() -> u8 {
    function(7).await.unwrap().sum()
}

fn main() {}
