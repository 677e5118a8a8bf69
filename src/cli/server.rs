//! Which server a command speaks to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use sluice_client::{Client, ClientBuilder};

use super::failure::Failure;
use crate::config::{Layers, Settings};

/// How the server is named on the command line.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// The server's URL [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL", env = "SLUICE_URL", help_heading = "Server")]
    url: Option<String>,
    /// The configuration file, for that default
    #[arg(long, value_name = "FILE", env = "SLUICE_CONFIG", help_heading = "Server")]
    config: Option<PathBuf>,
}

impl ServerArgs {
    /// The server's URL. The configuration is only read where nothing else says it.
    pub(super) fn url(&self) -> Result<String, Failure> {
        if let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) {
            return Ok(url.to_owned());
        }
        let settings = self.settings().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(url_of(None, &settings))
    }

    /// A client that is made so.
    pub(super) fn client(
        &self,
        with: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<(Client, String), Failure> {
        let url = self.url()?;
        let client = with(Client::builder(&url)).build();
        let shown = without_credentials(&url);
        client.map(|client| (client, shown.clone())).map_err(|error| Failure::usage(format!("{shown}: {error}")))
    }

    fn settings(&self) -> Result<Settings, crate::config::ConfigError> {
        let mut layers = Layers::default();
        if let Some(path) = &self.config {
            layers.add_file(path)?;
        }
        layers.add_environment(super::variables())?;
        Settings::resolve(&layers)
    }
}

/// The URL, else the one of a server that listens as configured.
pub(super) fn url_of(url: Option<&str>, settings: &Settings) -> String {
    let given = url.filter(|url| !url.is_empty()).map(str::to_owned);
    given.unwrap_or_else(|| format!("http://{}", local(settings.listen)))
}

/// A URL as it may be shown.
pub(super) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{}", path.trim_end_matches('/'))
        }
        None => url.to_owned(),
    }
}

/// Where a server that listens at `listen` is reached from its own host.
fn local(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, expected) in
            [("0.0.0.0:8005", "127.0.0.1:8005"), ("[::]:1", "[::1]:1"), ("10.0.0.1:2", "10.0.0.1:2")]
        {
            assert_eq!(local(listen.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://me:secret@host:1/prefix/"), "https://host:1/prefix");
        assert_eq!(without_credentials("http://host:1"), "http://host:1");
    }
}
