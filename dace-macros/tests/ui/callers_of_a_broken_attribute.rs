use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, colour = "red")]
async fn function(call: &dace::tokio::Call, id: u32) -> Result<u8, HttpError> {
    let _ = call;
    Ok(id as u8)
}

async fn caller() -> Result<u8, dace::Error<HttpError>> {
    function(7).await
}

fn main() {}
