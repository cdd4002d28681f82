//! URLs that a server is asked for, from its inside.

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The host, as the server knows it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is asked for.
    pub path: String,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Why it cannot be asked for.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
        if url.scheme() != "http" {
            return Err(format!("`{text}` is not asked for: only `http` is, from inside the server"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a password is not asked for".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("`{text}` names no host"))?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            path: format!("{}{query}", url.path()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked_for() {
        let url = Url::parse("http://localhost:8000/health?deep=1#x").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("localhost", 8000, "/health?deep=1"));
        let url = Url::parse("http://[::1]").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/"));
        for wrong in ["https://localhost", "localhost:8000", "8000", "http://", "http://me:secret@localhost/"] {
            let why = Url::parse(wrong).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
