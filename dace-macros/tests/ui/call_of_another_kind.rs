use dace::HttpError;

#[dace::fault_tolerant()]
async fn function(call: &Call) -> Result<(), HttpError> {
    let _ = call;
    Ok(())
}

struct Call;

fn main() {}
