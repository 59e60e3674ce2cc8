//! What reached a server.

/// What one connection sent in one read step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The how-manieth connection it came on, from 0.
    pub connection: usize,
    /// The stream it came on; 0 where there are none.
    pub stream: u32,
    /// Every byte of it. A request over HTTP/2 is written as HTTP/1.1 would write it.
    pub bytes: Vec<u8>,
}

impl Arrival {
    /// The arrival as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The request line.
    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The values of a header, named in lower case.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.text()
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .lines()
            .skip(1)
            // The first colon of an HTTP/2 pseudo-header belongs to its name.
            .filter_map(|line| {
                let at = line.get(1..)?.find(':')? + 1;
                Some((&line[..at], &line[at + 1..]))
            })
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// What follows the head, as it was framed.
    pub fn body(&self) -> Vec<u8> {
        head_length(&self.bytes).map_or_else(Vec::new, |end| self.bytes[end..].to_vec())
    }
}

/// Where the head that `bytes` begin with ends.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Where the request that `bytes` begin with ends.
pub fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = head_length(bytes)?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let rest = &bytes[head..];
    let body = if text.contains("transfer-encoding: chunked") {
        let end = b"0\r\n\r\n";
        rest.windows(end.len()).position(|window| window == end).map(|at| at + end.len())?
    } else {
        text.lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    (rest.len() >= body).then_some(head + body)
}
