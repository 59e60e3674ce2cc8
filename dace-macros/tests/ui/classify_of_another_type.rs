use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, classify = class)]
async fn function() -> Result<u8, HttpError> {
    Ok(1)
}

fn class(_: &HttpError) -> dace::Class {
    dace::Class::Success
}

fn main() {}
