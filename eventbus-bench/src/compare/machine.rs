//! The machine, and who took part.

use serde::{Deserialize, Serialize};

/// The machine that everything ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// How many of its threads this process may use.
    pub cores: usize,
    /// The memory in bytes; 0 where the system does not tell.
    pub memory_bytes: u64,
    /// The operating system and its kernel.
    pub system: String,
}

/// One of those who are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Party {
    /// Its name in the rows.
    pub name: String,
    /// Its version, and that of the broker.
    pub version: String,
    /// What an acknowledgement means there.
    pub durability: String,
}

impl Party {
    /// A party.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        durability: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), version: version.into(), durability: durability.into() }
    }
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: field(&cpu, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: field(&memory, "MemTotal")
                .and_then(|text| text.strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map_or(0, |kibibytes| kibibytes * 1024),
            system: format!("{} {}", std::env::consts::OS, kernel.trim()).trim().to_owned(),
        }
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && !machine.processor.is_empty());
        assert_eq!(machine.memory_bytes > 0, cfg!(target_os = "linux"));
    }
}
