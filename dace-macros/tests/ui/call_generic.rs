use dace::HttpError;

#[dace::fault_tolerant()]
async fn function<R: dace::Runtime, B: dace::HttpBackend>(
    call: &dace::Call<R, B>,
) -> Result<(), HttpError> {
    let _ = call;
    Ok(())
}

fn main() {}
