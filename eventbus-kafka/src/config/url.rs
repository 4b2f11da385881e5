//! From a URL to a configuration.

use eventbus_core::{BusUrl, Error, ErrorKind};
use percent_encoding::percent_decode_str;

use super::{KafkaConfig, Properties, Secret, invalid};

impl KafkaConfig {
    /// Takes the configuration out of a URL, whose other parameters stay.
    ///
    /// # Errors
    /// `InvalidConfig`, naming what is wrong and never showing a secret.
    pub fn from_url(url: &mut BusUrl) -> Result<Self, Error> {
        let mut config: Self = url.parameters.take(Self::PARAMETERS)?;
        config.properties = Properties::new(url.parameters.take_prefixed(Properties::PREFIX))?;
        if !url.path().is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "a Kafka URL has no path: `kafka://host:port,host:port?parameter=value`",
            ));
        }
        config.take_authority(url.authority())?;
        config.validate()?;
        Ok(config)
    }

    fn take_authority(&mut self, authority: &str) -> Result<(), Error> {
        let servers = match authority.rsplit_once('@') {
            Some((info, servers)) => {
                self.take_userinfo(info)?;
                servers
            }
            None => authority,
        };
        let servers = servers.split(',').filter(|server| !server.is_empty());
        let servers: Vec<String> = servers.map(str::to_owned).collect();
        if !servers.is_empty() {
            self.servers = servers;
        }
        Ok(())
    }

    fn take_userinfo(&mut self, info: &str) -> Result<(), Error> {
        if self.user.is_some() || self.password.is_some() {
            return Err(invalid("user", "credentials stand both before `@` and in parameters"));
        }
        let Some((user, password)) = info.split_once(':') else {
            return Err(invalid("user", "before `@` stands `user:password`"));
        };
        if password.contains('@') {
            return Err(invalid(
                "user",
                "credentials stand once, before the first server; write `@` in them as `%40`",
            ));
        }
        self.user = Some(decode(user)?);
        self.password = Some(Secret::new(decode(password)?));
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

    fn parse(url: &str) -> Result<KafkaConfig, Error> {
        let mut url: BusUrl = url.parse()?;
        let config = KafkaConfig::from_url(&mut url)?;
        url.parameters.finish(KafkaConfig::PARAMETERS.iter().copied())?;
        Ok(config)
    }

    #[test]
    fn servers_and_parameters() {
        let config =
            parse("kafka://a:1,b,c:3?partitions=6&max_age=1h&rdkafka.linger.ms=5").unwrap();
        assert_eq!(config.servers, ["a:1", "b", "c:3"]);
        assert_eq!(config.partitions, Some(6));
        assert_eq!(config.max_age.unwrap().as_secs(), 3600);
        assert_eq!(config.properties.get("linger.ms"), Some("5"));
        assert_eq!(parse("kafka://").unwrap().servers, ["localhost:9092"]);
    }

    #[test]
    #[cfg(feature = "kafka-tls")]
    fn credentials() {
        let config = parse("kafka://us%40er:p%3Ass@a:1,b:2?sasl=scram-sha-512&tls=true").unwrap();
        assert_eq!(config.servers, ["a:1", "b:2"]);
        assert_eq!(config.user.as_deref(), Some("us@er"));
        assert_eq!(config.password.unwrap().expose(), "p:ss");
        assert_eq!(config.sasl, crate::SaslMechanism::ScramSha512);
    }

    #[test]
    fn bad_urls_are_refused_without_secrets() {
        for (url, expected) in [
            ("kafka://h/path", "path"),
            ("kafka://hunter2@a", "user:password"),
            ("kafka://u:hunter2@a,u:hunter3@b", "once"),
            ("kafka://u:hunter2@a?user=v&password=hunter3", "both before"),
            ("kafka://a?max_age=soon", "max_age"),
            ("kafka://a?partitions=0", "partitions"),
            ("kafka://a?sasl=kerberos&password=hunter2", "`plain`"),
            ("kafka://a?acks=1", "unknown parameter"),
            ("kafka://a?rdkafka.acks=1", "in-sync"),
            ("kafka://a?rdkafka.group.id=x", "native_group"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected), "{url}: {shown}");
            assert!(!shown.contains("hunter"), "{url}: {shown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_url_is_survived_and_no_secret_shown(
            place in "[a-z0-9:@,/%]{0,40}",
            query in "([a-z_.]{0,12}=[a-z0-9%.;:*>]{0,12}&){0,3}",
            property in "[a-z.]{0,20}",
        ) {
            for text in [
                format!("kafka://{place}?{query}"),
                format!("kafka://u:hunter2@{place}?{query}"),
                format!("kafka://a?rdkafka.{property}=hunter2"),
            ] {
                let Ok(mut url) = text.parse::<BusUrl>() else { continue };
                let shown = match KafkaConfig::from_url(&mut url) {
                    Ok(config) => format!("{config:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                proptest::prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }
}
