//! One broker's container: started, signalled, waited for.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testcontainers::bollard::models::{ContainerState, ContainerStateStatusEnum};
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::cache::tail;
use crate::docker::{self, Image};
use crate::{Error, guard};

/// How a container is made.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) image: Image,
    /// Instead of the image's own.
    pub(crate) entrypoint: Option<&'static str>,
    pub(crate) arguments: Vec<String>,
    /// Shared with this machine, under the same path.
    pub(crate) directories: Vec<PathBuf>,
    /// Of the loopback address, with the same number on both sides: it stays when
    /// the container is started again.
    pub(crate) ports: Vec<u16>,
}

type Made = Arc<ContainerAsync<GenericImage>>;

/// How often an engine is asked to freeze a container: on a busy machine runc gives up on a JVM
/// whose threads come and go ("unable to freeze").
const FREEZES: usize = 20;

/// A container that can be started again after it ended. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    name: String,
    log: PathBuf,
    recipe: Recipe,
    made: Mutex<Option<Made>>,
}

impl Container {
    /// Nothing runs yet; `log` is where the broker writes its log.
    pub(crate) fn new(name: String, log: PathBuf, recipe: Recipe) -> Self {
        Self { name, log, recipe, made: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn image(&self) -> &str {
        self.recipe.image.as_str()
    }

    /// The end of its log and of what it printed, for errors.
    pub(crate) fn log_tail(&self) -> String {
        let mut text = fs::read(&self.log).unwrap_or_default();
        if let Some(made) = self.made().clone() {
            let printed =
                docker::wait(
                    async move { [made.stdout_to_vec().await, made.stderr_to_vec().await] },
                );
            text.extend(printed.into_iter().flatten().flatten());
        }
        tail(&String::from_utf8_lossy(&text), 30)
    }

    /// Starts it. One that still runs is killed first.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.kill();
        let mut made = self.made();
        match &*made {
            Some(again) => {
                let again = Arc::clone(again);
                docker::wait(async move { again.start().await }).map_err(self.failed("start"))
            }
            None => {
                let label = guard::container_label()?;
                for directory in &self.recipe.directories {
                    // Otherwise the engine would make it, as root.
                    fs::create_dir_all(directory).map_err(Error::io("cannot create", directory))?;
                }
                let recipe = self.recipe.clone();
                let new = docker::wait(async move { recipe.run(label).await });
                *made = Some(Arc::new(new.map_err(self.failed("start"))?));
                Ok(())
            }
        }
    }

    /// The process id on this machine, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = self.running()?.pid?;
        u32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// Whether it runs and is not paused.
    pub(crate) fn answers(&self) -> bool {
        self.running().is_some_and(|state| state.paused != Some(true))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let state = self.state()?;
        let over = [ContainerStateStatusEnum::EXITED, ContainerStateStatusEnum::DEAD];
        if !state.status.is_some_and(|status| over.contains(&status)) {
            return None;
        }
        let code = i32::try_from(state.exit_code.unwrap_or(0)).unwrap_or(0);
        // A shell's way to say which signal it was.
        Some(ExitStatus::from_raw(if code > 128 { code - 128 } else { code << 8 }))
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&self) {
        let Some(made) = self.made().clone() else { return };
        docker::wait(async move {
            let client = docker_client_instance().await.ok()?;
            // An error means that it had ended already.
            client.kill_container(made.id(), None).await.ok()?;
            while made.is_running().await.ok()? {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Some(())
        });
    }

    /// Freezes it with all its threads. Its connections stay open.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        let made = self.made_and_running()?;
        let paused = docker::wait(async move {
            for _ in 1..FREEZES {
                if made.pause().await.is_ok() {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            made.pause().await
        });
        paused.map_err(self.failed("pause"))
    }

    pub(crate) fn resume(&self) -> Result<(), Error> {
        let made = self.made_and_running()?;
        if self.answers() {
            return Ok(());
        }
        docker::wait(async move { made.unpause().await }).map_err(self.failed("resume"))
    }

    /// SIGTERM, and waits until it is gone; killed at the end of `limit`.
    pub(crate) async fn stop(&self, limit: Duration) -> Result<(), Error> {
        let Ok(made) = self.made_and_running() else { return Ok(()) };
        self.resume()?;
        let seconds = i32::try_from(limit.as_secs()).unwrap_or(i32::MAX);
        docker::run(async move { made.stop_with_timeout(Some(seconds)).await })
            .await?
            .map_err(self.failed("stop"))?;
        match self.ended().and_then(|status| status.signal()) {
            Some(9) => Err(Error::Deadline {
                what: format!("the end of {} after SIGTERM", self.name),
                after: limit,
                last: "it was killed".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made_and_running(&self) -> Result<Made, Error> {
        let made = self.running().and_then(|_| self.made().clone());
        made.ok_or_else(|| Error::NotRunning { broker: self.name.clone() })
    }

    fn running(&self) -> Option<ContainerState> {
        self.state().filter(|state| state.running == Some(true))
    }

    fn state(&self) -> Option<ContainerState> {
        let made = self.made().clone()?;
        docker::wait(async move {
            let client = docker_client_instance().await.ok()?;
            client.inspect_container(made.id(), None).await.ok()?.state
        })
    }

    fn failed<E: std::fmt::Display>(&self, action: &str) -> impl FnOnce(E) -> Error {
        let what = format!("cannot {action} {} ({})", self.name, self.recipe.image.as_str());
        move |error| Error::Docker { what, reason: error.to_string() }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(made) = self.made().take().and_then(Arc::into_inner) {
            // The watcher tries again at the end.
            let _ = docker::wait(async move { made.rm().await });
        }
    }
}

impl Recipe {
    async fn run(
        self,
        (label, value): (&'static str, String),
    ) -> testcontainers::core::error::Result<ContainerAsync<GenericImage>> {
        let (name, tag) = self.image.parts();
        let mut image = GenericImage::new(name, tag);
        if let Some(entrypoint) = self.entrypoint {
            image = image.with_entrypoint(entrypoint);
        }
        // What it writes is to be removed by whoever started it.
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut request = image
            .with_cmd(self.arguments)
            .with_label(label, value)
            .with_user(format!("{}:{}", owner.0, owner.1));
        for directory in &self.directories {
            let path = directory.to_string_lossy();
            request = request.with_mount(Mount::bind_mount(path.clone(), path));
        }
        for port in self.ports {
            request = request.with_mapped_port(port, port.tcp());
        }
        request
            .with_host_config_modifier(|host| {
                let bindings = host.port_bindings.iter_mut().flat_map(|all| all.values_mut());
                for binding in bindings.flatten().flatten() {
                    binding.host_ip = Some("127.0.0.1".to_owned());
                }
            })
            .start()
            .await
    }
}
