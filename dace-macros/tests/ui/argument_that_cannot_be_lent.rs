use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function(count: u8, own: Own) -> Result<(), HttpError> {
    drop((count, own));
    Ok(())
}

struct Own;

fn main() {}
