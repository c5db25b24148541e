//! The HTTP that the server speaks: GET and HEAD, without bodies, one request for each connection.
//!
//! Nothing here knows of sockets, so a fuzz target can try all of it.

/// The most bytes of a request line with its headers.
pub const MOST_HEAD: usize = 8 << 10;
/// The most headers.
const MOST_HEADERS: usize = 64;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether only the head of the answer is wanted.
    pub is_head: bool,
    /// The path without the query.
    pub path: String,
}

/// What the bytes received so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a request.
    Partial,
    Request(Request),
    Refused(Status),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooLate,
    HeadTooLarge,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TooLate => "408 Request Timeout",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
        }
    }
}

/// Reads the head of a request.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Err(httparse::Error::TooManyHeaders) => return Parsed::Refused(Status::HeadTooLarge),
        Err(_) => return Parsed::Refused(Status::BadRequest),
        Ok(httparse::Status::Partial) if bytes.len() >= MOST_HEAD => return Parsed::Refused(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Ok(httparse::Status::Complete(_)) => {}
    }
    let is_head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Parsed::Refused(Status::MethodNotAllowed),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Parsed::Request(Request { is_head, path })
}

/// An answer.
pub struct Answer {
    pub status: Status,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn ok(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: Status::Ok, content_type, body: body.into() }
    }

    pub fn error(status: Status) -> Self {
        let body = format!("{}\n", status.line()).into_bytes();
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }

    /// The bytes of the answer. The policy lets the status page run its own script, and load nothing from elsewhere.
    pub fn bytes(&self, is_head: bool) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
             style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'\r\n{}Connection: close\r\n\r\n",
            self.status.line(),
            self.content_type,
            self.body.len(),
            if self.status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" },
        )
        .into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_scrapers_and_browsers_send() {
        let request = |is_head, path: &str| Parsed::Request(Request { is_head, path: path.into() });
        assert_eq!(parse(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), request(false, "/metrics"));
        assert_eq!(parse(b"HEAD /metrics?x=1 HTTP/1.0\r\n\r\n"), request(true, "/metrics"));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), Parsed::Partial);
        assert_eq!(parse(b""), Parsed::Partial);
    }

    #[test]
    fn refuses_everything_else() {
        let long = [&b"GET /"[..], &vec![b'a'; MOST_HEAD]].concat();
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        let cases: [(&[u8], Status); 5] = [
            (b"POST /metrics HTTP/1.1\r\n\r\n", Status::MethodNotAllowed),
            (b"\x16\x03\x01\x02\x00\x01\x00", Status::BadRequest),
            (b"GET / HTTP/9.9\r\n\r\n", Status::BadRequest),
            (&long, Status::HeadTooLarge),
            (many.as_bytes(), Status::HeadTooLarge),
        ];
        for (bytes, status) in cases {
            assert_eq!(parse(bytes), Parsed::Refused(status), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let answer = Answer::ok("text/plain", "hello");
        let text = |is_head| String::from_utf8(answer.bytes(is_head)).expect("text");
        assert!(text(false).contains("\r\nContent-Length: 5\r\n") && text(false).ends_with("\r\n\r\nhello"));
        assert!(text(true).contains("\r\nContent-Length: 5\r\n") && text(true).ends_with("\r\n\r\n"));
        let refused = String::from_utf8(Answer::error(Status::MethodNotAllowed).bytes(false)).expect("text");
        assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "{refused}");
    }
}
