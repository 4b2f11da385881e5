//! From a URL to a configuration.

use eventbus_core::{BusUrl, Error, ErrorKind};
use percent_encoding::percent_decode_str;

use super::{NatsConfig, Secret, invalid};

impl NatsConfig {
    /// Takes the configuration out of a URL, whose other parameters stay.
    ///
    /// # Errors
    /// `InvalidConfig`, naming what is wrong and never showing a secret.
    pub fn from_url(url: &mut BusUrl) -> Result<Self, Error> {
        let mut config: Self = url.parameters.take(Self::PARAMETERS)?;
        // Each server may be written with the scheme, as NATS programs do.
        let place = format!("{}/{}", url.authority(), url.path());
        let place = place.trim_end_matches('/').replace(",nats://", ",");
        if place.contains('/') {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "a NATS URL has no path: `nats://host:port,host:port?parameter=value`",
            ));
        }
        config.take_authority(&place)?;
        config.validate()?;
        Ok(config)
    }

    fn take_authority(&mut self, authority: &str) -> Result<(), Error> {
        let mut userinfo = None;
        let mut servers = Vec::new();
        for server in authority.split(',').filter(|server| !server.is_empty()) {
            let host = match server.rsplit_once('@') {
                Some((info, host)) if userinfo.is_none_or(|known| known == info) => {
                    userinfo = Some(info);
                    host
                }
                Some(_) => {
                    return Err(invalid("user", "all servers of a URL take the same credentials"));
                }
                None => server,
            };
            servers.push(host.to_owned());
        }
        if !servers.is_empty() {
            self.servers = servers;
        }
        userinfo.map_or(Ok(()), |info| self.take_userinfo(info))
    }

    fn take_userinfo(&mut self, info: &str) -> Result<(), Error> {
        if self.user.is_some() || self.password.is_some() || self.token.is_some() {
            return Err(invalid("user", "credentials stand both before `@` and in parameters"));
        }
        match info.split_once(':') {
            Some((user, password)) => {
                self.user = Some(decode(user)?);
                self.password = Some(Secret::new(decode(password)?));
            }
            None => self.token = Some(Secret::new(decode(info)?)),
        }
        Ok(())
    }
}

fn decode(text: &str) -> Result<String, Error> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| invalid("user", "the percent-encoding before `@` is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Storage, StreamMapping};

    fn parse(url: &str) -> Result<NatsConfig, Error> {
        let mut url: BusUrl = url.parse()?;
        let config = NatsConfig::from_url(&mut url)?;
        url.parameters.finish(NatsConfig::PARAMETERS.iter().copied())?;
        Ok(config)
    }

    #[test]
    fn servers_and_credentials() {
        let config = parse("nats://us%40er:p%3Ass@a:1,us%40er:p%3Ass@b,c:3").unwrap();
        assert_eq!(config.servers, ["a:1", "b", "c:3"]);
        assert_eq!(config.user.as_deref(), Some("us@er"));
        assert_eq!(config.password.unwrap().expose(), "p:ss");
        let config = parse("nats://s3cr3t@host").unwrap();
        assert_eq!(config.token.unwrap().expose(), "s3cr3t");
        let config = parse("nats://a:1,nats://b:2/").unwrap();
        assert_eq!(config.servers, ["a:1", "b:2"]);
        assert_eq!(parse("nats://").unwrap().servers, ["localhost:4222"]);
    }

    #[test]
    fn parameters() {
        let config = parse(
            "nats://h?storage=memory&replicas=3&max_bytes=1000&max_age=1h&duplicate_window=1500ms\
             &strict_order=true&streams=A:a.>;B:b&tls=true&tls_ca=/ca.pem&user=u&password=p%26",
        )
        .unwrap();
        assert_eq!(config.storage, Some(Storage::Memory));
        assert_eq!(config.replicas, Some(3));
        assert_eq!(config.max_bytes, Some(1000));
        assert_eq!(config.duplicate_window.unwrap().as_millis(), 1500);
        assert!(config.strict_order && config.tls);
        assert_eq!(config.streams.get(1), &StreamMapping::new("B", ["b".parse().unwrap()]));
        assert_eq!(config.password.unwrap().expose(), "p&");
    }

    #[test]
    fn bad_urls_are_refused_without_secrets() {
        for (url, expected) in [
            ("nats://h/path", "path"),
            ("nats://u:hunter2@a,u:hunter3@b", "same credentials"),
            ("nats://u:hunter2@a?token=hunter3", "both before"),
            ("nats://u:hunter2@a?user=v&password=hunter3", "both before"),
            ("nats://a?max_age=soon", "max_age"),
            ("nats://a?strict_order=perhaps", "strict_order"),
            ("nats://a?streams=A", "NAME:topics"),
            ("nats://a?prefix=a%20b", "prefix"),
            ("nats://a?storage=tape", "`file` or `memory`"),
            ("nats://a?retention=1", "retention"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected), "{url}: {error}");
            assert!(!shown.contains("hunter"), "{shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_url_is_survived_and_no_secret_shown(
            place in "[a-z0-9:@,/%]{0,40}",
            query in "([a-z_]{0,12}=[a-z0-9%.;:*>]{0,12}&){0,3}",
            stream in "[A-Z:;,.*>a-z]{0,30}",
        ) {
            for text in [
                format!("nats://{place}?{query}"),
                format!("nats://u:hunter2@{place}?{query}"),
                format!("nats://a?streams={stream}"),
            ] {
                let Ok(mut url) = text.parse::<BusUrl>() else { continue };
                let shown = match NatsConfig::from_url(&mut url) {
                    Ok(config) => format!("{config:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                proptest::prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }
}
