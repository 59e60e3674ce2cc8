use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function(id: u32) -> Result<u8, HttpError> {
    let one = id +;
    Ok(one)
}

async fn caller() -> Result<u8, dace::Error<HttpError>> {
    function(7).await
}

fn main() {}
