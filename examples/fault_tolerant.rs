//! The usage example of the original, with the attribute: one GET, with everything that dace does around it.
//!
//!     cargo run --features tokio --example fault_tolerant -- http://127.0.0.1:8080/

use dace::HttpError;
use dace::tokio::Call;

#[dace::fault_tolerant(timeout = "10s")]
async fn get_page(call: &Call, url: &str) -> Result<String, HttpError> {
    call.http().get(url).send().await?.error_for_status()?.text().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: fault_tolerant URL")?;
    print!("{}", get_page(&url).await?);
    Ok(())
}
